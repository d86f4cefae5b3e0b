"""From the engine's token events to the text of one sample."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from legato.core import FinishReason, SamplingParams, TokenEvent, TokenLogprobs
from legato.text.stream import TextStream
from legato.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as the OpenAI format shows it. `text` is `data` as UTF-8, U+FFFD where it is not."""

    token_id: int
    text: str
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class LogprobEntry:
    """The chosen token of one position and its likeliest alternatives.

    `offset` is the index of the token's first character in the sample's text. A token that holds
    only a part of a character has the offset of that character.
    """

    chosen: TokenText
    top: tuple[TokenText, ...]
    offset: int


@dataclass(slots=True, kw_only=True)
class TextDelta:
    """What one event added to a sample. Nobody changes it; every token makes one, and freezing
    doubles the time that takes.

    Attributes:
        text: characters that became certain.
        token_ids: the event's token, if it had one.
        logprobs: entries of the tokens whose text has begun to be given out; tokens of a stop
            string or of the end of the sequence have none.
        finish_reason: set on the last delta. After STOP by a stop string the engine may still
            run: the caller cancels the sample there.
        error: why the sample failed, with finish_reason ERROR.
    """

    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[LogprobEntry, ...] = ()
    finish_reason: FinishReason | None = None
    error: str | None = None


class SampleText:
    """The text of one sample, event by event. Events after the end change nothing.

    Attributes:
        num_tokens: tokens generated up to the end, the one that ended the text included.
        num_chars: characters given out.
        finish_reason: None while the sample runs.
    """

    def __init__(
        self, tokenizer: Tokenizer, params: SamplingParams, *, continues: bool = True
    ) -> None:
        """`continues`: the text goes on from the prompt, so that a leading space is kept."""
        self._tokenizer = tokenizer
        self._stream = TextStream(tokenizer, params.stop, continues=continues)
        self._pending: deque[LogprobEntry] = deque()
        self.num_tokens = 0
        self.num_chars = 0
        self.finish_reason: FinishReason | None = None

    def push(self, event: TokenEvent) -> TextDelta:
        """The text that `event` added."""
        if self.finish_reason is not None:
            return TextDelta()
        text = self._token_text(event)
        if event.finish_reason is not None and not self._stream.stopped:
            text += self._stream.finish()
        self.finish_reason = FinishReason.STOP if self._stream.stopped else event.finish_reason
        self.num_chars += len(text)
        return TextDelta(
            text=text,
            token_ids=() if event.token_id is None else (event.token_id,),
            logprobs=self._due_logprobs() if self._pending else (),
            finish_reason=self.finish_reason,
            error=event.error,
        )

    def _token_text(self, event: TokenEvent) -> str:
        if event.token_id is None:
            return ""
        self.num_tokens += 1
        if event.finish_reason is FinishReason.STOP:  # the token that ended it has no text
            return ""
        if event.logprobs is not None:
            self._pending.append(self._entry(event.token_id, event.logprobs))
        return self._stream.push(event.token_id)

    def _entry(self, token_id: int, logprobs: TokenLogprobs) -> LogprobEntry:
        return LogprobEntry(
            self._described(token_id, logprobs.chosen),
            tuple(self._described(i, logprob) for i, logprob in logprobs.top),
            self._stream.num_chars,
        )

    def _described(self, token_id: int, logprob: float) -> TokenText:
        in_vocabulary = token_id < self._tokenizer.vocab_size
        data = self._tokenizer.token_bytes(token_id) if in_vocabulary else b""
        return TokenText(token_id, data.decode(errors="replace"), data, logprob)

    def _due_logprobs(self) -> tuple[LogprobEntry, ...]:
        """Pending entries whose text has begun; at an end without a stop string, all."""
        everything = self.finish_reason is not None and not self._stream.stopped
        due = []
        while self._pending and (everything or self._pending[0].offset < self.num_chars):
            due.append(self._pending.popleft())
        return tuple(due)
