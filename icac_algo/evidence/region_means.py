"""Mean rewards of the actions in regions of contexts, and how uncertain they are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..data import LoggedSteps
from .nuisance import cross_fitted_rewards, done, logged_propensities
from .regions import Region

FloatArray = npt.NDArray[np.float64]
# With so many rows of an action its own variance is believed as much as that of all.
_PRIOR_ROWS = 300.0
_BYTES_AT_ONCE = 2**26


@dataclasses.dataclass(frozen=True)
class RegionMeans:
    """Of the K actions in one region.

    Args:
        region: its name and rows.
        means: doubly robust mean rewards, ``(K,)``.
        support: effective number (Kish, ``(sum w)^2 / sum w^2``) of the episodes with
            each action, ``(K,)``; of decisions where each is an episode of its own.
        least_variance: what the variance of each mean would be if the rewards of all
            actions varied alike, times how far that is to be believed, ``(K,)``.
    """

    region: Region
    means: FloatArray
    support: FloatArray
    least_variance: FloatArray


@dataclasses.dataclass(frozen=True)
class ScoredLog:
    """A log with a doubly robust score of every action in every row.

    Args:
        steps: the N logged decisions.
        scores: of the K actions, ``(N, K)``; as ``action_scores`` gives them.
        surprises: what the rewards were not predicted to be, ``(N,)``.
        weights: one over the propensities of the logged actions, ``(N,)``.
    """

    steps: LoggedSteps
    scores: FloatArray
    surprises: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, steps: LoggedSteps, seed: int, show_progress: bool) -> ScoredLog:
        """Fits rewards, and propensities where none were logged."""
        # Episodes are counted from 0, whatever their numbers.
        lengths = np.diff(steps.starts, append=len(steps))
        counted = np.repeat(np.arange(len(lengths)), lengths)
        steps = dataclasses.replace(steps, episodes=counted)
        model = cross_fitted_rewards(steps, seed, show_progress)
        scores = model.means.copy()
        surprises = steps.rewards - model.at(done(steps))
        weights = 1.0 / logged_propensities(steps, seed, show_progress)
        scores[np.arange(len(steps)), steps.actions] += surprises * weights
        return cls(steps, scores, surprises, weights)

    def means(self, region: Region) -> RegionMeans:
        """Mean rewards in a region."""
        rows = region.mask
        actions, weights = self.steps.actions[rows], self.weights[rows]
        size = self.steps.action_size
        means = self.scores[rows].mean(axis=0)
        total = np.bincount(actions, weights, size)
        squares = np.maximum(np.bincount(actions, weights**2, size), 1e-300)
        effective = total**2 / squares
        support = effective
        if not self.steps.is_bandit:
            cells = self.steps.episodes[rows] * size + actions
            of_cells = np.bincount(cells, weights)
            of_cells.resize(-(-len(of_cells) // size), size)
            support = total**2 / np.maximum((of_cells**2).sum(axis=0), 1e-300)
        # Thirty zeros have no variance of their own, and prove little.
        pooled = np.mean(self.surprises[rows] ** 2) / np.maximum(effective, 1.0)
        believed = _PRIOR_ROWS / (_PRIOR_ROWS + effective)
        return RegionMeans(region, means, support, pooled * believed)

    def covariance(self, regions: Sequence[RegionMeans]) -> FloatArray:
        """Of the means in R regions, ``(R K, R K)``; the rows of an episode add up."""
        masks = np.stack([of_region.region.mask for of_region in regions])
        means = np.stack([of_region.means for of_region in regions])
        count, starts = len(self.steps), self.steps.starts
        size = means.size
        total = np.zeros((size, size))
        pieces = 1 + count * size * 8 // _BYTES_AT_ONCE
        cuts = np.linspace(0, len(starts), pieces + 1).astype(int)
        for first, last in itertools.pairwise(np.unique(cuts)):
            begin, end = starts[first], count if last == len(starts) else starts[last]
            inside = masks[:, begin:end].T[:, :, None]
            influence = inside * (self.scores[begin:end, None] - means)
            flat = influence.reshape(end - begin, size)
            if not self.steps.is_bandit:
                flat = np.add.reduceat(flat, starts[first:last] - begin, axis=0)
            total += flat.T @ flat
        rows = np.repeat(masks.sum(axis=1), means.shape[1])
        episodes = len(starts)
        total *= episodes / max(episodes - 1, 1) / np.outer(rows, rows)
        least = np.stack([of_region.least_variance for of_region in regions]).ravel()
        # A rounding error of rewards that never vary must not look significant.
        least = np.maximum(least, (1e-9 * np.abs(means).max()) ** 2)
        total[np.diag_indices(size)] = np.maximum(np.diag(total), least)
        return total
