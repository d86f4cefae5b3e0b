from hypothesis import given
from hypothesis import strategies as st

from legato.adaptive.budget import Budget, Spent, Wave
from legato.adaptive.waves import free_rows, wave_size


def test_without_a_budget_a_wave_is_what_the_rule_wants():
    assert Budget().wave(4, 100, Spent()) == Wave(4, 100)
    assert not Budget().is_spent(Spent(tokens=10**9, machine_ns=10**15, elapsed_ns=10**15))


def test_tokens_are_divided_among_a_wave():
    spent = Spent(tokens=100, samples=4, longest_tokens=30)
    assert Budget(tokens=190).wave(4, 50, spent) == Wave(3, 30)
    assert Budget(tokens=100).wave(4, 50, spent).count == 0


def test_the_first_wave_is_one_sample_where_the_tokens_are_few():
    assert Budget(tokens=60).wave(4, 50, Spent()) == Wave(1, 50)
    assert Budget(tokens=20).wave(4, 50, Spent()) == Wave(1, 20)


def test_times_end_a_question_before_a_wave_that_would_pass_them():
    spent = Spent(samples=2, elapsed_ns=60, wave_ns=50, machine_ns=80)
    assert Budget(elapsed_ns=100).wave(4, 50, spent).count == 0
    assert Budget(machine_ns=160).wave(4, 50, spent).count == 2
    assert Budget(machine_ns=80).is_spent(spent)
    assert Budget(elapsed_ns=60).is_spent(spent)


@given(st.integers(1, 5000), st.integers(1, 16), st.integers(1, 300), st.data())
def test_the_tokens_of_all_waves_never_pass_the_budget(tokens, wanted, longest, data):
    budget, spent = Budget(tokens=tokens), Spent()
    for _ in range(20):
        wave = budget.wave(wanted, longest, spent)
        if not wave.count:
            break
        lengths = [data.draw(st.integers(1, wave.limit)) for _ in range(wave.count)]
        spent = Spent(
            tokens=spent.tokens + sum(lengths),
            samples=spent.samples + wave.count,
            longest_tokens=max(spent.longest_tokens, *lengths),
        )
        assert spent.tokens <= tokens
    assert spent.samples >= 1


def test_waves_are_filled_up_to_the_rows_that_cost_nothing():
    assert wave_size(fewest=3, most=16, fill=1) == 3
    assert wave_size(fewest=1, most=16, fill=6) == 6
    assert wave_size(fewest=4, most=2, fill=6) == 2
    assert wave_size(fewest=0, most=0, fill=6) == 0


def test_rows_are_free_while_the_step_grows_by_a_tenth():
    assert free_rows(lambda rows: 100.0 + rows, 64) == 11
    assert free_rows(lambda rows: 100.0 * rows, 64) == 1
    assert free_rows(lambda rows: 5.0, 8) == 8
