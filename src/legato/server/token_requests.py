"""What requests to /tokenize and /detokenize may say."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from legato.server.fields import TOKEN_ID_LIMIT, OnlyTrue, parse_ids
from legato.server.protocol import Message
from legato.server.strict import Strict

MAX_TEXT = 1_000_000
"""Most characters of a text to be tokenised, and most tokens of one to be put together."""

ModelName = Annotated[str | None, Field(min_length=1, max_length=256)]
TokenIds = Annotated[
    tuple[int, ...],
    PlainValidator(lambda value: parse_ids(value, MAX_TEXT)),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": TOKEN_ID_LIMIT - 1},
            "maxItems": MAX_TEXT,
        }
    ),
]


class TokenizeRequest(Strict):
    """POST /tokenize: of a text, or of a conversation under the model's template."""

    model: ModelName = Field(None, description="A name from /v1/models; else the first.")
    prompt: str | None = Field(None, max_length=MAX_TEXT, description="A text; or messages.")
    messages: tuple[Message, ...] | None = Field(
        None, min_length=1, max_length=10_000, strict=False, description="A conversation."
    )
    add_special_tokens: bool = Field(
        True, description="Put around a prompt what the model puts around every text."
    )
    add_generation_prompt: OnlyTrue = Field(
        True, description="Messages end where the answer begins."
    )
    return_token_strs: bool = Field(False, description="Also give each token's text.")

    refused: ClassVar[frozenset[str]] = frozenset(
        {"continue_final_message", "chat_template", "chat_template_kwargs", "tools"}
        | {"mm_processor_kwargs"}
    )


class DetokenizeRequest(Strict):
    """POST /detokenize."""

    model: ModelName = Field(None, description="A name from /v1/models; else the first.")
    tokens: TokenIds = Field(description="Token ids; control tokens give their text.")
