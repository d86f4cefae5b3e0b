"""The answers of endpoints that do not generate, as models."""

from __future__ import annotations

from typing import Literal

from legato.server.answer_models import Answer, Cost


class Embedding(Answer):
    """A vector of length 1; text where base64 was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Answer):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingExtension(Answer):
    """What OpenAI's answer has no place for."""

    cost: Cost


class Embeddings(Answer):
    """The answer of /v1/embeddings, one vector per input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    legato: EmbeddingExtension | None = None


class Tokenized(Answer):
    """The answer of /tokenize; `token_strs` on request."""

    tokens: list[int]
    count: int
    max_model_len: int
    token_strs: list[str] | None


class Detokenized(Answer):
    """The answer of /detokenize."""

    prompt: str


class Model(Answer):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int


class ModelList(Answer):
    """All models that are served."""

    object: Literal["list"]
    data: list[Model]


class Health(Answer):
    """Whether the engine makes progress."""

    status: Literal["ok", "stalled", "stopped"]
    last_step_age_s: float
    oldest_waiting_s: float
    running: int
    waiting: int


class Ready(Answer):
    """Whether new requests are taken."""

    ready: bool


class Version(Answer):
    """What runs here."""

    name: Literal["legato"]
    version: str
