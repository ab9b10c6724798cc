"""How often a reward distribution's band and intervals hold the truth.

Four contexts and four actions; a reward is a mean plus noise whose size depends on the
action, so that distribution function, quantiles and CVaR of every policy are closed forms
or roots of one.
"""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr

from icac_algo.data import LoggedSteps
from icac_algo.evidence import RewardDistribution, SupportWarning, reward_distribution

from ..engine import Cell, Part, Results, Settings
from ..engine.markdown import section, table
from ..engine.rows import Rows, distinct, select
from .campaign_coverage import held

FloatArray = npt.NDArray[np.float64]
DECISIONS = (500, 2_000, 10_000)
SHARES = (0.05, 0.1, 0.25, 0.5)
QUANTILE = 0.25
LOGS_OF_A_CELL = 50
_FAR = 1e4
SIGMA = 0.8  # of the logarithm of lognormal noise
MEANS = np.random.default_rng(0).random((4, 4))  # by context and action
SIZES = np.array([0.5, 0.75, 1.0, 1.5])  # of an action's noise
LOGGER = np.array([0.45, 0.3, 0.15, 0.1])[np.add.outer(np.arange(4), np.arange(4)) % 4]
POLICIES = {
    "near": 0.5 * LOGGER + 0.5 * LOGGER[:, ::-1],
    "far": np.where(LOGGER < 0.12, 0.85, 0.05),
}
#: Noise: none is symmetric but the normal one.
WORLDS = ("normal", "long gains", "long losses")
_COLUMNS = ("world", "policy", "decisions", "of", "seed", "logs")


@dataclasses.dataclass(frozen=True)
class Truth:
    """Of a policy's rewards in a world."""

    world: str
    policy: str

    def cdf(self, t: FloatArray) -> FloatArray:
        """Share of rewards up to each of ``(D,)``."""
        return self._mean(_shares(self.world, self._scaled(t)))

    def quantile(self, share: float) -> float:
        return float(brentq(lambda t: self.cdf(np.array([t]))[0] - share, -_FAR, _FAR))

    def cvar(self, share: float) -> float:
        # Beyond all rewards: what they lack to it is its distance to their mean.
        quantile = self.quantile(share) if share < 1.0 else _FAR
        short = SIZES * _shortfalls(self.world, self._scaled(np.array([quantile])))
        return quantile - float(self._mean(short)[0]) / share

    def _scaled(self, t: FloatArray) -> FloatArray:
        return (t[:, None, None] - MEANS) / SIZES

    def _mean(self, values: FloatArray) -> FloatArray:
        return np.asarray((values * POLICIES[self.policy] / 4.0).sum(axis=(1, 2)))


def _shares(world: str, k: FloatArray) -> FloatArray:
    """Share of noise up to ``k``."""
    if world == "normal":
        return np.asarray(ndtr(k))
    if world == "long gains":
        return np.asarray(ndtr(np.log(np.maximum(k, 1e-300)) / SIGMA))
    return 1.0 - _shares("long gains", -k)


def _shortfalls(world: str, k: FloatArray) -> FloatArray:
    """Mean of what noise lacks to ``k``, where it is less."""
    if world == "normal":
        return np.asarray(k * ndtr(k) + np.exp(-(k**2) / 2.0) / np.sqrt(2.0 * np.pi))
    mean = np.exp(SIGMA**2 / 2.0)
    if world == "long gains":
        place = np.log(np.maximum(k, 1e-300)) / SIGMA
        return np.asarray(k * ndtr(place) - mean * ndtr(place - SIGMA))
    # (k + L)+ = k + L + (-k - L)+ of a lognormal L.
    return np.asarray(k + mean + _shortfalls("long gains", -k))


def draw(rng: np.random.Generator, world: str, count: int) -> LoggedSteps:
    contexts = rng.integers(0, 4, count)
    actions = (LOGGER[contexts].cumsum(axis=1) < rng.random(count)[:, None]).sum(axis=1)
    actions = np.minimum(actions, 3)
    noise = rng.standard_normal(count)
    if world != "normal":
        noise = np.exp(SIGMA * noise) * (1.0 if world == "long gains" else -1.0)
    return LoggedSteps(
        contexts[:, None].astype(np.float32),
        actions,
        MEANS[contexts, actions] + SIZES[actions] * noise,
        LOGGER[contexts, actions],
        np.arange(count),
        4,
    )


def measure(cell: Cell) -> Rows:
    """A row for each figure: how many logs' intervals hold the truth."""
    truth = Truth(cell["world"], cell["policy"])
    policy = POLICIES[cell["policy"]]
    exact = {f"cvar {share:g}": truth.cvar(share) for share in (*SHARES, 1.0)}
    exact[f"quantile {QUANTILE:g}"] = truth.quantile(QUANTILE)
    judged = collections.defaultdict(list)
    for number in range(cell["logs"]):
        seed = cell.seed * cell["logs"] + number
        steps = draw(np.random.default_rng(seed), cell["world"], cell["decisions"])
        with warnings.catch_warnings():
            # Of a policy that is far off few rows are left: that is what is measured.
            warnings.simplefilter("ignore", SupportWarning)
            found = reward_distribution(
                steps, lambda x: policy[x[:, 0].astype(int)], seed=seed
            )
        widest = float((found.band.upper - found.band.lower).max())
        judged["band"].append((_band_holds(found, truth), False, widest))
        values = [found.cvar(share) for share in (*SHARES, 1.0)]
        for each in (*values, found.quantile(QUANTILE)):
            holds = each.lower <= exact[each.estimator] <= each.upper
            judged[each.estimator].append(
                (holds, bool(each.no_interval), each.upper - each.lower)
            )
    return [
        {
            "of": name,
            "held": sum(holds for holds, _, _ in logs),
            "without": sum(none for _, none, _ in logs),
            "width": float(np.median([width for _, _, width in logs])),
        }
        for name, logs in judged.items()
    ]


def _band_holds(found: RewardDistribution, truth: Truth) -> bool:
    """At all rewards: a step lasts until the next one."""
    shares, band = truth.cdf(found.rewards), found.band
    upper = np.r_[band.below, band.upper[:-1]]
    return bool(((band.lower <= shares) & (shares <= upper)).all())


def _cells(settings: Settings) -> Iterator[Cell]:
    logs = min(settings.seeds, LOGS_OF_A_CELL)
    for part in range(-(-settings.seeds // LOGS_OF_A_CELL)):
        for world in WORLDS:
            for policy in POLICIES:
                for rows in DECISIONS[:1] if settings.quick else DECISIONS:
                    yield Cell.of(
                        "distribution",
                        seed=part,
                        logs=logs,
                        world=world,
                        policy=policy,
                        decisions=rows,
                    )


def sections(results: Results) -> Iterator[str]:
    rows = results["distribution"]
    if not rows:
        return
    figures = ["band", *(f"cvar {share:g}" for share in (*SHARES, 1.0))]
    figures.append(f"quantile {QUANTILE:g}")
    head = ["noise", "policy", "decisions", *figures]
    covered, widths = [], []
    for world, policy, count in distinct(rows, "world", "policy", "decisions"):
        where = {"world": world, "policy": policy, "decisions": count}
        mine = {of: select(rows, **where, of=of) for of in figures}
        first = [world, policy, f"{count:,.0f}"]
        covered.append(first + [held(mine[of]) for of in figures])
        widths.append(first + [_width(mine[of]) for of in figures])
    logs = int(sum(row["logs"] for row in mine["band"]))
    yield section(
        f"The distribution of the reward, {logs} logs",
        "Share of logs whose 95 % interval, or band at all rewards at once, holds the "
        "exact value, with 95 % Clopper-Pearson intervals. Four contexts and four "
        "actions; noise is normal, lognormal (long gains) or minus that (long losses). "
        "The far policy chooses with a chance of 0.85 what the logger chooses with one "
        "of 0.1: its effective sample size is a seventh of the log. `cvar 1` is the "
        "mean.",
        table(head, covered, "llr"),
        "Median widths of the same intervals; noise has standard deviations from 0.5 to "
        "1.5 times that of its kind, which are 1 and 1.3:",
        table(head, widths, "ll" + "r" * (len(head) - 2)),
    )


def _width(rows: Rows) -> str:
    """Mean of the medians of the cells' logs."""
    return f"{np.mean([row['width'] for row in rows]):.3g}"


PART = Part(
    "distribution",
    (*_COLUMNS, "held", "without", "width"),
    _cells,
    measure,
    arrange=lambda rows: sorted(
        rows, key=lambda row: [str(row[c]).rjust(12) for c in _COLUMNS]
    ),
)
