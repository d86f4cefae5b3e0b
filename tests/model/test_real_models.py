"""The native backend on real models: close to the reference, and the same in any company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from legato import LLM, SamplingParams
from legato.assemble import build_engine
from legato.bench.fidelity import F32, measure_fidelity, prose_texts
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request
from legato.models.load import load_model
from legato.text.tokenizer import load_tokenizer
from model.golden_models import reference_logits
from model.test_engine_invariance import bits, generate

pytestmark = pytest.mark.real_model

QUESTIONS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    "The three primary colours are",
    "To bake a simple loaf of bread, you need",
    "My favourite season is autumn because",
    "The largest planet in the solar system is",
    "A good letter of application should",
    "In 1969, the first people landed on",
    "The opposite of hot is",
    "Dear Sir or Madam,",
    "import numpy as np\n\n",
    "The recipe begins with two cups of",
    "Photosynthesis is the process by which",
    "She opened the door and saw",
    "The quickest way to learn a language is",
    "SELECT name FROM customers WHERE",
    "The difference between a lake and a pond is",
    "If it rains tomorrow, we will",
)
WINDOW = 512
"""Of Gemma, in tokens."""

SAMPLED = SamplingParams(temperature=0.8, top_p=0.95, seed=11, max_tokens=24, logprobs=2)


class Remembering:
    """A model whose logits are computed once a text: the reference takes its time."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._known: dict[tuple[int, ...], F32] = {}

    def logits(self, token_ids: Sequence[int]) -> F32:
        key = tuple(token_ids)
        if key not in self._known:
            self._known[key] = self._llm.logits(token_ids)
        return self._known[key]


def reference_of(path: Path) -> LLM:
    return LLM(path, backend="reference", kv_dtype="f32", num_kv_blocks=256)


@pytest.fixture(scope="module")
def smollm2_reference(smollm2_path: Path) -> Iterator[Remembering]:
    with reference_of(smollm2_path) as llm:
        yield Remembering(llm)


@pytest.mark.parametrize(
    ("precision", "bound", "agreement"),
    [("fast", 5e-3, 0.94), ("balanced", 1e-3, 0.98), ("exact", 1e-5, 0.995)],
)
def test_native_distributions_are_close_to_fp32_on_prose(
    smollm2_path: Path,
    smollm2_reference: Remembering,
    precision: str,
    bound: float,
    agreement: float,
) -> None:
    with LLM(smollm2_path, precision=precision) as native:
        texts = [native.tokenizer.encode(text) for text in prose_texts()[-2:]]
        fidelity = measure_fidelity(native, smollm2_reference, texts)
    assert fidelity.mean_kl < bound
    assert fidelity.perplexity == pytest.approx(fidelity.reference_perplexity, rel=0.01)
    assert fidelity.top1_agreement > agreement


class Known:
    """A model whose logits are known."""

    def __init__(self, logits: F32) -> None:
        self._logits = logits

    def logits(self, token_ids: Sequence[int]) -> F32:
        return self._logits


def test_gemma_beyond_its_window_is_close_to_fp32(gemma_path: Path) -> None:
    beyond = slice(WINDOW, WINDOW + 28)
    with LLM(gemma_path) as native:
        token_ids = native.tokenizer.encode("\n".join(prose_texts()))[: beyond.stop]
        measured = native.logits(token_ids)[beyond]
    expected = reference_logits(load_model(gemma_path), token_ids, range(len(token_ids))[beyond])
    fidelity = measure_fidelity(Known(measured), Known(expected), [token_ids[beyond]])
    assert fidelity.tokens == 28
    assert fidelity.mean_kl < 1e-3


def test_greedy_texts_equal_those_of_fp32_for_most_prompts(
    smollm2_path: Path, smollm2_reference: Remembering
) -> None:
    params = SamplingParams(temperature=0, max_tokens=32, ignore_eos=True)
    with LLM(smollm2_path) as native:
        results = native.generate(list(QUESTIONS[:10]), params)
    same = []
    for result in results:
        chosen = result.outputs[0].token_ids
        logits = smollm2_reference.logits([*result.prompt_token_ids, *chosen])
        same.append(logits[-len(chosen) - 1 : -1].argmax(axis=1).tolist() == chosen)
    assert sum(same) > len(results) / 2


@pytest.mark.parametrize("model", ["smollm2_path", "gemma_path"])
def test_a_request_is_bit_equal_alone_and_in_any_company(
    model: str, request: pytest.FixtureRequest
) -> None:
    loaded = load_model(request.getfixturevalue(model))
    tokenizer = load_tokenizer(loaded.tokenizer)
    texts = (prose_texts()[0][:1200], *QUESTIONS[:15])
    first, *others = (
        Request(id=text, prompt=tuple(tokenizer.encode(text)), params=SAMPLED) for text in texts
    )

    def answer(*others: Request, **config: Any) -> list[tuple[object, ...]]:
        chosen = EngineConfig(num_kv_blocks=2000, **config)
        with closing(build_engine(loaded, chosen, VirtualClock(), tokenizer)) as engine:
            return bits(generate(engine, [first, *others])[first.id])

    alone = answer()
    assert answer(num_threads=1) == alone
    assert answer(max_batch_tokens=37, prefix_cache=False) == alone
    assert answer(*others) == alone


def test_logits_do_not_depend_on_how_a_text_is_chunked(smollm2_path: Path) -> None:
    token_ids = list(range(1000, 1090))
    with LLM(smollm2_path) as whole, LLM(smollm2_path, max_batch_tokens=17) as chunked:
        assert np.array_equal(whole.logits(token_ids), chunked.logits(token_ids))
