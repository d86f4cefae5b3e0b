import pytest

from legato.metrics.prefill import fit_prefill

LENGTHS = [16, 64, 256, 1024, 16, 64, 256, 1024]


def test_recovers_the_quadratic_that_made_the_measurements():
    profile = fit_prefill(LENGTHS, [0.004 + 2e-4 * p + 3e-8 * p * p for p in LENGTHS])
    assert profile.a == pytest.approx(0.004, rel=1e-6)
    assert profile.b == pytest.approx(2e-4, rel=1e-6)
    assert profile.c == pytest.approx(3e-8, rel=1e-6)
    assert profile.seconds(4096) == pytest.approx(0.004 + 2e-4 * 4096 + 3e-8 * 4096**2)


@pytest.mark.parametrize(
    "seconds",
    [
        [max(0.0, 1e-3 * p - 0.01) for p in LENGTHS],
        [0.1 + 1e-3 * p - 4e-7 * p * p for p in LENGTHS],
        [1.0 - 1e-4 * p for p in LENGTHS],
    ],
    ids=["negative constant", "negative curvature", "falling"],
)
def test_coefficients_never_go_negative(seconds: list[float]):
    profile = fit_prefill(LENGTHS, seconds)
    assert min(profile.a, profile.b, profile.c) >= 0


def test_two_lengths_do_not_determine_a_quadratic():
    with pytest.raises(ValueError, match="three distinct"):
        fit_prefill([8, 16, 8, 16], [1, 2, 1, 2])
