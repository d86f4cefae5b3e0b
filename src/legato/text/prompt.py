"""From what a caller gives to the token ids of a prompt; the one way for every entry point."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from legato.errors import InvalidRequestError
from legato.text.chat_messages import normalised_messages
from legato.text.tokenizer import Tokenizer

STAND_INS = range(0x20000, 0x2A6E0)
"""Rare ideographs (CJK extension B). Templates pass them on as they are, printed or as JSON."""


class Prompt(NamedTuple):
    """The text of a prompt and its token ids."""

    text: str
    token_ids: tuple[int, ...]


class Renderer(Protocol):
    """A chat template."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text that a conversation becomes, in which `tools` may be called."""
        ...


def text_prompt(tokenizer: Tokenizer, text: str, max_tokens: int) -> Prompt:
    """`text` continued as it is: the texts of control tokens in it are those tokens.

    Raises InvalidRequestError for a text that can never fit into `max_tokens`, before work is
    spent on it.
    """
    _check_length(tokenizer, text, max_tokens, "prompt")
    return Prompt(text, tuple(tokenizer.encode(text)))


def chat_prompt(
    tokenizer: Tokenizer,
    template: Renderer,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Prompt:
    """The prompt that asks for the next turn of a conversation, in which `tools` may be called.

    What the template writes may be control tokens. What people wrote may not: ``<|im_end|>`` in a
    message is ordinary text, so that nobody ends their turn and begins the system's. For messages
    without such texts the ids are those of the rendered text.

    Raises InvalidRequestError as `text_prompt` does, and for malformed messages.
    """
    masked = _Masked(tokenizer, messages, tools)
    rendered = template.render(masked.messages, tools=masked.tools)
    text = masked.restored(rendered)
    _check_length(tokenizer, text, max_tokens, "messages")
    if not masked.texts:
        return Prompt(text, tuple(tokenizer.encode(text, add_special_tokens=False)))
    ids: list[int] = []
    for piece, trusted in masked.pieces(rendered):
        ids += tokenizer.encode(piece, add_special_tokens=False, parse_special=trusted)
    return Prompt(text, tuple(ids))


def follow_up(tokenizer: Tokenizer, template: Renderer | None, question: str) -> tuple[int, ...]:
    """The tokens between the assistant's text and its next turn, if the user asks `question` then.

    Control tokens come from the template alone. Without a template, or where that does not show
    both texts as they are, the question is a paragraph of its own.
    """
    said, asked = map(chr, STAND_INS[:2])
    parts = ["\n\n", "\n"]
    if template is not None:
        turns = [("user", "?"), ("assistant", said), ("user", asked)]
        text = template.render([{"role": role, "content": content} for role, content in turns])
        between = text.partition(said)[2].split(asked)
        parts = between if len(between) == 2 else parts
    before, after = (tokenizer.encode(part, add_special_tokens=False) for part in parts)
    own = tokenizer.encode(question, add_special_tokens=False, parse_special=False)
    return (*before, *own, *after)


class _Masked:
    """Messages in which a rare character stands for each text of a control token."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self.texts: dict[str, str] = {}
        normalised = normalised_messages(messages)
        self._free = _absent_chars([*normalised, *(tools or ())])
        self._chars: dict[str, str] = {}
        self.messages: list[dict[str, Any]] = [
            {key: value if key == "role" else self._mask(value) for key, value in m.items()}
            for m in normalised
        ]
        self.tools = None if tools is None else [self._mask(tool) for tool in tools]

    def restored(self, text: str) -> str:
        """`text` with every stand-in replaced by what it stands for."""
        return text.translate({ord(char): original for char, original in self.texts.items()})

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """`text` in order, cut around stand-ins; False where it is the original of one."""
        for piece in re.split(f"([{''.join(self.texts)}])", text):
            if piece:
                yield self.texts.get(piece, piece), piece not in self.texts

    def _mask(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, str):
            return self._mask_text(value)
        if isinstance(value, list):
            return [self._mask(item) for item in value]
        if isinstance(value, dict):
            return {self._mask(key): self._mask(item) for key, item in value.items()}
        return value

    def _mask_text(self, text: str) -> str:
        parts, end = [], 0
        for start, stop in self._tokenizer.special_spans(text):
            parts += [text[end:start], self._char_for(text[start:stop])]
            end = stop
        return "".join([*parts, text[end:]])

    def _char_for(self, original: str) -> str:
        if original not in self._chars:
            char = self._chars[original] = next(self._free, "")
            if not char:
                raise InvalidRequestError("too many control tokens in these messages", "messages")
            self.texts[char] = original
        return self._chars[original]


def _absent_chars(messages: object) -> Iterator[str]:
    """Stand-ins that no text of `messages` has."""
    taken = set().union(*_strings(messages))
    yield from (char for char in map(chr, STAND_INS) if char not in taken)


def _strings(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        yield from _strings([*value.keys(), *value.values()])


def _check_length(tokenizer: Tokenizer, text: str, max_tokens: int, name: str) -> None:
    least = tokenizer.least_tokens(text)
    if least >= max_tokens:
        raise InvalidRequestError(
            f"the prompt has at least {least} tokens; with at least one token of output it must "
            f"fit the context of {max_tokens}",
            name,
            "context_length_exceeded",
        )
