import pytest

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.pruning import Pruning
from legato.adaptive.settings import ComputeSettings, StrategyName, parse_settings
from legato.errors import InvalidRequestError


def test_the_settings_of_the_documentation():
    settings = parse_settings(
        {
            "strategy": "adaptive_consistency",
            "max_samples": 16,
            "confidence": 0.95,
            "answer": "last_number",
        }
    )
    assert settings.make_strategy() == AdaptiveConsistency(16, 0.95)
    rule = settings.make_answer_rule()
    assert rule is not None
    assert rule.extract("so 7") == "7"
    assert settings.make_pruning() is None


def test_a_budget_alone_takes_the_default_strategy():
    settings = parse_settings({"budget_tokens": 500, "answer": "text"})
    assert settings.make_strategy() == AdaptiveConsistency(16, 0.95)


def test_defaults_depend_on_the_strategy():
    assert parse_settings(
        {"strategy": "early_stopping", "answer": "text"}
    ).make_strategy() == EarlyStopping(16, 4)
    pruned = parse_settings({"strategy": "best_of_n", "prune_every": 32})
    assert pruned.make_pruning() == Pruning(32, 0.5)


@pytest.mark.parametrize("name", StrategyName)
def test_every_strategy_can_be_made(name):
    needs = ComputeSettings(strategy=name, answer="text").make_strategy()
    assert needs.max_samples == 16


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        ({"strategy": "guess"}, "strategy", "use one of best_of_n"),
        ({"strategy": None}, "strategy", "use one of"),
        ({"strategy": ["best_of_n"]}, "strategy", "use one of"),
        ({"answer": "text", "confidence": 1.01}, "confidence", "from 0 to 1"),
        ({"answer": "text", "confidence": -0.1}, "confidence", "from 0 to 1"),
        ({"answer": "text", "confidence": float("nan")}, "confidence", "from 0 to 1"),
        ({"answer": "text", "confidence": True}, "confidence", "from 0 to 1"),
        ({"answer": "text", "confidence": "0.9"}, "confidence", "from 0 to 1"),
        ({"answer": "text", "max_samples": 0}, "max_samples", "from 1 to 128"),
        ({"answer": "text", "max_samples": 129}, "max_samples", "from 1 to 128"),
        ({"answer": "text", "max_samples": None}, "max_samples", "from 1 to 128"),
        ({"answer": "text", "max_samples": 2.0}, "max_samples", "from 1 to 128"),
        ({"answer": "words"}, "answer", "no rule to read answers"),
        ({"answer": "regex:("}, "answer", "cannot be used"),
        ({}, "answer", "is missing"),
        ({"strategy": "self_consistency"}, "answer", "is missing"),
        ({"answer": "text", "colour": 1}, "colour", "there are strategy, max_samples"),
        ({"answer": "text", "window": 3}, "window", "does nothing with adaptive_consistency"),
        ({"strategy": "best_of_n", "confidence": 0.5}, "confidence", "does nothing"),
        ({"answer": "text", "prune_margin": 1}, "prune_margin", "needs prune_every"),
        ({"answer": "text", "prune_every": 0}, "prune_every", "from 1"),
        ({"answer": "text", "budget_tokens": 0}, "budget_tokens", "from 1"),
        ({"answer": "text", "budget_ms": 0}, "budget_ms", "above 0"),
        ({"answer": "text", "budget_ms": float("inf")}, "budget_ms", "above 0"),
        ({"answer": "text", "budget_price": -1}, "budget_price", "above 0"),
        ({"strategy": "self_evaluation", "question": " "}, "question", "a text of 1"),
    ],
)
def test_a_wrong_setting_is_named(given, field, reason):
    with pytest.raises(InvalidRequestError, match=reason) as caught:
        parse_settings(given)
    assert caught.value.param == f"compute.{field}"
