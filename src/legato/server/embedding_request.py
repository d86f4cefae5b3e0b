"""What a request to /v1/embeddings may say."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from legato.server.fields import PromptItem, parse_prompt, prompt_schema
from legato.server.protocol import UserName
from legato.server.strict import Strict
from legato.server.text_scores import Pooling

MAX_INPUTS = 2048  # OpenAI's limit

Inputs = Annotated[
    tuple[PromptItem, ...],
    PlainValidator(lambda value: parse_prompt(value, MAX_INPUTS)),
    WithJsonSchema(prompt_schema(MAX_INPUTS)),
]


class EmbeddingRequest(Strict):
    """POST /v1/embeddings."""

    model: str | None = Field(
        None, min_length=1, max_length=256, description="A name from /v1/models; else the first."
    )
    input: Inputs = Field(description="Text, token ids, or a list of either.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or the bytes of little-endian float32 in base64."
    )
    pooling: Pooling = Field(
        "mean", description="Mean of the tokens' last hidden states, or the last token's."
    )
    user: UserName | None = Field(None, description="Written to the request's log record.")

    refused: ClassVar[frozenset[str]] = frozenset(
        {"dimensions", "prompt", "messages", "truncate_prompt_tokens", "normalize", "priority"}
    )
