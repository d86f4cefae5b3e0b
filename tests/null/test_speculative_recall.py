"""Recalled drafts: copies from hash chains, followers from counted texts, and chains of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.speculative.accept import PRIOR_RATES
from legato.speculative.chains import HashChains
from legato.speculative.ngram_files import followers_path, load_followers, save_followers
from legato.speculative.ngram_memory import RUNS, NGramMemory
from legato.speculative.ngrams import NUM_CLASSES, ORDER, Follower, NGramTable, count_ngrams
from legato.speculative.recall import RecallDrafter
from legato.tensor import Tensor, WeightFormat

texts = st.lists(st.integers(0, 3), min_size=1, max_size=40)
POEM = [10, 11, 12, 13, 14]
BEFORE = [0] * ORDER
"""What stands before a text that is counted."""

OWN_TEXTS = [[*BEFORE, 1, 2, 3, 4, 5, 6]] * 20


@given(texts)
def test_a_match_is_one_and_as_long_as_it_says(text):
    chains = HashChains()
    chains.extend(text)
    length, end = chains.longest()
    assert (length == 0) == (text[-1] not in text[:-1])
    if length:
        assert end < len(text) - 1
        assert text[end - length + 1 : end + 1] == text[-length:]


@given(texts, st.integers(1, 40))
def test_texts_may_come_in_pieces(text, cut):
    whole, pieces = HashChains(), HashChains()
    whole.extend(text)
    pieces.extend(text[:cut])
    pieces.extend(text[cut:])
    assert whole.longest() == pieces.longest()


def test_the_longer_match_wins_over_the_newer():
    chains = HashChains()
    chains.extend([1, 2, 3, 9, 7, 2, 3, 8, 1, 2, 3])
    assert chains.longest() == (3, 2)


def test_the_table_knows_the_likeliest_follower_of_the_longest_known_context():
    texts = [[1, 2, 5], [1, 2, 5], [3, 2, 6], [1, 2, 5]] * 5
    table = count_ngrams([[*BEFORE, *text] for text in texts])
    assert table.follower([1, 2]).token == 5
    assert table.follower([3, 2]).token == 6
    assert table.follower([9, 2]).token == 5
    assert table.follower([9]) is None
    assert NGramTable().follower([1, 2]) is None


def test_what_stands_before_a_text_is_context_and_not_counted():
    table = count_ngrams([[7, 8, 9, 1, 2]] * 20)
    assert table.follower([7, 8]) is None
    assert table.follower([8, 9]).token == 1
    assert count_ngrams([[1, 2, 3]] * 20).followers == {}


def test_classes_are_right_as_often_as_texts_that_were_held_out_say():
    sure = count_ngrams([[*BEFORE, 1, 2, 3, 4]] * 50)
    assert max(sure.rates) > 0.5
    noisy = count_ngrams(np.random.default_rng(0).integers(0, 3, (50, 30)).tolist())
    assert len(noisy.rates) == NUM_CLASSES
    assert max(noisy.rates) < 0.6


def test_a_table_survives_the_disk_and_a_damaged_one_counts_as_none(tmp_path, caplog):
    path, table = tmp_path / "deep" / "t.npz", count_ngrams(OWN_TEXTS)
    assert load_followers(path).followers == {}
    save_followers(path, table)
    loaded = load_followers(path)
    assert (loaded.followers, loaded.rates) == (table.followers, table.rates)
    assert [p.name for p in path.parent.iterdir()] == ["t.npz"]
    path.write_bytes(path.read_bytes()[:40])
    assert load_followers(path).followers == {}
    assert "legato calibrate --own-texts" in caplog.text


def test_each_model_has_a_table_of_its_own(tmp_path):
    def path(value: int, name: str = "a"):
        data = np.full(64, value, np.uint8)
        return followers_path(tmp_path, {name: Tensor(name, (16,), WeightFormat.F32, data)})

    assert path(1) == path(1)
    assert len({path(1), path(2), path(1, "b")}) == 3


@pytest.fixture
def drafter() -> RecallDrafter:
    return RecallDrafter(count_ngrams(OWN_TEXTS))


def test_what_the_text_repeats_is_copied(drafter):
    draft = drafter.open("")
    draft.extend([*POEM, 99, *POEM[:3]])
    assert draft.propose(2) == POEM[3:]
    assert len(draft.confidences) == 2
    assert max(draft.confidences) < len(PRIOR_RATES)


def test_where_nothing_repeats_the_followers_are_chained(drafter):
    draft = drafter.open("")
    draft.extend([50, 2, 3])
    assert draft.propose(3) == [4, 5, 6]
    assert min(draft.confidences) >= len(PRIOR_RATES)
    assert draft.propose(1) == [4]


def test_a_chain_changes_from_followers_to_a_copy(drafter):
    draft = drafter.open("")
    draft.extend([5, 6, 70, 71, 72, 1, 2, 3])
    tokens = draft.propose(6)
    assert tokens[:4] == [4, 5, 6, 70]
    assert draft.confidences[3] < len(PRIOR_RATES) <= draft.confidences[0]


def test_an_unlikely_chain_ends(drafter):
    draft = drafter.open("")
    draft.extend([7, 8, 7])
    assert len(draft.propose(16)) < 16


def test_priors_tell_the_rates_of_all_classes(drafter):
    assert len(drafter.priors) == len(PRIOR_RATES) + 2 * NUM_CLASSES


def ended(drafter: RecallDrafter, output: list[int], tenant: str) -> None:
    drafter.open(tenant).finish(output)


def test_a_tenant_is_reminded_of_its_own_outputs_alone():
    drafter = RecallDrafter(NGramTable(), shared_tokens=100)
    ended(drafter, [1, 2, 3, 4], "mine")
    for tenant, expected in (("mine", [3, 4]), ("yours", [])):
        draft = drafter.open(tenant)
        draft.extend([9, 1, 2])
        assert draft.propose(2) == expected


def test_memory_is_bounded_and_forgets_the_oldest():
    memory = NGramMemory(20)
    memory.add([1, 2])
    for start in range(100, 200, 5):
        memory.add(list(range(start, start + 5)))
    assert memory.follower([1]) is None
    assert memory.follower([198]) == Follower(199, 0)
    assert len(memory._young) + len(memory._old) <= 20 * ORDER


def test_a_follower_that_comes_again_is_surer_and_another_takes_its_place():
    memory = NGramMemory(1000)
    runs = []
    for _ in range(RUNS + 2):
        memory.add([1, 2])
        runs.append(memory.follower([1]).confidence)
    assert runs == [*range(RUNS), RUNS - 1, RUNS - 1]
    memory.add([1, 5])
    assert memory.follower([1]) == Follower(5, 0)
