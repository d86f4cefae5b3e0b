"""Token ids to text as they come: whole characters only, and never past a stop string."""

from __future__ import annotations

import codecs

from legato.text.stop import StopFilter
from legato.text.tokenizer import Tokenizer


class TextStream:
    """Text of one growing token sequence; each token costs its own bytes, whatever came before.

    All that `push` and `finish` give, joined, is `Tokenizer.decode` of all ids (with the same
    `skip_special_tokens` and `continues`), cut before the first stop string.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: tuple[str, ...] = (),
        *,
        skip_special_tokens: bool = True,
        continues: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._skipped = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._drops_space = tokenizer.strips_space and not continues
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._filter = StopFilter(stop)
        self.num_chars = 0
        """Characters decoded so far, given out or held back."""

    @property
    def stopped(self) -> bool:
        """A stop string was found; the text has ended before it."""
        return self._filter.stopped

    def push(self, token_id: int) -> str:
        """The text that became certain with one more token; often "" for a part of a character.

        An id past the vocabulary, which a padded output matrix can give, has no text.
        """
        if token_id in self._skipped or token_id >= self._tokenizer.vocab_size:
            return ""
        data = self._tokenizer.token_bytes(token_id)
        if self._drops_space and data:
            data = data.removeprefix(b" ")
            self._drops_space = False
        return self._release(self._utf8.decode(data))

    def finish(self) -> str:
        """What was held back: an unfinished character as U+FFFD, the start of a stop string."""
        text = self._release(self._utf8.decode(b"", final=True))
        return text + self._filter.finish()

    def _release(self, text: str) -> str:
        self.num_chars += len(text)
        return self._filter.push(text)
