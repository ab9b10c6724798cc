"""Patients with their right doses, from a file: what a logger gave them, and splits."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib

import numpy as np

from ..engine import UsageError
from .worlds import Array, Log, Part, Problem

#: Share of the right dose by which a dose may be wrong at no cost.
TOLERANCE = 0.1
#: Quantile of the logged doses that is the greatest dose of every policy.
GREATEST = 0.995
TEST_SHARE = 0.25


def loss(doses: Array, right: Array) -> Array:
    """``max(|right - dose| - 0.1 right, 0)``, convex in the dose; rewards less it."""
    return np.maximum(np.abs(right - doses) - TOLERANCE * right, 0.0)


@functools.lru_cache(maxsize=1)
def read_patients(path: str) -> Array:
    """Rows of covariates, logged dose, reward, density of that dose and right dose."""
    try:
        table = np.load(path, allow_pickle=False)
        if table.ndim != 2 or table.shape[1] < 5 or len(table) < 8:
            raise ValueError(
                f"its shape is {table.shape}, not (patients, covariates + 4)"
            )
        table = table.astype(np.float64)
        if not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0]
            raise ValueError(f"row {row}, column {column} is {table[row, column]}")
        doses, rewards, _, right = table[:, -4:].T
        wrong = np.flatnonzero(np.abs(loss(doses, right) + rewards) > 1e-3)
        if len(wrong):
            raise ValueError(
                f"row {wrong[0]}, column {table.shape[1] - 3} must be the reward "
                f"{-loss(doses, right)[wrong[0]]:g}, got {rewards[wrong[0]]:g}"
            )
    except (OSError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise UsageError(f"--data {path} is no .npy file of patients: {error}") from error
    return table


@functools.lru_cache(maxsize=1)
def digest_of(path: str) -> str:
    """A name for what a file holds."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:20]


@dataclasses.dataclass(frozen=True)
class Patients(Problem):
    """A random three quarters of a file to learn from, the others to judge by.

    Actions are doses as shares of the range from the lowest one to the greatest.
    """

    low: float  # lowest dose
    high: float  # greatest dose
    log: Log
    right: Array  # doses of the log's patients, for limits; learners do not see them
    judged: Array  # covariates of the other patients
    logged: Array  # what the logger gave them
    best: Array  # their right doses

    name = "warfarin"
    actions = None
    parts = (Part("reward", "identity", bends=-1),)
    levels = 21

    @classmethod
    def split(cls, table: Array, seed: int) -> Patients:
        order = np.random.default_rng(seed).permutation(len(table))
        count = round(TEST_SHARE * len(table))
        train, test = table[order[count:]], table[order[:count]]
        low, high = train[:, -4].min(), np.quantile(train[:, -4], GREATEST)
        # Doses that no policy may give teach nobody.
        train = train[train[:, -4] <= high]
        x, (doses, rewards, densities, right) = train[:, :-4], train[:, -4:].T
        width = high - low
        log = Log(
            x, (doses - low) / width, {"reward": rewards}, rewards, densities * width
        )
        shares = (test[:, -4] - low) / width
        return cls(low, high, log, right, test[:, :-4], shares, test[:, -1])

    def regret(self, shares: Array) -> float:
        """Of the patients who are judged; the right dose earns 0."""
        return float(loss(self.low + (self.high - self.low) * shares, self.best).mean())
