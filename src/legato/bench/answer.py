"""The chunks of one streamed answer, chat or completions, as stamps, text and usage.

Most chunks of a stream differ in their text alone. What surrounds the text is learnt from a parsed
chunk; the next one with the same surroundings is taken without parsing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from legato import _native
from legato.bench.outcome import NS_PER_MS, FailureKind, Outcome, RequestFailedError

DONE = b"[DONE]"
TEXT_FIELDS = ("content", "text", "reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes before and after the text in a chunk that carries text and nothing else."""

    before: bytes
    after: bytes
    chunk_before: bytes = field(init=False)
    chunk_after: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_before", b"\r\ndata: " + self.before)
        object.__setattr__(self, "chunk_after", self.after + b"\n\n\r\n")

    def text_in(self, event: bytes) -> str | None:
        """The text of `event`; None where it does not fit this frame or has to be unescaped."""
        if not (event.startswith(self.before) and event.endswith(self.after)):
            return None
        text = event[len(self.before) : len(event) - len(self.after)]
        try:
            return None if b'"' in text or b"\\" in text else text.decode()
        except UnicodeDecodeError:
            return None

    def texts_in_chunks(self, data: bytes, ends: list[int], first: int) -> list[str]:
        """The same of the pieces of `data` from number `first` on, as far as each is one HTTP chunk
        with one event in this frame, with a text.

        Nearly every token comes so, and taking it apart layer by layer costs much more.
        """
        return _native.plain_texts(data, ends, first, self.chunk_before, self.chunk_after)


@dataclass(slots=True)
class Answer:
    """Takes events as they come. `on_text` hears each piece of text; `written_ns` is when the
    question was written."""

    on_text: Callable[[str], None] | None = None
    pieces: list[str] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    written_ns: int = 0
    closing_ns: int = 0
    done: bool = False
    finish_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    extension: object = None
    _frame: Frame | None = None

    def take(self, event: bytes, now_ns: int) -> None:
        """One event that came at `now_ns`.

        Raises:
            RequestFailedError: it is not a chunk, or it says that the answer failed.
        """
        if self._frame is not None and (text := self._frame.text_in(event)) is not None:
            if text:
                self._add([text], [now_ns])
            return
        if event == DONE:
            self.done = True
            return
        chunk = _parse(event)
        try:
            text, plain = self._take_choice(chunk)
        except (AttributeError, TypeError, KeyError) as error:
            raise RequestFailedError(
                FailureKind.MALFORMED, f"not OpenAI's form of a chunk: {event[:80]!r}"
            ) from error
        if text:
            self._add([text], [now_ns])
            self._frame = learn_frame(event, text) if plain else self._frame
        self._take_extras(chunk, now_ns)

    def take_chunks(
        self, data: bytes, ends: list[int], stamps_ns: Sequence[int], first: int
    ) -> int:
        """Take the pieces of `data` from number `first` on, as far as they are one HTTP chunk each
        with one event with nothing but text. Returns how many.

        Args:
            ends: where in `data` each piece ends.
            stamps_ns: when each came.
        """
        if self._frame is None:
            return 0
        texts = self._frame.texts_in_chunks(data, ends, first)
        self._add(texts, stamps_ns[first : first + len(texts)])
        return len(texts)

    def _add(self, texts: Sequence[str], stamps_ns: Sequence[int]) -> None:
        self.pieces += texts
        self.stamps_ns += stamps_ns
        if self.on_text is not None:
            for text in texts:
                self.on_text(text)

    def _take_choice(self, chunk: dict[str, Any]) -> tuple[str, bool]:
        """The text, and whether the chunk carries nothing besides."""
        if not chunk.get("choices"):
            return "", False
        choice = chunk["choices"][0]
        reason = choice.get("finish_reason")
        self.finish_reason = reason or self.finish_reason
        delta = choice.get("delta") or choice
        text = "".join(delta[name] for name in TEXT_FIELDS if delta.get(name))
        return text, not (reason or chunk.get("usage"))

    def _take_extras(self, chunk: dict[str, Any], now_ns: int) -> None:
        if self.finish_reason and not self.closing_ns:
            self.closing_ns = now_ns
        self.usage = chunk.get("usage") or self.usage
        self.extension = chunk.get("legato") or self.extension

    def settle(self, outcome: Outcome) -> None:
        """Put what came into `outcome`; also after a failure."""
        outcome.text = "".join(self.pieces)
        outcome.finish_reason = self.finish_reason
        outcome.written_ns = self.written_ns or outcome.sent_ns
        outcome.server_ttft_ms = _number(self.extension, "timing", "ttft_ms")
        machine_ms = _number(self.extension, "cost", "machine_ms")
        outcome.machine_ns = None if machine_ms is None else round(machine_ms * NS_PER_MS)
        outcome.timeline.prompt_tokens = self.usage.get("prompt_tokens") or 0
        details = self.usage.get("prompt_tokens_details") or {}
        outcome.cached_tokens = details.get("cached_tokens") or 0
        total = self.usage.get("completion_tokens")
        outcome.counted_by = "chunks" if total is None else "usage"
        outcome.timeline.stamps_ns[:] = place_tokens(
            self.stamps_ns, [len(piece) for piece in self.pieces], self.closing_ns, total
        )

    def check(self, *, needs_done: bool = True) -> None:
        """Raise RequestFailedError unless the answer is complete, with [DONE] where needed."""
        if needs_done and not self.done:
            raise RequestFailedError(FailureKind.INCOMPLETE, "the stream ended before [DONE]")
        if self.finish_reason is None:
            raise RequestFailedError(FailureKind.INCOMPLETE, "the stream has no finish_reason")
        if not self.stamps_ns and not self.usage.get("completion_tokens"):
            raise RequestFailedError(FailureKind.EMPTY, "the answer has no token")


def _number(extension: object, part: str, name: str) -> float | None:
    """A number two levels deep; None where a server of another kind put something else."""
    inner = extension.get(part) if isinstance(extension, dict) else None
    value = inner.get(name) if isinstance(inner, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


def _parse(event: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(event)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise RequestFailedError(FailureKind.MALFORMED, f"not a chunk: {event[:80]!r}")
    if error := chunk.get("error"):
        raise RequestFailedError(FailureKind.STREAM_ERROR, f"an error in the stream: {error}")
    return chunk


def learn_frame(event: bytes, text: str) -> Frame | None:
    """What surrounds `text` in `event`, if it stands there once and unescaped."""
    quoted = b'"' + text.encode() + b'"'
    if event.count(quoted) != 1 or "\\" in text or '"' in text:
        return None
    before, _, after = event.partition(quoted)
    if before.rstrip(b" ")[-1:] != b":":
        return None
    return Frame(before + b'"', b'"' + after)


def place_tokens(
    stamps_ns: Sequence[int], sizes: Sequence[int], closing_ns: int, total: int | None
) -> list[int]:
    """The time of each of `total` tokens, from the chunks that brought text.

    Args:
        stamps_ns: when each chunk with text came.
        sizes: its length in characters.
        closing_ns: when the chunk with the finish reason came, 0 for never.
        total: tokens by the server's count; None takes one a chunk.

    A surplus over the chunks is one token without text at the close (the end token), and the
    rest in the chunks, in proportion to their text. Where chunks are finer than tokens, a token
    has come when its last chunk has.
    """
    chunks = len(stamps_ns)
    if total is None or total == chunks:
        return list(stamps_ns)
    if total < chunks:
        return [stamps_ns[(number + 1) * chunks // total - 1] for number in range(total)]
    closing = int(closing_ns > 0)
    if not chunks:
        return [closing_ns] * total if closing else []
    placed: list[int] = []
    within, characters, seen = total - closing, sum(sizes), 0
    for number, (stamp, size) in enumerate(zip(stamps_ns, sizes, strict=True)):
        seen += size
        upto = number + 1 + (within - chunks) * seen // characters
        placed += [stamp] * (upto - len(placed))
    return placed + [closing_ns] * closing
