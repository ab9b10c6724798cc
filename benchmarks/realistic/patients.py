"""Patients with their right doses, from a file; what a logger gave them, and split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib

import numpy as np

from .worlds import Array, Log, Part, Problem

_DOSE, _REWARD, _DENSITY, _RIGHT = range(-4, 0)
#: Share of the right dose by which a dose may be wrong at no cost.
TOLERANCE = 0.1
#: Quantile of the logged doses that is the greatest dose of every policy.
GREATEST = 0.995
_TEST_SHARE = 0.25


class PatientsError(ValueError):
    """A file that holds no such patients."""


def reward_of(doses: Array, right: Array) -> Array:
    """``-max(|right - dose| - 0.1 right, 0)``, concave in the dose."""
    return -np.maximum(np.abs(right - doses) - TOLERANCE * right, 0.0)


@functools.lru_cache(maxsize=1)
def read_patients(path: str) -> Array:
    """Rows of covariates, logged dose, reward, density of that dose and right dose.

    Raises:
        PatientsError: the file cannot be read or holds something else.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PatientsError(f"{path} is no readable .npy file: {error}") from None
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "fiu":
        raise PatientsError(f"{path} must hold one array of numbers")
    if table.ndim != 2 or table.shape[1] < 5 or len(table) < 8:
        raise PatientsError(
            f"{path} must have the shape (patients, covariates + 4), of at least 8 "
            f"patients, got {table.shape}"
        )
    table = table.astype(np.float64)
    fault, what = ~np.isfinite(table), "must be finite"
    if not fault.any():
        fault[:, [_DENSITY, _RIGHT]] = table[:, [_DENSITY, _RIGHT]] <= 0.0
        what = "must be above 0: densities of logged doses, right doses"
    if not fault.any():
        rewards = reward_of(table[:, _DOSE], table[:, _RIGHT])
        fault[:, _REWARD] = np.abs(rewards - table[:, _REWARD]) > 1e-3
        what = "must be -max(|right - dose| - 0.1 right, 0)"
    if fault.any():
        row, column = np.argwhere(fault)[0]
        raise PatientsError(
            f"{path}, row {row}, column {column} {what}; got {table[row, column]}"
        )
    return table


@functools.lru_cache(maxsize=1)
def digest_of(path: str) -> str:
    """A name for what the file holds."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:20]


@dataclasses.dataclass(frozen=True)
class Dosage(Problem):
    """Doses as shares of the range from the lowest to the greatest one."""

    low: float
    high: float

    name = "warfarin"
    actions = None
    parts = (Part("reward", "identity", bends=-1),)
    levels = 21

    def dose(self, shares: Array) -> Array:
        return self.low + (self.high - self.low) * shares

    def share(self, doses: Array) -> Array:
        return np.asarray((doses - self.low) / (self.high - self.low))


@dataclasses.dataclass(frozen=True)
class Split:
    """A random three quarters of the patients to learn from, the others to judge by."""

    problem: Dosage
    log: Log  # what a learner sees
    right: Array  # of the log's patients, which no learner sees
    test: Array  # rows of the file

    @classmethod
    def of(cls, table: Array, seed: int) -> Split:
        order = np.random.default_rng(seed).permutation(len(table))
        count = round(_TEST_SHARE * len(table))
        train, test = table[order[count:]], table[order[:count]]
        doses = train[:, _DOSE]
        problem = Dosage(float(doses.min()), float(np.quantile(doses, GREATEST)))
        # Doses that no policy may give teach nobody.
        train = train[doses <= problem.high]
        shares = problem.share(train[:, _DOSE])
        rewards, densities, right = train[:, [_REWARD, _DENSITY, _RIGHT]].T
        # Of the share of the range, not of the dose.
        densities = densities * (problem.high - problem.low)
        log = Log(train[:, :_DOSE], shares, {}, rewards, densities)
        return cls(problem, log, right, test)

    @property
    def judged(self) -> Array:
        return self.test[:, :_DOSE]

    def value(self, shares: Array) -> float:
        """The exact mean reward of doses ``(M,)`` for the patients who are judged."""
        return float(reward_of(self.problem.dose(shares), self.test[:, _RIGHT]).mean())

    @property
    def logged_value(self) -> float:
        return float(self.test[:, _REWARD].mean())
