"""The logging policy: its propensities must be exact, or every estimate is biased."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidclick_gym import ClippedGaussianPolicy

PUBLISHED = (0.24588, 0.22920, 0.23803, 0.16937, 0.11752)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
bid_grids = st.lists(st.integers(0, 1000), min_size=2, max_size=12, unique=True).map(
    lambda numbers: tuple(number / 1000.0 for number in sorted(numbers))
)
means = st.floats(-2.0, 3.0)
deviations = st.floats(0.01, 5.0)


def test_propensities_are_the_published_ones() -> None:
    probabilities = ClippedGaussianPolicy().probabilities
    np.testing.assert_allclose(probabilities, PUBLISHED, atol=5.0e-6)


def test_sampled_frequencies_agree_with_the_propensities() -> None:
    policy = ClippedGaussianPolicy()
    n = 200_000
    drawn = policy.sample(np.random.default_rng(3), n)
    counts = np.bincount(drawn, minlength=5)
    expected = n * policy.probabilities
    spread = np.sqrt(expected * (1.0 - policy.probabilities))
    assert drawn.dtype == np.int64
    assert (np.abs(counts - expected) < 4.5 * spread).all()


@unhurried
@given(mean=means, std=deviations, bids=bid_grids)
def test_propensities_are_the_gaussian_mass_nearest_each_bid(
    mean: float, std: float, bids: tuple[float, ...]
) -> None:
    """Clipping moves mass only within the outermost cells, so it changes nothing."""
    probabilities = ClippedGaussianPolicy(mean, std, bids).probabilities
    gaussian = statistics.NormalDist(mean, std)
    upper = [*((a + b) / 2.0 for a, b in itertools.pairwise(bids)), math.inf]
    lower = [-math.inf, *upper[:-1]]
    mass = [gaussian.cdf(b) - gaussian.cdf(a) for a, b in zip(lower, upper, strict=True)]
    assert probabilities.shape == (len(bids),)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0.0).all()
    np.testing.assert_allclose(probabilities, mass, atol=1e-12)


@unhurried
@given(mean=means, std=deviations, bids=bid_grids, seed=st.integers(0, 2**32 - 1))
def test_samples_are_gaussian_draws_clipped_and_snapped_to_the_nearest_bid(
    mean: float, std: float, bids: tuple[float, ...], seed: int
) -> None:
    drawn = ClippedGaussianPolicy(mean, std, bids).sample(np.random.default_rng(seed), 50)
    raw = np.clip(np.random.default_rng(seed).normal(mean, std, 50), 0.0, 1.0)
    distance = np.abs(raw[:, None] - np.array(bids))
    chosen = np.take_along_axis(distance, drawn[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(chosen, distance.min(axis=1), atol=1e-12)


def test_a_narrow_policy_puts_everything_on_the_nearest_bid() -> None:
    policy = ClippedGaussianPolicy(mean=0.7, std=1e-6)
    assert policy.probabilities.tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert set(policy.sample(np.random.default_rng(0), 100)) == {3}


def test_equal_generators_draw_equal_bids_and_the_stream_moves_on() -> None:
    policy = ClippedGaussianPolicy()
    rng = np.random.default_rng(1)
    first, second = policy.sample(rng, 100), policy.sample(rng, 100)
    again = policy.sample(np.random.default_rng(1), 100)
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": math.nan}, r"mean must be .*finite.*, got nan"),
        ({"mean": math.inf}, r"mean must be .*finite.*, got inf"),
        ({"std": 0.0}, r"std must be .* > 0, got 0\.0"),
        ({"std": -1.0}, r"std must be .* > 0, got -1\.0"),
        ({"std": math.inf}, r"std must be .* > 0, got inf"),
        ({"std": math.nan}, r"std must be .* > 0, got nan"),
        ({"bids": (1.0, 0.0)}, r"bids must be .*increasing.*, got \(1\.0, 0\.0\)"),
        ({"bids": (0.5,)}, r"bids must be at least two .*, got \(0\.5,\)"),
        ({"bids": (0.0, 2.0)}, r"bids must be .* in \[0, 1\], got \(0\.0, 2\.0\)"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ClippedGaussianPolicy(**arguments)
