"""How close a configuration comes to fp32 arithmetic on the same weights.

The next-token distributions at every position of a few prose texts are compared with those of the
reference backend. Each text is a sequence of its own, with BOS where the model wants one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class LogitModel(Protocol):
    """What is compared: `LLM.logits`."""

    def logits(self, token_ids: Sequence[int]) -> F32:
        """Next-token logits at every position, f32 [tokens, vocab]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Compared over `tokens` positions; divergences in nats.

    Attributes:
        mean_kl: mean of KL(reference ‖ measured) over positions.
        p99_kl, max_kl: its tail.
        perplexity, reference_perplexity: of the texts.
        top1_agreement: share of positions with the same most likely token.
        tokens_per_s: rate at which logits of whole texts were computed.
    """

    tokens: int
    mean_kl: float
    p99_kl: float
    max_kl: float
    perplexity: float
    reference_perplexity: float
    top1_agreement: float
    tokens_per_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Per position of one text: divergence, surprise of the next token, agreement."""

    kl: F64
    loss: F64
    reference_loss: F64
    same_top: npt.NDArray[np.bool_]


def prose_texts() -> list[str]:
    """English prose written for this measurement, about 2,000 tokens in all."""
    text = files("legato.bench").joinpath("data/prose.txt").read_text(encoding="utf-8")
    return text.strip().split("\n\n")


def measure_fidelity(
    measured: LogitModel, reference: LogitModel, texts: Sequence[Sequence[int]]
) -> Fidelity:
    """Compare two models over the token ids of `texts`, each at least two tokens long."""
    compared = []
    elapsed = 0.0
    for token_ids in texts:
        start = time.perf_counter()
        logits = measured.logits(token_ids)
        elapsed += time.perf_counter() - start
        compared.append(_compare(logits, reference.logits(token_ids), token_ids))
    kl = np.concatenate([c.kl for c in compared])
    return Fidelity(
        tokens=sum(map(len, texts)),
        mean_kl=float(kl.mean()),
        p99_kl=float(np.percentile(kl, 99)),
        max_kl=float(kl.max()),
        perplexity=_perplexity(c.loss for c in compared),
        reference_perplexity=_perplexity(c.reference_loss for c in compared),
        top1_agreement=float(np.concatenate([c.same_top for c in compared]).mean()),
        tokens_per_s=sum(map(len, texts)) / elapsed,
    )


def _compare(logits: F32, reference: F32, token_ids: Sequence[int]) -> _Compared:
    kl = np.empty(len(logits))
    loss, reference_loss = np.empty(len(logits) - 1), np.empty(len(logits) - 1)
    for position, (p, q) in enumerate(zip(reference, logits, strict=True)):
        log_p, log_q = _log_softmax(p), _log_softmax(q)
        kl[position] = np.exp(log_p) @ (log_p - log_q)
        if position + 1 < len(token_ids):
            following = token_ids[position + 1]
            loss[position], reference_loss[position] = -log_q[following], -log_p[following]
    return _Compared(kl, loss, reference_loss, logits.argmax(1) == reference.argmax(1))


def _log_softmax(logits: F32) -> F64:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    result: F64 = wide - np.log(np.exp(wide).sum())
    return result


def _perplexity(losses: Iterator[F64]) -> float:
    return float(np.exp(np.concatenate(list(losses)).mean()))
