"""What a log proves: how often bounds and kernel intervals hold the truth, how wide.

Three worlds whose truth is exact.  A response over five actions that has every shape, by
loggers who try all of them, hardly try the last two, or never do; there it is also the
lowest response that agrees with the first three.  The auction with any bid.  Patients
with their right doses, from a file.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import stats

from bidclick_gym.auction import Auction, click_probability, optimal_bid
from icac_algo import (
    Bounded,
    Concave,
    Intersection,
    Monotone,
    MonotoneConcave,
    Outcome,
    SlopeBounds,
)
from icac_algo.data import LoggedSteps, number_steps
from icac_algo.evidence import (
    BanditLog,
    KnownParts,
    Ranges,
    ShapedLog,
    best_certificates,
    policy_bounds,
)
from icac_algo.shapes import Constraint

from ..engine import Cell, Experiment, Option, Part, Results, Settings, register
from ..engine.markdown import section, share, table
from ..engine.pictures import subplots
from ..engine.rows import Rows, distinct, select
from .patients import loss, read_patients

FloatArray = npt.NDArray[np.float64]
Policy = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
ACTIONS = np.linspace(0.0, 1.0, 5)
SHAPES: dict[str, Constraint] = {
    "Monotone, Bounded": Intersection([Monotone(), Bounded(0.0, 1.0)]),
    "SlopeBounds": SlopeBounds(0.0, 2.0),
    "Concave, SlopeBounds": Intersection([Concave(), SlopeBounds(-1.0, 3.0)]),
    "Concave, Bounded": Intersection([Concave(), Bounded(0.0, 1.0)]),
    "MonotoneConcave, Bounded": Intersection([MonotoneConcave(), Bounded(0.0, 1.0)]),
}
#: Of none of them the response is one.
FALSE = {
    "Monotone, falling": Intersection([Monotone(False), Bounded(0.0, 1.0)]),
    "SlopeBounds, at most 0.2": SlopeBounds(0.0, 0.2),
}
#: How often the last two actions are tried, of what would be as often as the others.
OVERLAPS = {"full": 1.0, "thin": 0.03, "none": 0.0}
DECISIONS = (500, 2_000, 8_000)
NUMBERS = (1_000, 4_000)
LOGS_OF_A_CELL = 50
NOISE = 0.3
LEVEL = 0.95
#: Of profits by the bid and of rewards by the dose, which lose at most 1 for each unit.
PROFIT = Intersection([Concave(), SlopeBounds(-1.0, 1.0)])
DOSE = Intersection([Concave(), SlopeBounds(-1.0, 1.0)])
_COLUMNS = ("world", "case", "decisions", "of", "seed", "logs")
_FIGURES = ("held", "without", "width", "truth", "contradicted")


# -- five actions --------------------------------------------------------------


def response(contexts: FloatArray) -> FloatArray:
    """Mean rewards of the five actions, ``(N, 5)``: rising, concave, in [0, 1]."""
    rise = (1.0 - np.exp(-3.0 * ACTIONS)) / (1.0 - np.exp(-3.0))
    return np.asarray((0.2 + 0.6 * contexts[:, :1]) * rise)


def lowest_response(contexts: FloatArray, shape: Constraint) -> FloatArray:
    """The same at the first three actions, and as low as a shape allows beyond."""
    means = response(contexts)
    costs = np.broadcast_to(np.where(np.arange(5) < 3, 0.0, np.inf), means.shape)
    known, lowest = means.copy(), means.copy()
    for k in (3, 4):
        found = best_certificates(
            shape.shape_set(),
            Ranges(ACTIONS, ACTIONS),
            (0.0, 1.0),
            np.full(len(means), ACTIONS[k]),
            known,
            costs,
            np.zeros(len(means)),
        )
        lowest[:, k] = found.dot(known) + found.constants
    return lowest


def logger(contexts: FloatArray, overlap: float) -> FloatArray:
    """Probabilities, ``(N, 5)``."""
    x, y = contexts.T
    odds = [np.ones(len(x)), 1.0 + y, np.full(len(x), 1.5)]
    odds += [overlap * (1.0 - 0.5 * y), overlap * (0.7 + 0.5 * x)]
    chances = np.stack(odds, axis=1)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def policy(contexts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """It often chooses what the logger hardly tries."""
    beyond = np.where(contexts[:, 1] > 0.5, 4, 1)
    return np.where(contexts[:, 0] > 0.6, 3, beyond)


def draw(
    rng: np.random.Generator, count: int, overlap: float, means: Callable[..., FloatArray]
) -> LoggedSteps:
    x = rng.random((count, 2)).astype(np.float32)
    chances = logger(x.astype(np.float64), overlap)
    actions = (rng.random((count, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 4)
    rows = np.arange(count)
    rewards = means(x.astype(np.float64))[rows, actions]
    rewards = rewards + NOISE * rng.standard_normal(count)
    return LoggedSteps(x, actions, rewards, chances[rows, actions], rows, 5)


@functools.cache
def _contexts() -> FloatArray:
    points = stats.qmc.Sobol(2, seed=0).random(2**16)
    return np.asarray(points, np.float64)


def _truth(means: Callable[..., FloatArray]) -> float:
    x = _contexts()
    return float(means(x)[np.arange(len(x)), policy(x)].mean())


def measure(cell: Cell) -> Rows:
    """A row for each shape and for the doubly robust estimate."""
    overlap, is_lowest = cell["case"].removesuffix(", lowest"), "lowest" in cell["case"]
    judged: dict[str, list[Any]] = collections.defaultdict(list)
    for number in range(cell["logs"]):
        seed = cell.seed * cell["logs"] + number

        def log_of(means: Callable[..., FloatArray], seed: int = seed) -> BanditLog:
            rng = np.random.default_rng(seed)
            return BanditLog(draw(rng, cell["decisions"], OVERLAPS[overlap], means), seed)

        usual = log_of(response)
        for name, shape in (SHAPES if is_lowest else SHAPES | FALSE).items():
            log = usual
            if is_lowest:
                log = log_of(functools.partial(lowest_response, shape=shape))
            ends = _proven(log, policy, shape)
            judged[name].append((*ends, _known_truth(cell["case"], name)))
        if overlap != "none":
            ends = _estimated(usual, policy, ("dr",))["dr"]
            judged["doubly robust"].append((*ends, _known_truth("", "")))
    return _rows(judged)


@functools.cache
def _known_truth(case: str, shape: str) -> float:
    if "lowest" in case:
        return _truth(functools.partial(lowest_response, shape=SHAPES[shape]))
    return _truth(response)


_Ends = tuple[float, float, bool]


def _proven(log: BanditLog, chosen: Policy, prior: Any) -> _Ends:
    """Both ends, and whether the log contradicts the prior."""
    known = KnownParts.of(log.steps, prior)
    found = policy_bounds(ShapedLog(log, known), chosen, LEVEL)
    return found.total.lower, found.total.upper, found.contradiction is not None


def _estimated(
    log: BanditLog, chosen: Policy, estimators: tuple[str, ...]
) -> dict[str, _Ends]:
    judged = log.judge(chosen, estimators)
    found = {name: log.estimate(name, judged, LEVEL) for name in estimators}
    return {name: (one.lower, one.upper, False) for name, one in found.items()}


def _rows(judged: dict[str, list[Any]]) -> Rows:
    rows = []
    for name, logs in judged.items():
        lower, upper, missed, truth = np.array(logs, np.float64).T
        rows.append(
            {
                "of": name,
                "held": int(((lower <= truth) & (truth <= upper)).sum()),
                "without": int(np.isnan(lower).sum()),
                "width": float(np.median(upper - lower)),
                "truth": float(truth[0]),
                "contradicted": int(missed.sum()),
            }
        )
    return rows


# -- any bid -------------------------------------------------------------------

BIDS: dict[str, Policy] = {
    "best bid": lambda x: np.clip(optimal_bid(x[:, 0], x[:, 1]), 0.0, 1.0),
    "two thirds of it": lambda x: optimal_bid(x[:, 0], x[:, 1]) * (2.0 / 3.0),
    "always 0.5": lambda x: np.full(len(x), 0.5),
}
CLICKS = [
    Outcome("click", "monotone", link="logit"),
    Outcome(weight="-x1 * action"),
]


def draw_bids(rng: np.random.Generator, count: int, logged: bool) -> LoggedSteps:
    """A logger who bids more for better queries, with a density of its own."""
    x = Auction().context_from_uniform(rng.random((count, 2)))
    a, b = 1.2 + 0.6 * x[:, 0], 1.6 - 0.4 * x[:, 0]
    bids = rng.beta(a, b).clip(1e-6, 1.0 - 1e-6)
    clicks = (rng.random(count) < click_probability(x[:, 0], bids)).astype(np.float64)
    rewards = clicks - x[:, 1] * bids
    densities = stats.beta.pdf(bids, a, b) if logged else None
    rows = np.arange(count)
    return number_steps(x, bids, rewards, densities, rows, columns={"click": clicks})


def measure_bids(cell: Cell) -> Rows:
    """A row for each policy and way to judge it."""
    auction, judged = Auction(), collections.defaultdict(list)
    contexts = auction.contexts(400)
    for number in range(cell["logs"]):
        seed = cell.seed * cell["logs"] + number
        rng = np.random.default_rng(40_000 + seed)
        is_logged = cell["case"] == "logged density"
        log = BanditLog(draw_bids(rng, cell["decisions"], is_logged), seed)
        for name, chosen in BIDS.items():
            bids = chosen(contexts)
            truth = float(
                (click_probability(contexts[:, 0], bids) - contexts[:, 1] * bids).mean()
            )
            ways = _estimated(log, chosen, ("ips", "snips", "dr"))
            ways["bounds, concave reward"] = _proven(log, chosen, PROFIT)
            ways["bounds, rising clicks"] = _proven(log, chosen, CLICKS)
            for of, ends in ways.items():
                judged[f"{name}: {of}"].append((*ends, truth))
    return _rows(judged)


# -- patients ------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _clinic(path: str) -> tuple[FloatArray, FloatArray, Policy, float, Policy]:
    """Covariates, right doses, a normal logger's means and spread, and a rule."""
    from sklearn.linear_model import RidgeCV

    patients = read_patients(path)
    x, doses, right = patients[:, :-4], patients[:, -4], patients[:, -1]
    penalties = (1.0, 10.0, 100.0)
    usual = RidgeCV(penalties).fit(x, doses).predict
    # Every other patient says what the rule is.
    rule = RidgeCV(penalties).fit(x[::2], right[::2]).predict
    return x, right, usual, float((doses - usual(x)).std()), rule


def measure_doses(cell: Cell) -> Rows:
    """Doses drawn again by a normal logger, of patients drawn with replacement."""
    x, right, usual, spread, rule = _clinic(cell["data"])
    policies: dict[str, Policy] = {
        "always 32": lambda o: np.full(len(o), 32.0),
        "half way to the rule": lambda o: 0.5 * (usual(o) + rule(o)),
        "the rule": lambda o: np.maximum(rule(o), 1.0),
    }
    judged = collections.defaultdict(list)
    for number in range(cell["logs"]):
        seed = cell.seed * cell["logs"] + number
        rng = np.random.default_rng(50_000 + seed)
        drawn = rng.integers(0, len(x), cell["decisions"])
        means = usual(x[drawn])
        law = stats.truncnorm(-means / spread, np.inf, loc=means, scale=spread)
        doses = law.rvs(random_state=rng)
        steps = number_steps(
            x[drawn].astype(np.float32),
            doses,
            -loss(doses, right[drawn]),
            law.pdf(doses),
            np.arange(len(drawn)),
        )
        log = BanditLog(steps, seed)
        for name, chosen in policies.items():
            truth = float(-loss(chosen(x), right).mean())
            ways = _estimated(log, chosen, ("ips", "snips", "dr"))
            ways["bounds, concave reward"] = _proven(log, chosen, DOSE)
            for of, ends in ways.items():
                judged[f"{name}: {of}"].append((*ends, truth))
    return _rows(judged)


# -- cells and report ----------------------------------------------------------


def _cells(settings: Settings, world: str) -> Iterator[Cell]:
    logs = min(settings.seeds, LOGS_OF_A_CELL)
    counts = list(DECISIONS if world == "actions" else NUMBERS)
    cases = {
        "actions": [*OVERLAPS, "none, lowest"],
        "bids": ["logged density", "estimated density"],
        "doses": ["logged density"],
    }[world]
    more = {"data": settings["data"]} if world == "doses" else {}
    if world == "doses":
        counts = [2_000]
    for part in range(-(-settings.seeds // LOGS_OF_A_CELL)):
        for case in cases:
            for count in counts[:1] if settings.quick else counts:
                yield Cell.of(
                    world,
                    seed=part,
                    logs=logs,
                    world=world,
                    case=case,
                    decisions=count,
                    **more,
                )


def _sections(results: Results) -> Iterator[str]:
    if rows := results["actions"]:
        yield section(
            f"Five actions, {_logs(rows)} logs",
            "Share of logs whose 95 % bounds hold the policy's exact value, with 95 % "
            "Clopper-Pearson intervals, and their median width. The policy chooses the "
            "last two actions in 64 % of contexts. `none, lowest` is the response that "
            "is as low as each shape allows where nothing was logged: there lower ends "
            "are tight.",
            _coverage(rows, [*SHAPES, "doubly robust"]),
            "Shapes that are false here, and the share of logs that say so by bounds "
            "that miss each other:",
            _contradicted(rows),
            "![Widths of the bounds](widths.png)",
        )
    for world, title, words in (
        (
            "bids",
            "Any bid",
            "The auction with bids from a beta density that depends on the query.",
        ),
        (
            "doses",
            "Doses of warfarin",
            "Patients of a file, drawn with replacement; their doses are drawn by a "
            "normal logger fitted to the file's, their rewards are exact.",
        ),
    ):
        if rows := results[world]:
            yield section(
                f"{title}, {_logs(rows)} logs",
                f"{words} Kernels with Lepski's bandwidth, and bounds from the shape "
                "alone.",
                _coverage(rows, distinct(rows, "of")),
            )


def _logs(rows: Rows) -> int:
    first = rows[0]
    where = {name: first[name] for name in ("case", "decisions", "of")}
    return int(sum(row["logs"] for row in select(rows, **where)))


def _coverage(rows: Rows, names: Any) -> str:
    counts = sorted(distinct(rows, "decisions"))
    head = ["logger", "judged by"]
    for count in counts:
        head += [f"covered, {count:,.0f} decisions", "width"]
    lines = []
    for case in distinct(rows, "case"):
        for name in names:
            line = [case, name]
            for count in counts:
                mine = select(rows, case=case, of=name, decisions=count)
                line += _held(mine) if mine else ["", ""]
            if any(line[2:]):
                lines.append(line)
    return table(head, lines, "ll" + "lr" * len(counts))


def _held(rows: Rows) -> list[str]:
    logs = int(sum(row["logs"] for row in rows))
    held = int(sum(row["held"] for row in rows))
    width = np.mean([row["width"] for row in rows])
    return [share(number < held for number in range(logs)), f"{width:.3f}"]


def _contradicted(rows: Rows) -> str:
    counts = sorted(distinct(rows, "decisions"))
    cases = [case for case in distinct(rows, "case") if "lowest" not in case]
    lines = []
    for case in cases:
        for name in [*FALSE, *SHAPES]:
            line = [case, f"{name}{' (false)' * (name in FALSE)}"]
            for count in counts:
                mine = select(rows, case=case, of=name, decisions=count)
                logs = sum(row["logs"] for row in mine)
                found = sum(row["contradicted"] for row in mine)
                line.append(f"{found / logs:.3f}" if logs else "")
            lines.append(line)
    head = ["logger", "shape", *(f"{count:,.0f} decisions" for count in counts)]
    return table(head, lines, "ll" + "r" * len(counts))


def _widths(results: Results) -> Figure | None:
    rows = results["actions"]
    if not rows:
        return None
    figure, axes = subplots(9.0, 3.4, 1, len(OVERLAPS), sharey=True)
    names = [*SHAPES, "doubly robust"]
    for axis, case in zip(axes[0], OVERLAPS, strict=True):
        for i, name in enumerate(names):
            mine = select(rows, case=case, of=name)
            counts = sorted(distinct(mine, "decisions"))
            widths = [
                np.mean([row["width"] for row in select(mine, decisions=count)])
                for count in counts
            ]
            style = {"color": "#444444", "ls": "--"} if name == names[-1] else {}
            style = style or {"color": f"C{i}"}
            axis.plot(counts, widths, marker="o", ms=4, label=name, **style)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(DECISIONS, [f"{count:,}" for count in DECISIONS])
        axis.set_xticks([], minor=True)
        axis.set_title(f"{case.replace('none', 'no')} overlap", fontsize=10)
        axis.set_xlabel("decisions in the log")
        axis.grid(color="0.92")
    axes[0, 0].set_ylabel("median width of 95 % bounds")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return figure


def _part(world: str, run: Callable[[Cell], Rows]) -> Part:
    return Part(
        world,
        (*_COLUMNS, *_FIGURES),
        functools.partial(_cells, world=world),
        run,
        arrange=lambda rows: sorted(
            rows, key=lambda row: [str(row[c]).rjust(40) for c in _COLUMNS]
        ),
        planned=lambda settings: world != "doses" or settings["data"] is not None,
    )


register(
    Experiment(
        "bounds",
        "what a shape proves of a policy: coverage and width, for any actions",
        parts=[
            _part("actions", measure),
            _part("bids", measure_bids),
            _part("doses", measure_doses),
        ],
        title="What a log proves",
        sections=_sections,
        pictures={"widths.png": _widths},
        defaults={"seeds": 200, "workers": 2},
        quick={"seeds": 2},
        options=[Option("--data", metavar="FILE", help="a .npy file; docs/real-logs.md")],
    )
)
