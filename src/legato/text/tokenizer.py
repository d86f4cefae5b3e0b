"""Text to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache

from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordLevel

from legato.errors import InvalidRequestError
from legato.text.folder_vocabulary import read_folder_vocabulary
from legato.text.gguf_vocabulary import read_gguf_vocabulary
from legato.text.source import GGUFVocabulary, TokenizerSource
from legato.text.vocabulary import Vocabulary

KEPT_PIECES = 1 << 14
"""Tokens whose bytes are kept: those of most texts."""

MAX_SHRINK = 4
"""Normal forms make UTF-8 shorter by at most this factor (mathematical letters to ASCII)."""


def load_tokenizer(source: TokenizerSource) -> Tokenizer:
    """The tokenizer that `source` describes. ModelFormatError names what does not fit."""
    if isinstance(source, GGUFVocabulary):
        return Tokenizer(read_gguf_vocabulary(source.metadata))
    return Tokenizer(read_folder_vocabulary(source.folder))


class Tokenizer:
    """Encodes, decodes, and knows the tokens that have a role. Safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._encoder = vocabulary.encoder
        self._piece = lru_cache(KEPT_PIECES)(vocabulary.piece)
        self.vocab_size = len(vocabulary.texts)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.eos_ids = vocabulary.eos_ids
        self.special_ids = vocabulary.special_ids
        self.adds_bos = vocabulary.adds_bos
        self.strips_space = vocabulary.strips_space
        self.chat_template = vocabulary.chat_template

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of `text`.

        Args:
            text: any text that UTF-8 can hold; a lone surrogate is an InvalidRequestError.
            add_special_tokens: add what the model puts around every text (BOS, for those that
                have it). A rendered chat template has it already: pass False there.
            parse_special: the text of a control token, such as ``<|im_end|>``, becomes that
                token. False for untrusted content: there it is ordinary text.
        """
        _check_encodable(text)
        encoder = self._encoder if parse_special else self._plain_encoder
        # Of the library's ways to encode, the batched ones alone let other threads run meanwhile.
        (encoding,) = encoder.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        ids: list[int] = encoding.ids
        return ids

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = True, continues: bool = False
    ) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Args:
            ids: token ids; one outside the vocabulary is an InvalidRequestError.
            skip_special_tokens: leave control tokens out instead of writing their literal text.
            continues: the text goes on from other text, so that a leading space belongs to it
                (some tokenizers put one before every text, and drop it here otherwise).
        """
        skipped = self.special_ids if skip_special_tokens else frozenset()
        data = b"".join([self.token_bytes(i) for i in ids if i not in skipped])
        if self.strips_space and not continues:
            data = data.removeprefix(b" ")
        return data.decode(errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes a token stands for; a control token gives its literal text."""
        self._check_id(token_id)
        return self._piece(token_id)

    def token_text(self, token_id: int) -> str:
        """A token as the vocabulary writes it, such as "Ġthe" or "▁the"."""
        self._check_id(token_id)
        return self._vocabulary.texts[token_id]

    def first_difference(self, other: Tokenizer) -> int | None:
        """The first token id that the vocabularies write differently; None where they are equal."""
        own, others = self._vocabulary.texts, other._vocabulary.texts
        for token_id, (text, text_there) in enumerate(zip(own, others, strict=False)):
            if text != text_there:
                return token_id
        return None if len(own) == len(others) else min(len(own), len(others))

    def special_id(self, text: str) -> int | None:
        """The id of the control token with exactly this text, if there is one."""
        token_id = self._encoder.token_to_id(text)
        return token_id if token_id in self.special_ids else None

    def least_tokens(self, text: str) -> int:
        """A number of tokens that `text` has at least, found without tokenising it."""
        shrink = 1 if self._encoder.normalizer is None else MAX_SHRINK
        return len(text.encode(errors="replace")) // (self._longest_piece * shrink)

    def special_spans(self, text: str) -> list[tuple[int, int]]:
        """Where the texts of control tokens are in `text`: (start, end) in characters, in order."""
        _check_encodable(text)
        (encoding,) = self._finder.encode_batch([text], add_special_tokens=False)
        places = zip(encoding.ids, encoding.offsets, strict=True)
        return [span for token_id, span in places if token_id]

    @cached_property
    def _longest_piece(self) -> int:
        return max(len(self._vocabulary.piece(i)) for i in range(self.vocab_size))

    @cached_property
    def _finder(self) -> RustTokenizer:
        """Finds control tokens just as `_encoder` does; all other text is token 0."""
        finder = RustTokenizer(WordLevel({"": 0}, unk_token=""))
        if self._encoder.normalizer is not None:
            finder.normalizer = self._encoder.normalizer
        added = self._encoder.get_added_tokens_decoder()
        finder.add_tokens([added[i] for i in sorted(added) if i in self.special_ids])
        return finder

    @cached_property
    def _plain_encoder(self) -> RustTokenizer:
        """Shares the model with `_encoder`, but reads control tokens' text as ordinary text."""
        source = self._encoder
        plain = RustTokenizer(source.model)
        for part in ("normalizer", "pre_tokenizer", "post_processor"):
            if getattr(source, part) is not None:
                setattr(plain, part, getattr(source, part))
        added = source.get_added_tokens_decoder()
        plain.add_tokens([added[i] for i in sorted(added)])
        plain.encode_special_tokens = True
        return plain

    def _check_id(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocab_size:
            raise InvalidRequestError(
                f"token id {token_id} is out of range: this model's vocabulary has the ids "
                f"0 to {self.vocab_size - 1}",
                param="prompt",
            )


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"the text has a lone surrogate (U+{ord(text[error.start]):04X}) at character "
            f"{error.start}; send characters outside the basic plane as surrogate pairs or UTF-8"
        ) from None
