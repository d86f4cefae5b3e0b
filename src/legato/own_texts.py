"""Texts that a model writes to itself: questions that it expects, and its answers to them.

A chat model that is shown the beginning of a conversation up to where the user speaks goes on as
a user would (Xu et al. 2024, "Magpie", arXiv 2406.08464). So its own habits can be learnt without
any text from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from legato.core import SamplingParams
from legato.errors import LegatoError
from legato.llm import LLM

Text = tuple[int, ...]
Report = Callable[[float], None]

QUESTION_TOKENS = 40
ANSWER_TOKENS = 128
_MIN_P = 0.05


def write_texts(
    llm: LLM, tokens: int, together: int, before: int, report: Report = lambda share: None
) -> list[Text]:
    """About `tokens` tokens of greedy answers, `together` at a time.

    Each begins with the last `before` tokens of its prompt. The same model gives the same texts.
    `report` is told which part is done, 0 to 1.
    """
    beginning = _beginning(llm)
    texts: list[Text] = []
    written = seed = 0
    while written < tokens:
        new = _answered(llm, _questions(llm, beginning, together, seed), before)
        texts += new
        written += sum(map(len, new)) or tokens
        seed += 1
        report(min(1.0, written / tokens))
    return texts


def _questions(llm: LLM, beginning: Text, count: int, seed: int) -> list[str]:
    params = SamplingParams(min_p=_MIN_P, max_tokens=QUESTION_TOKENS, n=count, seed=seed)
    (result,) = llm.generate([beginning], params)
    return [text for sample in result.outputs if (text := sample.text.strip())]


def _answered(llm: LLM, questions: list[str], before: int) -> list[Text]:
    """The answers, and the last `before` tokens that stand before each."""
    if not questions:
        return []
    params = SamplingParams(temperature=0.0, max_tokens=ANSWER_TOKENS)
    prompts = [llm.encode_chat(_said(question)) for question in questions]
    results = llm.generate(prompts, params)
    return [
        (*prompt[max(0, len(prompt) - before) :], *result.outputs[0].token_ids)
        for prompt, result in zip(prompts, results, strict=True)
    ]


def _beginning(llm: LLM) -> Text:
    """The tokens of a conversation up to where the user speaks."""
    try:
        one, other = llm.encode_chat(_said("A")), llm.encode_chat(_said("B"))
    except LegatoError as error:
        raise LegatoError(f"this model holds no conversations with itself: {error}") from error
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(token for token, _ in shared)


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
