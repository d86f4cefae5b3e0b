from __future__ import annotations

import numpy as np

from legato.sampling.noise import gumbel, philox4x32

ALL_ONES = 0xFFFFFFFF


def words(counter: list[int], key: tuple[int, int]) -> list[int]:
    return philox4x32(np.array(counter, np.uint32).reshape(4, 1), key)[:, 0].tolist()


def test_philox_gives_the_published_known_answers():
    """kat_vectors of Random123, philox4x32 with 10 rounds."""
    assert words([0] * 4, (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert words([ALL_ONES] * 4, (ALL_ONES, ALL_ONES)) == [
        0x408F276D,
        0x41C83B0E,
        0xA20BC7C6,
        0x6D5451FD,
    ]
    counter = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert words(counter, (0xA4093822, 0x299F31D0)) == [
        0xD16CFE09,
        0x94FDCCEB,
        0x5001E420,
        0x24126EA1,
    ]


def test_noise_of_a_token_does_not_depend_on_the_vocabulary():
    np.testing.assert_array_equal(gumbel(5, 1, 9, 1001)[:333], gumbel(5, 1, 9, 333))


def test_token_t_takes_lane_t_of_its_counter():
    noise = gumbel(0x1234_5678_9ABC_DEF0, 3, 77, 12)
    for token in range(12):
        lanes = words([token // 4, 77, 3, 0x4C474154], (0x9ABCDEF0, 0x12345678))
        uniform = ((lanes[token % 4] >> 8) + 0.5) * 2.0**-24
        assert noise[token] == np.float32(-np.log(-np.log(uniform)))


def test_every_argument_changes_the_noise():
    base = gumbel(1, 0, 0, 8)
    for other in (gumbel(2, 0, 0, 8), gumbel(1 + 2**32, 0, 0, 8), gumbel(1, 1, 0, 8)):
        assert not np.array_equal(base, other)
    assert not np.array_equal(base, gumbel(1, 0, 1, 8))


def test_noise_is_finite_and_has_the_moments_of_a_gumbel():
    noise = gumbel(0, 0, 0, 200_000).astype(np.float64)
    assert np.isfinite(noise).all()
    assert abs(noise.mean() - np.euler_gamma) < 0.015
    assert abs(noise.var() - np.pi**2 / 6) < 0.03
