"""Choices from the log in words and in a picture: rules against the oracle."""

from __future__ import annotations

import collections
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from ..auction.verdicts import MIN_SEEDS
from ..engine import Interval, bootstrap_mean, paired_difference, write_png
from .choice_candidates import DUAL, TASKS

__all__ = ["MARGIN", "draw", "section", "verdicts"]

Rows = Sequence[dict[str, Any]]
Choices = dict[int, dict[str, Any]]

#: A choice is as good as the oracle's if it loses at most this share of what is at
#: stake, which is the regret of the worst candidate minus that of the best.
MARGIN = 0.1
#: A false shape taken on more than this share of the logs is too often.
TOO_OFTEN = 0.1
#: The rules of each task: column, and what it is called.  The first is the one that
#: `Selection.best` is.
RULES: dict[str, dict[str, str]] = {
    "lambda": {
        "by_error": "cross-validation",
        "by_lowest": "lowest held-out error",
    },
    "shape": {
        "by_error": "cross-validation",
        "by_lowest": "lowest held-out error",
        "by_prior": "check_prior",
        "by_both": "both",
    },
    "campaign": {
        "by_error": "cross-validation, common target",
        "by_lowest": "lowest error, common target",
        "by_own": "lowest error, own target",
    },
}
_TITLES = {
    "lambda": "The paper's lambda, single impressions",
    "shape": "The shape over bids, single impressions",
    "campaign": "Two shapes, campaigns under a budget",
}


# -- reading rows ------------------------------------------------------------


def _settings(rows: Rows) -> list[tuple[str, float]]:
    found = {(str(row["task"]), float(row["fraction"])) for row in rows}
    tasks = list(TASKS)
    return sorted(found, key=lambda key: (tasks.index(key[0]), -key[1]))


def _by_seed(rows: Rows, task: str, fraction: float) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if (row["task"], float(row["fraction"])) == (task, fraction):
            found.setdefault(int(row["seed"]), []).append(row)
    return found


def _choosable(of_seed: Rows) -> list[dict[str, Any]]:
    return [row for row in of_seed if row["error"] is not None]


def _chosen(by_seed: dict[int, list[dict[str, Any]]], rule: str) -> Choices:
    """The row that a rule chooses on each log; ``"oracle"`` and ``"worst"`` are rules."""
    found: Choices = {}
    for seed, of_seed in by_seed.items():
        rows = _choosable(of_seed)
        if rule in ("oracle", "worst"):
            pick = min if rule == "oracle" else max
            found[seed] = pick(rows, key=lambda row: float(row["regret"]))
            continue
        for row in rows:
            if row[rule] == 1:
                found[seed] = row
    return found


def _named(by_seed: dict[int, list[dict[str, Any]]], name: str) -> Choices:
    return {
        seed: row
        for seed, of_seed in by_seed.items()
        for row in of_seed
        if row["candidate"] == name
    }


def _regret(choices: Choices) -> dict[int, float]:
    return {seed: float(row["regret"]) for seed, row in choices.items()}


def _best_fixed(by_seed: dict[int, list[dict[str, Any]]]) -> str:
    """The candidate of the lowest mean regret, known only afterwards."""
    regrets: dict[str, list[float]] = {}
    for of_seed in by_seed.values():
        for row in _choosable(of_seed):
            regrets.setdefault(row["candidate"], []).append(float(row["regret"]))
    return min(regrets, key=lambda name: float(np.mean(regrets[name])))


def _share(hits: int, of: int) -> str:
    interval = stats.binomtest(hits, of).proportion_ci(0.95)
    return f"{hits} of {of} [{100 * interval.low:.0f} %, {100 * interval.high:.0f} %]"


# -- words -------------------------------------------------------------------


def section(rows: Rows) -> str:
    """The part of the report, from the rows alone."""
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    tables = "\n\n".join(
        f"### {_where(task, fraction)}\n\n{_choices_table(by_seed, task)}\n\n"
        f"{_candidates_table(by_seed)}"
        for task, fraction in _settings(rows)
        for by_seed in [_by_seed(rows, task, fraction)]
    )
    steps = ", ".join(
        f"{int(step):,} on {name}"
        for name, step in sorted({(str(r["task"]), float(r["steps"])) for r in rows})
    )
    return f"""## The penalty or the shape chosen from the log

{said}

![Regret of the candidates, and what each rule chooses](choice.png)

{tables}

A seed draws log, folds and training; candidates are trained on the whole log and their
true regret is exact. Rules see the log alone. *Cross-validation* is
`select_by_bellman_error` on two folds of whole episodes: the first candidate, from the
most constrained to the freest, within one standard error of the lowest held-out error.
*check_prior* takes the most constrained shape that is not rejected at level .05, *both*
what cross-validation takes of those that are not. The *oracle* takes the lowest true
regret on the very log, the *best fixed* is the one candidate that is best on average. *At
stake* is the regret of the worst minus that of the best; a choice is as good as the
oracle's if it loses at most {100 * MARGIN:g} % of it.

The lambdas are those of the paper's soft penalty towards `Concave`: Euclidean proximal
layer, one inner step, spectral normalization, no pull, as in the ablation of lambda; the
critic that is scored and deployed is the proximal one at the final lambda. *Projected* is
the regret of the same networks' exact projection. The *dual update* is the paper's and
is not among the candidates. On campaigns the log is the unpaced one, and candidates are
shapes of a critic of afterstates over the bid and over the budget, of which a concave one
over the budget is nearly true. Gradient steps of each training: {steps}.
"""


def _where(task: str, fraction: float) -> str:
    return f"{_TITLES[task]}, {100.0 * fraction:g} % of the log"


def verdicts(rows: Rows) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    lines = []
    for task, fraction in _settings(rows):
        by_seed = _by_seed(rows, task, fraction)
        for rule, name in RULES[task].items():
            # Two ways to read one score are one method; the first of them is judged.
            if rule != "by_lowest":
                lines.append(_against_oracle(by_seed, task, fraction, rule, name))
        if task == "lambda":
            lines.append(_against_dual(by_seed, fraction))
    return lines


def _stake(by_seed: dict[int, list[dict[str, Any]]]) -> Interval:
    worst, best = (_regret(_chosen(by_seed, rule)) for rule in ("worst", "oracle"))
    return paired_difference(worst, best)


def _against_oracle(
    by_seed: dict[int, list[dict[str, Any]]],
    task: str,
    fraction: float,
    rule: str,
    name: str,
) -> str:
    chosen = _chosen(by_seed, rule)
    where = f"{_where(task, fraction)}, {name}"
    if not chosen:
        return f"{where}: it was not asked."
    gap = paired_difference(_regret(chosen), _regret(_chosen(by_seed, "oracle")))
    stake = _stake(by_seed)
    margin = MARGIN * stake.mean
    digits = _digits(stake.mean)
    figures = (
        f"{gap.format(digits)} above the oracle's regret, {stake.format(digits)} at "
        f"stake ({gap.seeds} seeds)"
    )
    if gap.seeds < MIN_SEEDS:
        said = "too few seeds to tell"
    elif gap.high <= margin:
        said = "as good as the oracle"
    elif gap.low > margin:
        said = f"loses **more than {100 * MARGIN:g} %** of what is at stake"
    else:
        said = "**it cannot be told** whether it is as good as the oracle"
    text = f"{where}: {said}. {figures}."
    if any(c.is_false for c in TASKS[task].candidates.values()):
        taken = sum(int(row["is_false"]) for row in chosen.values())
        word = "a false shape is taken **too often**"
        if taken <= TOO_OFTEN * len(chosen):
            word = "a false shape is rarely taken" if taken else "no false shape is taken"
        text += f" On these logs {word}: {_share(taken, len(chosen))}."
    return text


def _against_dual(by_seed: dict[int, list[dict[str, Any]]], fraction: float) -> str:
    where = f"{_where('lambda', fraction)}, cross-validation against the dual update"
    dual, chosen = _named(by_seed, DUAL), _chosen(by_seed, "by_error")
    if not dual or not chosen:
        return f"{where}: it was not asked."
    gap = paired_difference(_regret(chosen), _regret(dual))
    final = bootstrap_mean([float(row["final_lambda"]) for row in dual.values()])
    figures = (
        f"{gap.format(5)} ({gap.seeds} seeds); the dual update ends at lambda = "
        f"{final.format(2)}"
    )
    if gap.seeds < MIN_SEEDS:
        return f"{where}: too few seeds to tell. {figures}."
    if gap.high < 0.0:
        return f"{where}: the chosen lambda has less regret. {figures}."
    if gap.low > 0.0:
        return f"{where}: the chosen lambda has **more** regret. {figures}."
    return f"{where}: **no difference can be told**. {figures}."


def _digits(stake: float) -> int:
    """Enough to show a hundredth of what is at stake."""
    return max(2, min(6, 2 - math.floor(math.log10(stake)))) if stake > 0.0 else 5


def _choices_table(by_seed: dict[int, list[dict[str, Any]]], task: str) -> str:
    oracle = _chosen(by_seed, "oracle")
    digits = _digits(_stake(by_seed).mean)
    fixed = _best_fixed(by_seed)
    shown: list[tuple[str, Choices]] = [("oracle", oracle)]
    shown += [(name, _chosen(by_seed, rule)) for rule, name in RULES[task].items()]
    shown += [("best fixed", _named(by_seed, fixed)), (DUAL, _named(by_seed, DUAL))]
    shown.append(("worst", _chosen(by_seed, "worst")))
    lines = [
        "| Chosen by | Regret | Above the oracle's | As the oracle | False | What |",
        "|---|---|---|---|---|---|",
    ]
    for name, choices in shown:
        if not choices:
            continue
        regret = bootstrap_mean(list(_regret(choices).values())).format(digits)
        gap = paired_difference(_regret(choices), _regret(oracle)).format(digits)
        same = sum(row is oracle[seed] for seed, row in choices.items())
        false = sum(int(row["is_false"]) for row in choices.values())
        counts = collections.Counter(row["candidate"] for row in choices.values())
        what = ", ".join(f"{c} ({n})" for c, n in counts.most_common(3))
        lines.append(
            f"| {name} | {regret} | {gap} | {same} of {len(choices)} | "
            f"{false} of {len(choices)} | {what} |"
        )
    return "\n".join(lines)


def _candidates_table(by_seed: dict[int, list[dict[str, Any]]]) -> str:
    names = list(dict.fromkeys(r["candidate"] for rows in by_seed.values() for r in rows))
    digits = _digits(_stake(by_seed).mean)
    lines = [
        "| Candidate | True | Regret | Projected | Final lambda | Held-out error | Above "
        "the lowest | Own target | Rejected |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        rows = list(_named(by_seed, name).values())
        cells = [name, "**no**" if rows[0]["is_false"] else "yes"]
        for column, places in (
            ("regret", digits),
            ("regret_projected", digits),
            ("final_lambda", 2),
            ("error", 5),
            ("difference", 5),
            ("own_error", 5),
        ):
            values = [float(row[column]) for row in rows if row[column] is not None]
            cells.append(bootstrap_mean(values).format(places) if values else "")
        asked = [int(row["rejected"]) for row in rows if row["rejected"] is not None]
        cells.append(f"{sum(asked)} of {len(asked)}" if asked else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# -- the picture -------------------------------------------------------------


def draw(rows: Rows, path: pathlib.Path) -> None:
    """Regret of every candidate, its seeds, and on how many logs each rule takes it.

    Args:
        rows: joined, one for every task, share, seed and candidate.
        path: of the PNG.
    """
    settings = _settings(rows)
    heights = [len(TASKS[task].candidates) + 1.2 for task, _ in settings]
    figure = Figure(figsize=(8.6, 0.34 * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(
        len(settings), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axis, (task, fraction) in zip(axes, settings, strict=True):
        by_seed = _by_seed(rows, task, fraction)
        names = [n for n in TASKS[task].candidates if _named(by_seed, n)][::-1]
        picks = {
            name: _chosen(by_seed, rule)
            for rule, name in {**RULES[task], "oracle": "oracle"}.items()
            if rule != "by_lowest"
        }
        for y, name in enumerate(names):
            candidate = TASKS[task].candidates[name]
            regrets = list(_regret(_named(by_seed, name)).values())
            summary = bootstrap_mean(regrets)
            color = "tab:red" if candidate.is_false else "tab:blue"
            color = "0.45" if candidate.is_rival else color
            axis.plot(regrets, [y] * len(regrets), "o", color=color, alpha=0.3, ms=4)
            axis.plot([summary.low, summary.high], [y, y], color=color, linewidth=2)
            axis.plot(summary.mean, y, "D", color=color, ms=6)
            taken = ", ".join(
                f"{rule} {sum(row['candidate'] == name for row in choices.values())}"
                for rule, choices in picks.items()
                if any(row["candidate"] == name for row in choices.values())
            )
            axis.annotate(
                taken,
                (1.01, y),
                xycoords=("axes fraction", "data"),
                fontsize=7,
                va="center",
            )
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.grid(axis="x", color="0.92")
        axis.tick_params(axis="x", labelsize=7)
        seeds = f"{len(by_seed)} seed{'s' if len(by_seed) > 1 else ''}"
        axis.set_title(f"{_where(task, fraction)}, {seeds}", fontsize=9)
    axes[-1].set_xlabel(
        "true regret, clicks (blue: true, red: false, grey: not a choice); on the right, "
        "how many logs each rule takes it on",
        fontsize=8,
    )
    write_png(path, figure)
