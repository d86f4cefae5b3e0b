"""Random outputs under a constraint, as a model without any idea would write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import OutputForm
from legato.constrain.matcher import GrammarConstraint, GrammarMatcher
from legato.text.tokenizer import Tokenizer

CLOSERS = (b'"', b"]", b"}")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and what compiles for it."""

    tokenizer: Tokenizer
    compiler: GrammarCompiler

    def compile(self, form: OutputForm) -> GrammarConstraint:
        return self.compiler.compile(form)

    def text(self, tokens: list[int]) -> str:
        return b"".join(map(self.tokenizer.token_bytes, tokens)).decode()


def allowed(matcher: GrammarMatcher, vocab_size: int) -> list[int]:
    mask = np.full(-(-vocab_size // 32), 0xFFFFFFFF, np.uint32)
    matcher.fill_mask(mask)
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    assert not bits[vocab_size:].any()
    return bits.nonzero()[0].tolist()


def walk(vocabulary: Vocabulary, constraint: GrammarConstraint, seed: int, patience: int = 40):
    """The tokens of one output, the end left out. After `patience` tokens it hurries to the end."""
    tokenizer, rng = vocabulary.tokenizer, np.random.default_rng(seed)
    matcher, tokens = constraint.start(), []
    while len(tokens) < 2_000:
        choices = allowed(matcher, tokenizer.vocab_size)
        assert choices, vocabulary.text(tokens)
        assert not set(choices) & (tokenizer.special_ids - tokenizer.eos_ids)
        ends = [t for t in choices if t in tokenizer.eos_ids]
        if ends and (len(ends) == len(choices) or rng.random() < 0.5 or len(tokens) > patience):
            return tokens
        choices = [t for t in choices if t not in ends]
        closers = [t for t in choices if tokenizer.token_bytes(t) in CLOSERS]
        hurry = len(tokens) > patience and closers and rng.random() < 0.8
        tokens.append(int(rng.choice(closers if hurry else choices)))
        matcher.accept(tokens[-1])
    raise AssertionError("no end")
