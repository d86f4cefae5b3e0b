"""Drafters copy what an earlier passage went on with, and remember only what they may."""

from __future__ import annotations

import pytest
from fake_backend import make_request
from hypothesis import given
from hypothesis import strategies as st

from legato.scheduler.budget import UNLIMITED, StepBudget
from legato.scheduler.sequence import make_samples
from legato.speculative.automaton import ROOT, SuffixAutomaton
from legato.speculative.book import ReferenceBook
from legato.speculative.copying import copied, match_class
from legato.speculative.draft import Drafter
from legato.speculative.lookup import LookupDrafter
from legato.speculative.ngrams import NGramTable
from legato.speculative.recall import RecallDrafter
from legato.speculative.speculator import BatchSpeculator
from legato.speculative.suffix import SuffixDrafter
from legato.speculative.tenants import MAX_TENANTS

texts = st.lists(st.integers(0, 2), min_size=1, max_size=40)
DRAFTERS: list[Drafter] = [
    LookupDrafter(),
    SuffixDrafter(),
    SuffixDrafter(1000),
    RecallDrafter(NGramTable()),
    RecallDrafter(NGramTable(), 1000),
]
by_name = pytest.mark.parametrize(
    "drafter", DRAFTERS, ids=["lookup", "suffix", "shared", "recall", "remembering"]
)


def longest_repeated_suffix(text: list[int]) -> int:
    def occurs_earlier(length: int) -> bool:
        return any(text[i : i + length] == text[-length:] for i in range(len(text) - length))

    return max((n for n in range(1, len(text)) if occurs_earlier(n)), default=0)


@given(texts)
def test_the_automaton_finds_the_longest_suffix_that_occurred_before(text: list[int]) -> None:
    automaton = SuffixAutomaton()
    automaton.extend(text)
    length, end = automaton.repeated_suffix()
    assert length == longest_repeated_suffix(text)
    if length:
        assert end < len(text) - 1
        assert text[end - length + 1 : end + 1] == text[-length:]


@given(texts)
def test_the_automaton_stays_linear_in_the_text(text: list[int]) -> None:
    automaton = SuffixAutomaton()
    automaton.extend(text)
    assert len(automaton._next) <= 2 * len(text) + 1


@given(texts, texts)
def test_following_another_text_finds_its_ends_in_the_automaton(
    text: list[int], other: list[int]
) -> None:
    automaton = SuffixAutomaton()
    automaton.extend(text)
    state, length = ROOT, 0
    for count, token in enumerate(other, 1):
        state, length = automaton.follow(state, length, token)
        end, tail = automaton.end_of(state), other[count - length : count]
        longer = other[count - length - 1 : count] if length < count else None
        assert not length or text[end - length + 1 : end + 1] == tail
        assert longer is None or not any(
            text[i : i + length + 1] == longer for i in range(len(text))
        )


@by_name
def test_a_repeated_passage_is_proposed_again(drafter: Drafter) -> None:
    draft = drafter.open("")
    draft.extend([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert draft.propose(3) == [4, 5, 6]
    assert min(draft.confidences) > 0


@by_name
def test_a_period_is_continued_beyond_the_end_of_the_text(drafter: Drafter) -> None:
    draft = drafter.open("")
    draft.extend([7, 8, 7, 8, 7, 8])
    assert draft.propose(5) == [7, 8, 7, 8, 7]


@by_name
def test_nothing_is_proposed_where_nothing_repeats(drafter: Drafter) -> None:
    draft = drafter.open("")
    assert draft.propose(4) == []
    draft.extend([1, 2, 3, 4])
    assert draft.propose(4) == []
    assert not draft.confidences


@by_name
def test_the_newest_occurrence_is_copied(drafter: Drafter) -> None:
    draft = drafter.open("")
    draft.extend([1, 2, 3, 9, 1, 2, 4, 9])
    draft.extend([1, 2])
    assert draft.propose(1) == [4]


@by_name
def test_tokens_in_pieces_or_at_once_give_the_same_proposal(drafter: Drafter) -> None:
    text = [1, 2, 1, 2, 3, 1, 2, 1, 2]
    whole, pieces = drafter.open("a"), drafter.open("a")
    whole.extend(text)
    for token in text:
        pieces.extend([token])
    assert whole.propose(4) == pieces.propose(4) != []


def test_an_output_is_remembered_for_the_same_tenant_alone() -> None:
    drafter = SuffixDrafter(shared_tokens=100)
    first = drafter.open("ann")
    first.extend([9])
    first.finish([1, 2, 3, 4, 5])
    same, other = drafter.open("ann"), drafter.open("bob")
    for draft in (same, other):
        draft.extend([8, 1, 2, 3])
    assert same.propose(2) == [4, 5]
    assert other.propose(2) == []


def test_the_memory_of_outputs_is_bounded_and_forgets_the_oldest() -> None:
    drafter = SuffixDrafter(shared_tokens=20)
    for start in range(0, 1000, 5):
        drafter.open("ann").finish(list(range(start, start + 5)))
    memory = drafter._memories.of("ann")
    assert len(memory.young.text) + len(memory.old.text) <= 20
    oldest, newest = drafter.open("ann"), drafter.open("ann")
    oldest.extend([0, 1, 2])
    newest.extend([995, 996, 997])
    assert oldest.propose(1) == []
    assert newest.propose(1) == [998]


def test_who_was_away_longest_of_too_many_tenants_is_forgotten() -> None:
    drafter = SuffixDrafter(shared_tokens=20)
    for tenant in ("first", "kept"):
        drafter.open(tenant).finish([1, 2, 3, 4])
    for number in range(MAX_TENANTS - 1):
        drafter.open("kept")
        drafter.open(f"tenant {number}")
    for tenant, expected in (("kept", [4]), ("first", [])):
        draft = drafter.open(tenant)
        draft.extend([1, 2, 3])
        assert draft.propose(1) == expected


def test_without_sharing_nothing_of_an_output_is_kept() -> None:
    drafter = SuffixDrafter()
    drafter.open("ann").finish([1, 2, 3, 4])
    draft = drafter.open("ann")
    draft.extend([1, 2, 3])
    assert draft.propose(1) == []


@given(texts, st.integers(0, 50), st.data())
def test_a_copy_continues_the_text_with_its_period(
    text: list[int], count: int, data: st.DataObject
) -> None:
    end = data.draw(st.integers(-1, len(text) - 2))
    whole = [*text, *copied(text, end, count)]
    period = len(text) - 1 - end
    assert len(whole) == len(text) + count
    assert all(whole[i] == whole[i - period] for i in range(len(text), len(whole)))


def test_longer_matches_are_in_higher_classes() -> None:
    classes = [match_class(length) for length in range(40)]
    assert classes == sorted(classes)
    assert classes[0] == 0
    assert classes[39] == 5


SAMPLES = {
    "arrival": 0,
    "seed": 7,
    "due_ns": 0,
    "tbt_ns": 1,
    "length_limit": 4096,
    "stop_ids": frozenset(),
}


class FlatPlan:
    """Ten rows more cost as much as a step without drafts."""

    spread = 1.0

    def ns(self) -> float:
        return 1e6

    def ns_widened(self, rows: int, past: int) -> float:
        return 1e6 + 1e5 * rows


class Certain:
    """Drafts that are nearly always right."""

    name = "certain"
    priors = ((0.99,) * 4,)
    confidences = (0,) * 16

    def open(self, tenant: str) -> Certain:
        return self

    def extend(self, tokens: list[int]) -> None: ...

    def propose(self, count: int) -> list[int]:
        return [1] * count

    def finish(self, output: list[int]) -> None: ...


def drafted(count: int, *, beside_prompt: bool = False) -> int:
    """Tokens that are drafted for `count` sequences that decode."""
    requests = [make_request(str(i), start=i) for i in range(count)]
    sequences = [s for r in requests for s in make_samples(r, **SAMPLES)]
    budget = StepBudget(64, FlatPlan, UNLIMITED)
    budget.plan.add = lambda *_: None
    if beside_prompt:
        budget.take(16, 0, 0)
    found = BatchSpeculator(ReferenceBook(Certain())).propose(dict.fromkeys(sequences, 16), budget)
    return sum(map(len, found.values()))


def test_beside_prompt_rows_nothing_is_drafted():
    assert drafted(1) > 5
    assert drafted(1, beside_prompt=True) == 0


def test_drafts_of_several_sequences_lengthen_the_step_by_half_at_most():
    assert drafted(2) == 5
