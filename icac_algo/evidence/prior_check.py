"""``check_prior``: is ``E[reward | context, action]`` consistent with a shape?

The mean reward of every action in every region of contexts is estimated by doubly robust
scores, so that a logger who bids by context does not deceive; every inequality of the
shape in every region is tested at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from tqdm.auto import tqdm

from .._util.checks import check_count, check_flag, check_number, check_seed
from ..data import LoggedSteps, logged_steps, sampled
from ..shapes import Constraint, as_shape
from .certificates import Ranges
from .known_parts import action_positions
from .prior_report import Contrast, Curve, PriorCheck
from .region_means import RegionMeans, ScoredLog
from .regions import (
    EVERYWHERE,
    Region,
    RegionFunction,
    check_names,
    feature_regions,
    given_regions,
    tree_regions,
)
from .simultaneous_tests import (
    SELECTION_ERROR,
    ActionContrast,
    Estimates,
    MaxTest,
    action_contrasts,
    max_test,
)

FloatArray = npt.NDArray[np.float64]
# Regions of so many moments together have their covariance estimated; see `max_test`.
_MOMENTS_OF_A_GROUP = 256


class PriorWarning(UserWarning):
    """The log contradicts the shape that is about to be imposed, or cannot judge it."""


class PriorRejectedError(ValueError):
    """The log contradicts the shape; ``check`` holds the whole result."""

    def __init__(self, check: PriorCheck, of: str = ""):
        super().__init__(f"the log contradicts the constraint: {of}{check.explanation}")
        self.check = check


def check_prior(
    dataset: Any,
    constraint: Constraint | str,
    *,
    level: float = 0.05,
    regions: Mapping[str, RegionFunction] | None = None,
    feature_names: Sequence[str] | None = None,
    propensities: npt.ArrayLike | None = None,
    min_support: int = 30,
    draws: int = 4000,
    seed: int = 0,
    show_progress: bool = False,
) -> PriorCheck:
    """Tests a shape against logged rewards before it is imposed.

    Tests :math:`E[r | s, a]`, which is Q itself where actions do not change later
    contexts.  The steps of an episode may depend on each other: an episode counts as one
    piece of evidence.

    Args:
        dataset: a log, as :func:`~icac_algo.data.logged_steps` takes it; where actions
            are any number, means over ranges of them are tested, which have the shape
            if the curve has it.  Of over a million rows of indices it draws a million.
        constraint: the shape, or words for it; its ``known_cost`` is added back.
        level: chance to reject a shape that is true, in (0.002, 0.5].
        regions: name to a function from observations ``(N, d)`` to booleans ``(N,)``;
            by default every value of each feature that has few, halves and quarters of
            the others, and the leaves of two trees that look for regions in one half of
            the log that are tested in the other.  All contexts together always count.
        feature_names: for the names of the regions.
        propensities: as in ``logged_steps``; estimated where there are none.
        min_support: effective episodes (of one decision each: decisions) that every
            action of an inequality needs.
        draws: of the bootstrap.
        seed: of folds, trees, bootstrap and what is drawn of a long log.
        show_progress: whether to show a bar.

    Raises:
        TypeError: the dataset is of no known kind.
        ValueError: an argument is out of bounds, or the log cannot be read.
    """
    constraint = as_shape(constraint)
    check_number("level", level, above=4.0 * SELECTION_ERROR, at_most=0.5)
    check_count("min_support", min_support)
    check_count("draws", draws)
    check_seed(seed)
    check_flag("show_progress", show_progress)
    read = sampled(dataset, propensities, seed)
    steps = logged_steps(read, propensities)
    ranges = Ranges.of(steps, action_positions(steps, constraint)[0])
    positions = ranges.centres
    constraint.check_observation_shape(steps.observations.shape[1:])
    names = check_names(feature_names, steps.observations.shape[1])
    found = None if regions is None else given_regions(steps.observations, regions)
    log = ScoredLog.of(_gross(steps, constraint, positions), seed, show_progress)
    if found is None:
        found = _regions_of_the_log(log, names, min_support, seed)
    everywhere = Region(EVERYWHERE, np.ones(len(steps), dtype=bool))
    estimated = [log.means(region) for region in [everywhere, *found]]
    groups = list(_groups(estimated, steps.action_size))
    # Short work shows nothing.
    bar = tqdm(groups, "regions of contexts", delay=2.0, disable=not show_progress)
    covariances = [log.covariance(group) for group in bar]
    shape = action_contrasts(constraint.shape_set(), positions, ranges.squares)
    tested, test = _test(groups, covariances, shape, min_support, level, draws, seed)
    errors = np.sqrt(np.concatenate([np.diag(matrix) for matrix in covariances]))
    half_widths = ndtri(1.0 - level / 2.0) * errors.reshape(len(estimated), -1)
    unsupported = tuple(np.flatnonzero(estimated[0].support < min_support).tolist())
    verdict = "not rejected"
    if test is not None and test.p_value <= level:
        verdict = "rejected"
    elif test is None or unsupported:
        verdict = "cannot tell"
    return PriorCheck(
        constraint=constraint,
        verdict=verdict,
        p_value=None if test is None else test.p_value,
        level=level,
        steps=len(steps),
        episodes=len(steps.starts),
        propensities=steps.source,
        positions=positions,
        contrasts=[] if test is None else _worst_first(tested, test, level),
        curves=[
            _curve(of_region, half_width, constraint, positions, min_support)
            for of_region, half_width in zip(estimated, half_widths, strict=True)
        ],
        without_support=unsupported,
        min_support=min_support,
        sampled_from=None if read is dataset else dataset.columns.index.rows,
    )


def _gross(
    steps: LoggedSteps, constraint: Constraint, positions: FloatArray
) -> LoggedSteps:
    """The steps with the known cost added to the rewards."""
    if constraint.known_cost is None:
        return steps
    chosen = positions[steps.actions] if steps.numbers is None else steps.numbers
    cost = constraint.known_cost(
        torch.from_numpy(steps.observations), torch.from_numpy(chosen[:, None])
    )
    return steps.with_rewards(steps.rewards + cost[:, 0].numpy())


def _regions_of_the_log(
    log: ScoredLog, names: Sequence[str], min_support: int, seed: int
) -> list[Region]:
    observations = log.steps.observations
    # An inequality is about two actions at least.
    found = feature_regions(observations, names, 2 * min_support)
    least = min_support * log.steps.action_size
    return found + tree_regions(
        observations, log.scores, log.steps.episodes, names, least, seed
    )


def _groups(
    regions: Sequence[RegionMeans], action_size: int
) -> Iterator[list[RegionMeans]]:
    size = max(1, _MOMENTS_OF_A_GROUP // action_size)
    for first in range(0, len(regions), size):
        yield list(regions[first : first + size])


_Tested = tuple[str, ActionContrast, float]


def _test(
    groups: Sequence[Sequence[RegionMeans]],
    covariances: Sequence[FloatArray],
    shape: Sequence[ActionContrast],
    min_support: int,
    level: float,
    draws: int,
    seed: int,
) -> tuple[list[_Tested], MaxTest | None]:
    """Region, inequality and slack of all that has support, and the test of them all."""
    tested: list[_Tested] = []
    estimates = []
    for group, covariance in zip(groups, covariances, strict=True):
        means = np.stack([of_region.means for of_region in group])
        chosen = [
            (r, contrast)
            for contrast in shape
            for r, of_region in enumerate(group)
            if of_region.support[list(contrast.actions)].min() >= min_support
        ]
        if not chosen:
            continue
        loadings = np.zeros((len(chosen), *means.shape))
        for row, (r, contrast) in zip(loadings, chosen, strict=True):
            row[r] = contrast.weights
        loadings = loadings.reshape(len(chosen), -1)
        slack = loadings @ means.ravel() - [contrast.bound for _, contrast in chosen]
        support = [group[r].support[list(c.actions)].min() for r, c in chosen]
        freedom = np.maximum(np.array(support) - 1.0, 1.0)
        estimates.append(Estimates(slack, loadings, covariance, freedom))
        tested += [
            (group[r].region.name, contrast, float(gap))
            for (r, contrast), gap in zip(chosen, slack, strict=True)
        ]
    return tested, max_test(estimates, level, draws, seed) if tested else None


def _worst_first(
    tested: Sequence[_Tested], test: MaxTest, level: float
) -> list[Contrast]:
    # Nothing counts as missed while the whole shape is not rejected.
    missed = test.rejected & (test.p_value <= level)
    slack = np.array([gap for *_, gap in tested])
    widths = np.maximum(test.upper - test.lower, 1e-300)
    return [
        Contrast(
            tested[i][0],
            tested[i][1].kind,
            tested[i][1].actions,
            tested[i][2],
            float(test.lower[i]),
            float(test.upper[i]),
            bool(missed[i]),
        )
        for i in np.argsort(slack / widths, kind="stable")
    ]


def _curve(
    estimated: RegionMeans,
    half_width: FloatArray,
    constraint: Constraint,
    positions: FloatArray,
    min_support: int,
) -> Curve:
    values = np.where(estimated.support >= min_support, estimated.means, np.nan)
    known = np.isfinite(values)
    nearest = values.copy()
    if known.sum() > 1:
        rows = torch.from_numpy(values[known])[None]
        nearest[known] = constraint.project_gross(rows, positions[known])[0].numpy()
    region = estimated.region
    share = float(region.mask.mean())
    return Curve(region.name, share, values, half_width, nearest, estimated.support)
