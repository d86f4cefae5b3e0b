"""docs/api.md, generated from the request models: ``python -m legato.server.reference``."""

from __future__ import annotations

from typing import Any

from legato.server.compute_request import ComputeOptions
from legato.server.embedding_request import EmbeddingRequest
from legato.server.extension import LegatoOptions, Slo
from legato.server.protocol import (
    CallRequest,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    Message,
    StreamOptions,
)
from legato.server.response_items import CallItem, CallOutputItem, InputItem
from legato.server.response_request import ResponseRequest, ResponseStreamOptions, TextOptions
from legato.server.strict import Strict
from legato.server.token_requests import DetokenizeRequest, TokenizeRequest
from legato.server.tool_request import CalledFunction, ToolCall

INTRODUCTION = """\
# The HTTP API

Every field of a request is honoured, or refused with status 400 and its name in `error.param`;
none is ignored. `null` is the same as leaving an optional field out. Numbers are strict: `"10"`,
`true` and `1.5` are no integers. Unknown fields, duplicate keys, NaN and infinities are refused.

## Endpoints
| endpoint | |
|---|---|
| `POST /v1/chat/completions` | continue a conversation |
| `POST /v1/completions` | continue a text, or several |
| `POST /v1/responses` | answer an input, in the form of OpenAI's newer API |
| `POST /v1/embeddings` | vectors of length 1 from the last hidden states |
| `POST /tokenize`, `POST /detokenize` | text or messages to token ids, and back |
| `GET /v1/models`, `GET /v1/models/{id}` | what is served |
| `GET /health` | progress of the engine; 503 when it has stopped or stalls. Needs no key |
| `GET /ready` | 503 while shutting down. Needs no key |
| `GET /metrics` | Prometheus text format |
| `GET /version`, `GET /openapi.json`, `GET /docs` | what runs here |

## Requests
Bodies are `application/json`, at most 10 MB (`--max-body`), nested at most 64 deep
(`--max-json-depth`). A request's line and headers are at most 64 KB and must arrive within
`--head-timeout`, its body within `--body-timeout` (408). A client that takes nothing of its answer
for `--write-timeout` is cut off.

A prompt must leave room for one token of output in the context, else 400 with the code
`context_length_exceeded`; `max_tokens` beyond the room that is left is capped to it, and the answer
then ends with `finish_reason: "length"`. Overload is 503 with `Retry-After`.

In chat, the text of a control token (`<|im_end|>`) inside a message is ordinary text: only the
template opens and closes turns. A `prompt` of `/v1/completions` is taken as it is, control tokens
included.

## Structured output
The form of an answer is prescribed by one of `response_format` (`text.format` of /v1/responses),
`structured_outputs` and the older `guided_*`. Every token then obeys it: the answer ends only
where the form is complete (or at `max_tokens`, with `finish_reason: "length"`). With `strict:
true` every keyword of a schema holds, or the request is refused; otherwise keywords that cannot
be enforced (`uniqueItems`, `not`, unknown formats) are left to the model. Regular expressions are
those of Rust, without look-around and back-references. Schemas: at most 131,072 characters,
10,000 values, 64 levels, no reference to another document. What compiles for more than a second
is refused. `ignore_eos` does not go with a form; `min_tokens` delays its end only while something
else may follow. `logprobs` stay those of the model.

## Tools
Tools are shown to the model by its chat template; where that knows none, by a system message that
asks for `<tool_call>` (Hermes). Calls are read as the family writes them: Hermes and Qwen
(`<tool_call>`), Llama 3 (a JSON object), Mistral (`[TOOL_CALLS]` and a list), Python lists; a
bare JSON object at the beginning that names a function is a call too. With `tool_choice:
"required"`, a named function, a `strict` function or `parallel_tool_calls: false`, a grammar
prescribes the calls; otherwise the arguments are what the model wrote. `tool_choice` of the type
`allowed_tools` offers some of the tools, and `"none"` shows none. Every call in a conversation
needs its result, and every result its call. On /v1/responses functions and their calls are items
(`function_call`, `function_call_output`), and a function that does not say whether it is `strict`
is held to its schema as far as that can be enforced. Log-probabilities beside calls are those of
the text in /v1/responses, of every token in chat.

## Answers
Answers carry a `legato` object; in a stream it is on the last chunk. It holds `timing`, in
milliseconds measured in the server: `queue_ms` until the first step, `prefill_ms` from there to the
first token, `ttft_ms` and `total_ms` from the arrival to the delivery of the first and last token,
`tpot_ms` between tokens, and where the request asked for it, for every choice, the `step_ms` and
`delivery_ms` of every token since the arrival. A request arrives when the last bytes of its head
do, as the kernel stamps them (on Linux, without TLS; else when the server reads them); a token is
delivered when its chunk is written.

`cached_tokens` of the prompt came from the prefix cache. Where speculation guessed tokens,
`speculation` holds how many it `drafted` and how many of them were `accepted`. Where the machine
has a price (`--price-per-hour`), `cost` holds the `machine_ms` that the answer took of all steps,
and their `price`. `metadata` is the request's.

A text ends with `finish_reason` `stop` (the end of the sequence, a stop string or token), `length`
(`max_tokens` or the context) or `tool_calls`; on /v1/responses with `status` `completed` or
`incomplete`. `usage` counts a prompt once, however many samples it has; a stream of chat or
completions tells it on a last chunk where `stream_options.include_usage` is true (and so far on
every chunk where `continuous_usage_stats` is), one of /v1/responses on its last event.

Equal seeds give equal texts where `system_fingerprint` is equal, whatever else runs: it stands for
version, weights, arithmetic and kind of CPU.

## Adaptive compute
With `legato.compute` a question takes as many samples as it needs, and the best of them is the
one choice of the answer. Samples share the prompt's KV blocks; they are stopped in the step in
which the strategy decides. They count in the order of their indices, and sample i is a function
of (seed, i): the winner does not depend on load, unless a time or a price is in the budget (or
tokens, beside `prune_every`). In a stream the winner's text comes when it is decided. `n`,
several prompts and `max_tokens: 0` do not go with it. `usage`, `speculation` and `cost` count all
samples.

The answer's `legato.compute` holds the winner's `answer`, the `votes` of the samples that counted
(`samples_counted`), the strategy's `confidence`, which sample is the `winner`, how many samples
were begun (`samples_used`), given up (`samples_pruned`) and not needed (`samples_saved`), all
`tokens`, and `machine_ms`. A budget that is spent ends the question with the best sample that has
ended, or the first as far as it has come (`finish_reason: "length"`).

## Errors
They are `{"error": {"message", "type", "param", "code"}}`, in OpenAI's words where known:
{errors}
"""

_ERRORS: dict[tuple[str, str], tuple[str, ...]] = {  # (status, type) → codes
    ("400", "invalid_request_error"): (
        *("unknown_parameter", "unsupported_parameter", "missing_required_parameter"),
        *("invalid_type", "invalid_value", "integer_below_min_value", "integer_above_max_value"),
        *("decimal_below_min_value", "decimal_above_max_value", "string_below_min_length"),
        *("string_above_max_length", "empty_array", "array_above_max_length"),
        *("context_length_exceeded", "never_fits", "host_not_allowed"),
    ),
    ("401", "invalid_request_error"): ("invalid_api_key",),
    ("404", "invalid_request_error"): ("model_not_found",),
    ("408, 413, 415, 431", "invalid_request_error"): (
        *("timeout", "body_too_large", "media_type", "content_encoding"),
    ),
    ("429", "requests or tokens"): ("rate_limit_exceeded",),
    ("500", "server_error"): ("internal", "generation_failed"),
    ("503", "server_error"): (
        *("overloaded", "engine_stopped", "shutting_down", "request_timeout", "cancelled"),
    ),
}
_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} items",
}


def api_reference() -> str:
    """The whole document, Markdown."""
    sections = [
        INTRODUCTION.replace("{errors}", _errors()),
        _section("Fields of every endpoint that generates", CallRequest),
        _section("Fields of `legato`", LegatoOptions),
        _section("Fields of `legato.slo`", Slo),
        _section("Fields of `legato.compute`", ComputeOptions),
        _section("Fields of chat and completions", GenerationRequest, CallRequest),
        _section("Fields of `stream_options`", StreamOptions),
        _section("Fields of chat only", ChatRequest, GenerationRequest),
        _section("Fields of a chat message", Message),
        _section("Fields of a call in a chat message", ToolCall),
        _section("Fields of its function", CalledFunction),
        _section("Fields of completions only", CompletionRequest, GenerationRequest),
        _section("Fields of /v1/responses only", ResponseRequest, CallRequest),
        _section("Fields of an item of its input: a message", InputItem),
        _section("Fields of an item of its input: a call", CallItem),
        _section("Fields of an item of its input: the result of a call", CallOutputItem),
        _section("Fields of its text", TextOptions),
        _section("Fields of its `stream_options`", ResponseStreamOptions),
        _section("Fields of /v1/embeddings", EmbeddingRequest),
        _section("Fields of /tokenize", TokenizeRequest),
        _section("Fields of /detokenize", DetokenizeRequest),
    ]
    return "\n".join(sections)


def _errors() -> str:
    rows = [
        f"| {status} | `{kind}` | {', '.join(f'`{code}`' for code in codes)} |"
        for (status, kind), codes in _ERRORS.items()
    ]
    return "\n".join(["", "| status | type | codes |", "|---|---|---|", *rows])


def _section(title: str, model: type[Strict], base: type[Strict] = Strict) -> str:
    """The fields of `model` that are not those of `base`."""
    known = _common(model, base)
    properties = model.model_json_schema()["properties"]
    rows = [_row(name, schema) for name, schema in properties.items() if name not in known]
    refused = [f"| `{name}` | refused | |" for name in sorted(model.refused - known)]
    head = ["| field | | |", "|---|---|---|"]
    return "\n".join([f"## {title}\n", *head, *rows, *refused, ""])


def _common(model: type[Strict], base: type[Strict]) -> frozenset[str]:
    """Fields that `model` takes over unchanged."""
    common = {
        name
        for name, field in base.model_fields.items()
        if repr(model.model_fields[name]) == repr(field)
    }
    return frozenset(common | base.refused)


def _row(name: str, schema: dict[str, Any]) -> str:
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind != {"type": "null"}]
    constants = [kind["const"] for kind in kinds if "const" in kind]
    honoured = f"only `{str(constants[0]).lower()}`" if constants else "honoured"
    text = " ".join(filter(None, [schema.get("description", ""), _limits(kinds[0])]))
    return f"| `{name}` | {honoured} | {text} |"


def _limits(schema: dict[str, Any]) -> str:
    limits = [text.format(schema[key]) for key, text in _LIMITS.items() if key in schema]
    choices = [f"`{choice}`" for choice in schema.get("enum", [])]
    said = ", ".join(limits) or ", ".join(choices)
    return f"({said})" if said else ""


if __name__ == "__main__":
    print(api_reference(), end="")
