"""Table I as a Markdown report."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from ..engine import bootstrap_mean
from ..learners import AUCTION_LEARNERS, BATCH_SIZE, HIDDEN_UNITS, LEARNING_RATE
from ..paper.figures import TABLE1, PaperRow
from .settings import Settings
from .tuning import best_settings
from .verdicts import by_seed, table1_verdicts

__all__ = ["short_table", "table1_report", "versions"]

_PACKAGES = (
    "torch",
    "d3rlpy",
    "gymnasium",
    "minari",
    "numpy",
    "scipy",
    "scikit-learn",
)
_COLUMNS = (
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


def table1_report(
    rows: Sequence[dict[str, Any]],
    settings: Settings,
    explored: Sequence[dict[str, Any]] = (),
) -> str:
    """The whole report.

    Args:
        rows: one for every algorithm and seed.
        settings: what was asked for.
        explored: rows of the algorithms that were trained online.
    """
    auction = gym.make(settings.env).unwrapped.auction  # type: ignore[attr-defined]
    best, continuous = auction.optimal_value(), auction.optimal_continuous_value()
    verdicts = "\n".join(f"- {line}" for line in table1_verdicts(rows, auction))
    tuned = "\n".join(
        f"- {name}: {', '.join(f'{k} = {v:g}' for k, v in values)}"
        for name, values in best_settings().items()
        if name in settings.algorithms
    )
    impressions = round(100_000 * settings.fraction)
    return f"""# Table I on {settings.env}

`{settings.command}`

{settings.seeds} seeds, each drawing its own log of {impressions:,} impressions and its
own training of {settings.steps:,} gradient steps. Every figure is a mean over seeds with
its 95 % bootstrap percentile interval; raw rows are in `results.csv`. The highest
attainable return is **{best:.5f}** (with real-valued bids {continuous:.5f}); the worst
policy earns {auction.worst_value():.5f}.

![Regret and monotonicity errors of every algorithm](table1.png)

## Verdict

{verdicts}

## Measured

{_measured_table(rows)}

Return, regret and residual are exact: a 200 x 200 midpoint grid over contexts with the
true expected reward. Errors are violated inequalities on 1,000 fixed contexts, out of
{1000 * (len(auction.bids) - 1):,} (monotone) and {1000 * (len(auction.bids) - 2):,}
(concave). "Mean shortfall" is how far, on average, a value falls below its left
neighbour. "Own-shape errors" is the largest count over all evaluations during training,
for rows with a shape. BC has no values: its errors are counted on its log-probabilities
and its residual is blank.
{_online_section(explored, settings)}
## The paper's Table I

{_paper_table(TABLE1)}

The paper does not say how many seeds these are nor what its plus-minus means.

## Settings

All learners: two hidden layers of {HIDDEN_UNITS[0]} units, Adam at {LEARNING_RATE:g}
falling to 0 along a cosine, batches of {BATCH_SIZE}, {settings.steps:,} steps; rewards
centred and scaled to spread one half, except for BC. d3rlpy's IQL is continuous: it is
trained on the bids as floats, its choice is snapped to the nearest allowed bid and its
critic read at the allowed bids. Chosen by the *oracle* return on
other seeds (`python -m benchmarks tune`, all tried values in
`benchmarks/results/tuning.csv`):

{tuned or "- nothing tuned in this run"}

"Ours-paper" is the paper's algorithm: Euclidean proximal layer, one inner step, implicit
gradient, dual lambda, spectral normalization. The other rows of ours are functional
critics. The click model is logistic regression in the auction's true family with the cost
known: a limit, not a rival.

## Versions

{versions()}
"""


def short_table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Regret and errors of some algorithms, as the README shows them."""
    head = ["Algorithm", "Shape", "Regret", "Monotonicity errors", "Own-shape errors"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        shape = AUCTION_LEARNERS[name].shape if name in AUCTION_LEARNERS else ""
        cells = [name, shape]
        columns = (("regret", 5), ("monotonicity_errors", 0), ("constraint_errors", 0))
        for column, digits in columns:
            values = list(by_seed(rows, name, column).values())
            cells.append(bootstrap_mean(values).format(digits) if values else "")
        lines.append(_line(cells))
    return "\n".join(lines)


def _measured_table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(str(row["algorithm"]) for row in rows))
    head = ["Algorithm", "Shape", *(title for _, title, _ in _COLUMNS)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        shape = next(r["constraint"] for r in rows if r["algorithm"] == name) or ""
        cells = [name, shape]
        for column, _, digits in _COLUMNS:
            values = list(by_seed(rows, name, column).values())
            cells.append(bootstrap_mean(values).format(digits) if values else "")
        lines.append(_line(cells))
    return "\n".join(lines)


def _online_section(explored: Sequence[dict[str, Any]], settings: Settings) -> str:
    if not explored:
        return ""
    from .online import PPO_EPOCHS, PPO_ROLLOUTS, TUNED

    impressions = round(100_000 * settings.fraction)
    tuned = "\n".join(
        f"- {name}: {', '.join(f'{k} = {v:g}' for k, v in values)}"
        for name, values in best_settings(TUNED).items()
    )
    return f"""
## What if you could explore?

A reference, not a rival: these bid in the auction themselves, {impressions:,} times,
as many as the log has, and choose what to learn from. Stable-Baselines3's DQN and PPO,
and `icac_algo.sb3.ConstraintAwareDQN`, which is that DQN told the shape. Network, batch
size and learning-rate schedule are the table's; the DQNs make about {settings.steps:,}
gradient steps in all, PPO {PPO_ROLLOUTS} rollouts of {PPO_EPOCHS} epochs. PPO has no
Q-function: its errors are counted on log-probabilities.

{_measured_table(explored)}

Chosen by the oracle return on other seeds (`python -m benchmarks tune`):

{tuned}
"""


def _paper_table(paper: Sequence[PaperRow]) -> str:
    head = ["Algorithm", "Return", "Normalized regret", "Monotonicity errors"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in paper:
        lines.append(
            _line(
                [
                    row.name,
                    "{:.3f} ± {:.3f}".format(*row.mean_return),
                    "{:.3f} ± {:.3f}".format(*row.regret),
                    "{:.0f} ± {:.0f}".format(*row.errors),
                ]
            )
        )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def versions() -> str:
    """Python and the packages that results depend on, as a Markdown list."""
    lines = [f"- Python {platform.python_version()}, {platform.machine()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"- {package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"- {package} not installed")
    return "\n".join(lines)
