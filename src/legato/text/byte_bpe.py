"""Byte-level BPE from a vocabulary and its merges, with the pre-tokenizer that a GGUF file names.

The patterns are part of each model's definition: a BPE merge never crosses their pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE

from legato.errors import ModelFormatError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_TAIL = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_GPT4O = (
    rf"{_LEAD}{_UPPER}*{_LOWER}+{_CONTRACTION}?|{_LEAD}{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    rf"|\p{{N}}{{1,3}}|{_CASED_TAIL}"
)
_TEKKEN = rf"{_LEAD}{_UPPER}*{_LOWER}+|{_LEAD}{_UPPER}+{_LOWER}*|\p{{N}}|{_CASED_TAIL}"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How text is cut before BPE.

    Attributes:
        pattern: Oniguruma regex whose matches are the pieces.
        single_digits: every numeric character is cut out before `pattern` is applied.
        nfc: text is put into Unicode normal form C first.
        ignore_merges: a piece that is itself a token is taken whole.
        adds_bos: the family begins every sequence with its BOS token unless told otherwise.
    """

    pattern: str
    single_digits: bool = False
    nfc: bool = False
    ignore_merges: bool = False
    adds_bos: bool = False


_PLAIN = PreTokenizer(_GPT2)
_DIGITS = PreTokenizer(_GPT2, single_digits=True)
_LLAMA = PreTokenizer(_LLAMA3, ignore_merges=True, adds_bos=True)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "default": _PLAIN,
    "gpt-2": _PLAIN,
    "phi-2": _PLAIN,
    "olmo": _PLAIN,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "llama-bpe": _LLAMA,
    "llama3": _LLAMA,
    "llama-v3": _LLAMA,
    "falcon3": _LLAMA,
    "smaug-bpe": PreTokenizer(_LLAMA3),
    "dbrx": PreTokenizer(_LLAMA3),
    "qwen2": PreTokenizer(_QWEN2, nfc=True),
    "deepseek-r1-qwen": PreTokenizer(_QWEN2),
    "gpt-4o": PreTokenizer(_GPT4O),
    "llama4": PreTokenizer(_GPT4O, adds_bos=True),
    "tekken": PreTokenizer(_TEKKEN, ignore_merges=True, adds_bos=True),
}
"""Names that ``tokenizer.ggml.pre`` may hold."""


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """The pre-tokenizer that a GGUF file calls `name`; ModelFormatError if it is not known."""
    try:
        return PRE_TOKENIZERS[name]
    except KeyError:
        raise ModelFormatError(
            f"tokenizer.ggml.pre is {name!r}, a pre-tokenizer that Legato does not know; "
            f"known are: {', '.join(sorted(PRE_TOKENIZERS))}"
        ) from None


def byte_bpe(vocab: dict[str, int], merges: Sequence[str], pre: PreTokenizer) -> RustTokenizer:
    """An encoder for `vocab`; each merge is written "left right", best first."""
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    try:
        model = BPE(vocab, pairs, ignore_merges=pre.ignore_merges)  # type: ignore[arg-type]
    except Exception as error:
        raise ModelFormatError(f"tokenizer.ggml.merges does not fit the tokens: {error}") from error
    encoder = RustTokenizer(model)
    encoder.pre_tokenizer = pre_tokenizers.Sequence(_cuts(pre))
    encoder.decoder = ByteLevelDecoder()
    if pre.nfc:
        encoder.normalizer = normalizers.NFC()
    return encoder


def _cuts(pre: PreTokenizer) -> list[pre_tokenizers.PreTokenizer]:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cuts = [pre_tokenizers.Split(Regex(pre.pattern), "isolated"), to_bytes]
    return [pre_tokenizers.Digits(individual_digits=True), *cuts] if pre.single_digits else cuts
