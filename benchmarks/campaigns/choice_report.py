"""Choices from the log in words and in a picture: rules against the oracle."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from ..engine.intervals import CONFIDENCE, MIN_SEEDS, paired_difference
from ..engine.markdown import (
    bullets,
    figures,
    interval,
    percent,
    plural,
    said,
    section,
    table,
)
from ..engine.pictures import Line, dots, subplots
from ..engine.rows import Row, Rows, by_seed, distinct, select
from .candidates import DUAL, TASKS
from .choice import LEVEL

#: A choice is as good as the oracle's if it loses at most this share of what is at
#: stake, which is the regret of the worst candidate minus that of the best.
MARGIN = 0.1
#: A false shape taken on more than this share of the logs is too often.
TOO_OFTEN = 0.1
#: The rules of each task: column, and what it is called.  The first is the one that
#: `Selection.best` is without prior checks.
RULES: dict[str, dict[str, str]] = {
    "lambda": {"by_error": "cross-validation", "by_lowest": "lowest held-out error"},
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

#: The row that is chosen on each log, by seed.
Choices = dict[int, Row]


class _Place:
    """The rows of one task at one share of the log, and what is chosen there."""

    def __init__(self, rows: Rows, task: str, fraction: float):
        self.task = task
        self.title = f"{_TITLES[task]}, {percent(fraction)} of the log"
        self.rows = select(rows, task=task, fraction=fraction)
        self.choosable = [row for row in self.rows if row["error"] is not None]
        self.seeds = len(distinct(self.rows, "seed"))
        #: Regret of the worst candidate minus that of the best.
        self.stake = paired_difference(
            _regrets(self.chosen("worst")), _regrets(self.chosen("oracle"))
        )

    @property
    def digits(self) -> int:
        stake = self.stake.mean
        return max(2, min(6, 2 - math.floor(math.log10(stake)))) if stake > 0.0 else 5

    def chosen(self, rule: str) -> Choices:
        """What a rule chooses; ``"oracle"`` and ``"worst"`` are rules."""
        if rule in ("oracle", "worst"):
            pick = min if rule == "oracle" else max
            return {
                int(seed): pick(select(self.choosable, seed=seed), key=_regret)
                for seed in distinct(self.choosable, "seed")
            }
        taken = {int(row["seed"]): row for row in self.choosable if row[rule] == 1}
        return dict(sorted(taken.items()))

    def named(self, name: str) -> Choices:
        return {int(row["seed"]): row for row in select(self.rows, candidate=name)}

    @property
    def best_fixed(self) -> str:
        """The candidate of the lowest mean regret, known only afterwards."""

        def mean(name: str) -> float:
            found = by_seed(self.choosable, "regret", candidate=name)
            return float(np.mean(list(found.values())))

        return str(min(distinct(self.choosable, "candidate"), key=mean))


def _regret(row: Row) -> float:
    return float(row["regret"])


def _regrets(choices: Choices) -> dict[int, float]:
    return {seed: _regret(row) for seed, row in choices.items()}


def _places(rows: Rows) -> list[_Place]:
    tasks = list(TASKS)
    found = distinct(rows, "task", "fraction")
    found.sort(key=lambda key: (tasks.index(key[0]), -key[1]))
    return [_Place(rows, *key) for key in found]


def choice_section(rows: Rows) -> str:
    tables = (
        section(place.title, _choices_table(place), _candidates_table(place), level=3)
        for place in _places(rows)
    )
    steps = ", ".join(
        f"{int(steps):,} on {task}"
        for task, steps in sorted(distinct(rows, "task", "steps"))
    )
    return section(
        "The penalty or the shape chosen from the log",
        bullets(verdicts(rows)),
        "![Regret of the candidates, and what each rule chooses](choice.png)",
        *tables,
        f"""\
A seed draws log, folds and training; candidates are trained on the whole log and their
true regret is exact. Rules see the log alone. *Cross-validation* is
`select_by_bellman_error` on two folds of whole episodes: the first candidate, from the
most constrained to the freest, within one standard error of the lowest held-out error.
*check_prior* takes the most constrained shape that is not rejected at level {LEVEL:g},
*both* what cross-validation takes of those that are not. The *oracle* takes the lowest
true regret on the very log, the *best fixed* is the one candidate that is best on
average. *At stake* is the regret of the worst minus that of the best; a choice is as good
as the oracle's if it loses at most {percent(MARGIN)} of it.""",
        f"""\
The lambdas are those of the paper's soft penalty towards `Concave`: Euclidean proximal
layer, one inner step, spectral normalization, no pull, as in the ablation of lambda; the
critic that is scored and deployed is the proximal one at the final lambda. *Projected* is
the regret of the same networks' exact projection. The *dual update* is the paper's and
is not among the candidates. On campaigns the log is the unpaced one, and candidates are
shapes of a critic of afterstates over the bid and over the budget, of which a concave one
over the budget is nearly true. Gradient steps of each training: {steps}.""",
    )


def verdicts(rows: Rows) -> Iterable[str]:
    for place in _places(rows):
        for rule, name in RULES[place.task].items():
            # Two ways to read one score are one method; the first of them is judged.
            if rule != "by_lowest":
                yield f"{place.title}, {name}: {_against_oracle(place, rule)}"
        if place.task == "lambda":
            words = "cross-validation against the dual update"
            yield f"{place.title}, {words}: {_against_dual(place)}"


def _against_oracle(place: _Place, rule: str) -> str:
    chosen = place.chosen(rule)
    if not chosen:
        return "it was not asked."
    gap = paired_difference(_regrets(chosen), _regrets(place.chosen("oracle")))
    margin = MARGIN * place.stake.mean
    words = "**it cannot be told** whether it is as good as the oracle"
    if gap.seeds < MIN_SEEDS:
        words = "too few seeds to tell"
    elif gap.high <= margin:
        words = "as good as the oracle"
    elif gap.low > margin:
        words = f"loses **more than {percent(MARGIN)}** of what is at stake"
    text = (
        f"{words}. {gap.format(place.digits)} above the oracle's regret, "
        f"{place.stake.format(place.digits)} at stake ({gap.seeds} seeds)."
    )
    if any(c.is_false for c in TASKS[place.task].candidates.values()):
        text += f" On these logs {_false_shapes(chosen)}."
    return text


def _false_shapes(chosen: Choices) -> str:
    taken, count = sum(int(row["is_false"]) for row in chosen.values()), len(chosen)
    word = "a false shape is taken **too often**"
    if taken <= TOO_OFTEN * count:
        word = "a false shape is rarely taken" if taken else "no false shape is taken"
    ends = stats.binomtest(taken, count).proportion_ci(CONFIDENCE)
    return f"{word}: {taken} of {count} [{100 * ends.low:.0f} %, {100 * ends.high:.0f} %]"


def _against_dual(place: _Place) -> str:
    dual, chosen = place.named(DUAL), place.chosen("by_error")
    if not dual or not chosen:
        return "it was not asked."
    gap = paired_difference(_regrets(chosen), _regrets(dual))
    words = said(
        gap,
        "the chosen lambda has less regret",
        "the chosen lambda has **more** regret",
        "**no difference can be told**",
        "too few seeds to tell",
    )
    final = interval([row["final_lambda"] for row in dual.values()], 2)
    return (
        f"{words}. {gap.format(5)} ({gap.seeds} seeds); the dual update ends at lambda = "
        f"{final}."
    )


def _choices_table(place: _Place) -> str:
    oracle = place.chosen("oracle")
    shown: list[tuple[str, Choices]] = [("oracle", oracle)]
    shown += [(name, place.chosen(rule)) for rule, name in RULES[place.task].items()]
    shown += [("best fixed", place.named(place.best_fixed)), (DUAL, place.named(DUAL))]
    shown.append(("worst", place.chosen("worst")))
    lines = []
    for name, choices in shown:
        if choices:
            gap = paired_difference(_regrets(choices), _regrets(oracle))
            same = sum(row is oracle[seed] for seed, row in choices.items())
            false = sum(int(row["is_false"]) for row in choices.values())
            counts = collections.Counter(row["candidate"] for row in choices.values())
            lines.append(
                [
                    name,
                    interval(_regrets(choices), place.digits),
                    gap.format(place.digits),
                    f"{same} of {len(choices)}",
                    f"{false} of {len(choices)}",
                    ", ".join(f"{c} ({n})" for c, n in counts.most_common(3)),
                ]
            )
    head = ["Chosen by", "Regret", "Above the oracle's", "As the oracle", "False", "What"]
    return table(head, lines)


def _candidates_table(place: _Place) -> str:
    columns = (
        # column, heading, digits
        ("regret", "Regret", place.digits),
        ("regret_projected", "Projected", place.digits),
        ("final_lambda", "Final lambda", 2),
        ("error", "Held-out error", 5),
        ("difference", "Above the lowest", 5),
        ("own_error", "Own target", 5),
    )
    lines = []
    for name in distinct(place.rows, "candidate"):
        rows = select(place.rows, candidate=name)
        asked = list(by_seed(rows, "rejected").values())
        lines.append(
            [
                name,
                "**no**" if rows[0]["is_false"] else "yes",
                *figures(rows, columns),
                f"{sum(asked):.0f} of {len(asked)}" if asked else "",
            ]
        )
    headings = [heading for _, heading, _ in columns]
    return table(["Candidate", "True", *headings, "Rejected"], lines)


def draw(rows: Rows) -> Figure:
    """Regret of every candidate, its seeds, and on how many logs each rule takes it."""
    places = _places(rows)
    heights = [len(TASKS[place.task].candidates) + 1.2 for place in places]
    figure, axes = subplots(
        8.6, 0.34 * sum(heights) + 0.5, len(places), height_ratios=heights
    )
    for axis, place in zip(axes[:, 0], places, strict=True):
        dots(axis, [_line(place, n) for n in _names(place)], each_seed=True, marker="D")
        axis.tick_params(axis="x", labelsize=7)
        axis.set_title(f"{place.title}, {plural(place.seeds, 'seed')}", fontsize=9)
    axes[-1, 0].set_xlabel(
        "true regret, clicks (blue: true, red: false, grey: not a choice); on the right, "
        "how many logs each rule takes it on",
        fontsize=8,
    )
    return figure


def _names(place: _Place) -> list[str]:
    return [name for name in TASKS[place.task].candidates if place.named(name)]


def _line(place: _Place, name: str) -> Line:
    candidate = TASKS[place.task].candidates[name]
    colour = "tab:red" if candidate.is_false else "tab:blue"
    taken = {
        label: sum(row["candidate"] == name for row in place.chosen(rule).values())
        for rule, label in {**RULES[place.task], "oracle": "oracle"}.items()
        if rule != "by_lowest"
    }
    return Line(
        name,
        _regrets(place.named(name)),
        "0.45" if candidate.is_rival else colour,
        note=", ".join(f"{label} {count}" for label, count in taken.items() if count),
    )
