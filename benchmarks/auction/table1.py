"""The paper's Table I: every algorithm on one auction."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable
from typing import Any

import d3rlpy
from matplotlib.figure import Figure

from bidclick_gym import DATASETS, simulate_log
from bidclick_gym.logs.datasets import to_replay_buffer
from bidclick_gym.logs.log import subsample_impressions

from ..engine import Cell, Experiment, Option, Part, Results, Settings, register
from ..engine.command_line import fraction, list_of, one_of
from ..engine.markdown import bullets, figures, plural, section, table
from ..engine.pictures import Line, bars, dots, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..engine.tuning import RESULTS, best_settings
from ..learners import (
    AUCTION_LEARNERS,
    BATCH_SIZE,
    HIDDEN_UNITS,
    LEARNING_RATE,
    ONLINE_LEARNERS,
    PPO_EPOCHS,
    PPO_ROLLOUTS,
    ClickModel,
    fit_quietly,
)
from .measures import COLUMNS, ConstraintMonitor, auction_of, measure
from .online import ONLINE, TUNED
from .paper_figures import TABLE1
from .regret_tasks import click_columns
from .verdicts import table1_verdicts

TUNED_OFFLINE = RESULTS / "tuning.csv"


def table1_cells(
    settings: Settings,
    envs: Iterable[str],
    fractions: Iterable[float],
    names: Iterable[str],
) -> Iterable[Cell]:
    """A seed draws the log, its share and the training."""
    tuned = best_settings(TUNED_OFFLINE)
    for seed, env, share, name in itertools.product(
        range(settings.seeds), envs, fractions, names
    ):
        where = {"env": env, "fraction": share, "tuned": tuned.get(name, ())}
        yield Cell.of("table1", name, seed, steps=settings.steps, **where)


def _cells(settings: Settings) -> Iterable[Cell]:
    names = settings["algorithms"] or AUCTION_LEARNERS
    return table1_cells(settings, [settings["env"]], [settings["fraction"]], names)


def _config(cell: Cell) -> Any:
    return AUCTION_LEARNERS[cell.learner].config(cell["steps"], **cell.tuned)


def train_and_measure(cell: Cell) -> Rows:
    """Draws the log, trains, and measures; one row, or two for behaviour cloning."""
    learner = AUCTION_LEARNERS[cell.learner]
    auction = auction_of(cell["env"])
    log = simulate_log(auction, seed=cell.seed)
    d3rlpy.seed(cell.seed)
    monitor = ConstraintMonitor(auction, learner.counted)
    start = time.perf_counter()
    if learner.kind == "limit":
        kept = subsample_impressions(log, cell["fraction"], cell.seed)
        model: Any = ClickModel(auction.bids).fit(*click_columns(log, kept))
    else:
        dataset = to_replay_buffer(
            log, cell["fraction"], cell.seed, continuous=learner.continuous
        )
        model = _config(cell).create(device="cpu:0")
        start = time.perf_counter()
        fit_quietly(model, dataset, cell["steps"], monitor)
    seconds = time.perf_counter() - start
    rows = measure(model, auction, monitor.errors, is_cloned=cell.learner == "BC")
    return [
        {"constraint": learner.shape, **row, "train_seconds": seconds} for row in rows
    ]


def in_table_order(rows: Rows) -> Rows:
    order = {name: i for i, name in enumerate(AUCTION_LEARNERS)}

    def position(row: dict[str, Any]) -> tuple[int, str, int]:
        name = str(row["algorithm"])
        return order.get(name, order["BC"]), name, int(row["seed"])

    return sorted(rows, key=position)


def tuned_config(name: str, steps: int) -> Any:
    """The d3rlpy config of a row of Table I, tuned if it is a baseline."""
    tuned = dict(best_settings(TUNED_OFFLINE).get(name, ()))
    return AUCTION_LEARNERS[name].config(steps, **tuned)


TABLE = Part(
    "table1",
    COLUMNS,
    _cells,
    train_and_measure,
    _config,
    learner="algorithm",
    arrange=in_table_order,
    file="results.csv",
)


# -- report ------------------------------------------------------------------

_SHOWN = (
    # column, heading, digits
    ("return", "Return", 5),
    ("regret", "Regret", 5),
    ("normalized_regret", "Normalized regret", 5),
    ("monotonicity_errors", "Monotonicity errors", 1),
    ("violation_magnitude", "Mean shortfall", 5),
    ("concavity_errors", "Concavity errors", 1),
    ("constraint_errors", "Own-shape errors", 0),
    ("residual", "Residual", 5),
)


def _explored(results: Results) -> Rows:
    """Online rows of the same auction and budget."""
    first = results["table1"][0]
    return select(results["online"], env=first["env"], fraction=first["fraction"])


def _sections(results: Results) -> Iterable[str]:
    rows = results["table1"]
    env, steps = str(rows[0]["env"]), int(rows[0]["steps"])
    impressions = f"{round(100_000 * float(rows[0]['fraction'])):,}"
    auction = auction_of(env)
    seeds, pairs = plural(len(distinct(rows, "seed")), "seed"), len(auction.bids) - 1
    yield (
        f"{seeds}, each drawing its own log of {impressions} impressions and "
        f"its own training of {steps:,} gradient steps. Every figure is a mean over "
        "seeds with its 95 % bootstrap percentile interval; raw rows are in "
        f"`results.csv`. The highest attainable return is "
        f"**{auction.optimal_value():.5f}** (with real-valued bids "
        f"{auction.optimal_continuous_value():.5f}); the worst policy earns "
        f"{auction.worst_value():.5f}."
    )
    yield "![Regret and monotonicity errors of every algorithm](table1.png)"
    yield section("Verdict", bullets(table1_verdicts(rows, auction)))
    yield section(
        "Measured",
        _measured(rows),
        f"""\
Return, regret and residual are exact: a 200 x 200 midpoint grid over contexts with the
true expected reward. Errors are violated inequalities on 1,000 fixed contexts, out of
{1000 * pairs:,} (monotone) and {1000 * (pairs - 1):,} (concave). "Mean shortfall" is how
far, on average, a value falls below its left neighbour. "Own-shape errors" is the largest
count over all evaluations during training, for rows with a shape. BC has no values: its
errors are counted on its log-probabilities and its residual is blank.""",
    )
    if explored := _explored(results):
        yield section(
            "What if you could explore?",
            f"""\
A reference, not a rival: these bid in the auction themselves, {impressions} times, as
many as the log has, and choose what to learn from. Stable-Baselines3's DQN and PPO, and
`icac_algo.sb3.ConstraintAwareDQN`, which is that DQN with the shape. Network, batch size
and learning-rate schedule are the table's; the DQNs make about {steps:,} gradient steps
in all, PPO {PPO_ROLLOUTS} rollouts of {PPO_EPOCHS} epochs. PPO has no Q-function: its
errors are counted on log-probabilities.""",
            _measured(explored),
            "Chosen by the oracle return on other seeds (`python -m benchmarks tune`):",
            _tuned(best_settings(TUNED)),
        )
    yield section(
        "The paper's Table I",
        table(
            ["Algorithm", "Return", "Normalized regret", "Monotonicity errors"],
            [[row.name, *row.cells] for row in TABLE1],
        ),
        "The paper does not say how many seeds these are nor what its plus-minus means.",
    )
    names = set(distinct(rows, "algorithm"))
    chosen = {n: t for n, t in best_settings(TUNED_OFFLINE).items() if n in names}
    yield section(
        "Settings",
        f"""\
All learners: two hidden layers of {HIDDEN_UNITS[0]} units, Adam at {LEARNING_RATE:g}
falling to 0 along a cosine, batches of {BATCH_SIZE}, {steps:,} steps; rewards centred and
scaled to spread one half, except for BC. d3rlpy's IQL is continuous: it is trained on the
bids as floats, its choice is snapped to the nearest allowed bid and its critic read at
the allowed bids. Chosen by the *oracle* return on other seeds
(`python -m benchmarks tune`, all tried values in `benchmarks/results/tuning.csv`):""",
        _tuned(chosen) or "- nothing tuned in this run",
        """\
"Ours-paper" is the paper's algorithm: Euclidean proximal layer, one inner step, implicit
gradient, dual lambda, spectral normalization. The other rows of ours are functional
critics. The click model is logistic regression in the auction's true family with the cost
known: a limit, not a rival.""",
    )


def _measured(rows: Rows) -> str:
    lines = []
    for name in distinct(rows, "algorithm"):
        mine = select(rows, algorithm=name)
        lines.append([name, mine[0]["constraint"], *figures(mine, _SHOWN)])
    return table(["Algorithm", "Shape", *(title for _, title, _ in _SHOWN)], lines)


def _tuned(settings: dict[str, Any]) -> str:
    return bullets(
        f"{name}: {', '.join(f'{k} = {v:g}' for k, v in pairs)}"
        for name, pairs in settings.items()
    )


def _picture(results: Results) -> Figure:
    rows = [*results["table1"], *_explored(results)]
    first, names = rows[0], distinct(rows, "algorithm")
    figure, axes = subplots(
        10.5, 1.4 + 0.38 * len(names), 1, 2, sharey=True, width_ratios=[1.5, 1.0]
    )
    left, right = axes[0]

    def lines(column: str) -> list[Line]:
        return [
            Line(
                f"{name}\n{found[0]['constraint']}" if found[0]["constraint"] else name,
                by_seed(found, column),
                _colour(name),
            )
            for name in names
            for found in [select(rows, algorithm=name)]
        ]

    smallest = 1e-6
    bars(right, lines("monotonicity_errors"))
    dots(left, lines("regret"), smallest=smallest, each_seed=True, digits=5)
    perfect = 1000.0 * auction_of(str(first["env"])).falling_pairs().sum()
    right.axvline(perfect, color="tab:red", linestyle="--", linewidth=1.2, zorder=0)
    right.text(
        perfect,
        len(names) - 0.6,
        f" a perfect critic: {perfect:.0f}",
        color="tab:red",
        fontsize=7.5,
    )
    left.set_xscale("log")
    left.set_xlabel(f"regret  V* - V   (left is better; drawn at least {smallest:g})")
    right.set_xlabel("monotonicity errors in 1,000 contexts")
    figure.suptitle(
        f"{first['env']}, {round(100_000 * float(first['fraction'])):,} impressions, "
        f"{int(first['steps']):,} steps, {plural(len(distinct(rows, 'seed')), 'seed')} "
        "(dots), mean with 95 % bootstrap interval",
        fontsize=10,
    )
    return figure


def _colour(name: str) -> str:
    known = {**AUCTION_LEARNERS, **ONLINE_LEARNERS}
    return known.get(name, AUCTION_LEARNERS["BC"]).colour


register(
    Experiment(
        "table1",
        "the paper's Table I, with verdicts",
        parts=[TABLE, ONLINE],
        title=lambda results: f"Table I on {results['table1'][0]['env']}",
        sections=_sections,
        pictures={"table1.png": _picture},
        defaults={
            "seeds": 5,
            "steps": 5000,
            "workers": 2,
            "env": "BidClick-v0",
            "fraction": 1.0,
        },
        quick={"seeds": 2, "steps": 1000},
        options=[
            Option(
                "--env",
                type=one_of(sorted(spec.env_id for spec in DATASETS.values())),
                help="Gymnasium id; BidClick-v0 by default",
            ),
            Option(
                "--algorithms",
                type=list_of(one_of(list(AUCTION_LEARNERS))),
                help="comma-separated; all by default",
            ),
            Option("--fraction", type=fraction, help="share of the log"),
            Option(
                "--online",
                action=argparse.BooleanOptionalAction,
                help="also SB3's DQN and PPO, trained online; by default where all "
                "algorithms are run, unless --quick",
            ),
        ],
    )
)
