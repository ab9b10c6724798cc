"""What a log says of statements, trainings and policies: sections of a report."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from .._util.packages import new_figure
from ..evidence import PolicyReport
from .learning import Learned
from .page import (
    COLOURS,
    PICTURE,
    beside,
    between,
    details,
    paragraph,
    picture,
    short,
    table,
    text,
)
from .preparation import NUMBER, Field

# A number in the name of a region.
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


def checks(learned: Learned) -> str:
    """Each stated shape: verdict, explanation, picture."""
    intro = "Each statement is tested on the rows to learn from, level by level."
    if len(learned.checks) > 1 and learned.shape:
        intro += f" Taken is {learned.shape}, which has the least held-out loss."
    found = [paragraph(intro, "soft")]
    fields = learned.log.preparation.fields
    for name, one in learned.checks.items():
        if one is None:
            found += [f"<h3>{text(name)}</h3>"]
            found.append(paragraph("Nothing is stated that a log could contradict."))
            continue
        tone = {"rejected": "bad", "not rejected": "good"}.get(one.verdict, "unsure")
        badge = f'<span class="badge {tone}">{text(one.verdict)}</span>'
        said = _in_units(one.explanation, fields)
        found += [f"<h3>{text(name)} {badge}</h3>", paragraph(said)]
        figure = one.plot()
        for panel in figure.axes:
            panel.set_title(_in_units(panel.get_title(), fields), fontsize=8)
        alt = f"Estimated means by action, for {name}, in regions of contexts"
        found.append(picture(figure, alt))
        if one.advice:
            lines = (_in_units(line, fields) for line in one.advice)
            advice = "".join(f"<li>{text(line)}</li>" for line in lines)
            found.append(details("What to try next", f"<ul>{advice}</ul>"))
    return "".join(found)


def _in_units(words: str, fields: Sequence[Field]) -> str:
    """Names of regions, which are of standardised features, in units of the columns."""
    for field in fields:
        if field.kind == NUMBER:

            def own(found: re.Match[str], field: Field = field) -> str:
                low, sign, high = (
                    one
                    if one is None or one in "<=>"
                    else f"{field.mean + field.std * float(one):.4g}"
                    for one in found.groups()
                )
                return f"{low} < " * bool(low) + f"{field.column} {sign} {high}"

            name = rf"(?<!\w){re.escape(field.column)} (<=|>|=) ({_NUMBER})"
            words = re.sub(rf"(?:({_NUMBER}) < )?{name}", own, words)
    return words


def training(learned: Learned) -> str:
    """How the number of steps was found."""
    stopping = learned.stopping
    steps = learned.policy.algo.grad_step
    if stopping is None:
        asked = ", as was asked for" * (steps == learned.log.spec.steps)
        return paragraph(f"It was trained for {steps:,} steps{asked}.")
    said = (
        f"It was trained for {steps:,} steps with the settings {stopping.name}, which "
        "have the least loss on parts of the log that were kept out of these trainings."
    )
    figure = new_figure(PICTURE, 3.2)
    panel = figure.subplots()
    for i, (name, means) in enumerate(zip(stopping.names, stopping.means, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        panel.plot(stopping.steps, means, color=colour, lw=1.6, label=short(name, 48))
        least = int(means.argmin())
        panel.plot(stopping.steps[least], means[least], "o", color=colour, ms=5)
    # Networks that have just begun would hide all others.
    low, middle = stopping.means.min(), np.median(stopping.means)
    high = min(stopping.means.max(), low + 4.0 * (middle - low))
    if high > low:
        panel.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_xticks(stopping.steps[:: 2 if len(stopping.steps) > 4 else 1])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("steps")
    panel.set_ylabel("held-out loss")
    panel.grid(alpha=0.25)
    figure.legend(loc="outside lower center", fontsize=8)
    rows = [
        [f"{step:,}", *(f"{mean:.5f}" for mean in stopping.means[:, t])]
        for t, step in enumerate(stopping.steps.tolist())
    ]
    dropped = ""
    if stopping.dropped:
        dropped = paragraph(f"Dropped early: {'; '.join(stopping.dropped)}.", "soft")
    words = paragraph(said) + dropped
    words += details("All losses", table(["steps", *stopping.names], rows))
    alt = "Held-out losses by steps of training, a line for each setting"
    return beside(words, picture(figure, alt))


def comparison(learned: Learned) -> str:
    """Values of all policies."""
    comparison = learned.comparison
    logger = comparison.logger
    value = between(logger.value, logger.lower, logger.upper)
    bounded = any(one.bounds is not None for one in comparison.policies)
    rows = [["logger", "", value, "", *[""] * bounded, "", ""]]
    for one in comparison.policies:
        found, support = one.estimate, one.estimate.support
        rows.append(
            [
                one.name,
                "; ".join(one.problems) or ("better" if one.better else "not shown"),
                between(found.value, found.lower, found.upper),
                between(one.lift, one.lift_lower, one.lift_upper),
                *_proven(one, bounded),
                f"{one.changed:.1%}",
                "" if support is None else f"{support.effective:,.0f}",
            ]
        )
    level = f"{logger.level:.0%} interval"
    head = ["policy", "better?", f"value, {level}", f"gain, {level}"]
    head += ["proven by the shape"] * bounded + ["changed"]
    figure = comparison.plot()
    (axes,) = figure.axes
    names = [
        one.name if one.supported else f"{one.name}\nlacks support"
        for one in comparison.policies[::-1]
    ]
    axes.set_yticks(axes.get_yticks(), names)
    axes.set_xlim(*_readable(learned))
    axes.set_xlabel("mean reward per decision; grey: the logger")
    figure.set_size_inches(PICTURE, figure.get_figheight())
    proof = (
        " What the shape proves needs no model of rewards to be right, and holds where "
        "nothing was logged too."
    )
    words = paragraph(comparison.explanation) + paragraph(
        "All are judged by the same held-out decisions, from which none of them learned. "
        "A value is the mean reward of a decision, doubly robust; changed is the share "
        "of decisions that would be other ones. Intervals that go on beyond the picture "
        "lack support in the log." + proof * bounded,
        "soft",
    )
    alt = "Values of the policies with intervals; a grey band is the logger's"
    pair = beside(words, picture(figure, alt))
    return pair + table([*head, "effective rows"], rows, words=2)


def _proven(one: PolicyReport, bounded: bool) -> list[str]:
    """A cell of the table, if any policy has bounds."""
    if one.bounds is None:
        return [""] * bounded
    total = one.bounds.total
    ends = ["" if math.isinf(end) else f"{end:.4g}" for end in (total.lower, total.upper)]
    words = f"{ends[0] or 'nothing'} to {ends[1] or 'nothing'}"
    return [words if any(ends) else "nothing"]


def _readable(learned: Learned) -> tuple[float, float]:
    """Ends of an axis that shows every value, and intervals that say something."""
    found = [
        learned.comparison.logger,
        *(p.estimate for p in learned.comparison.policies),
    ]
    values = [one.value for one in found if math.isfinite(one.value)]
    spread = max(np.ptp(values), 1e-9)
    ends = [
        end
        for one in found
        for end in (one.lower, one.upper)
        if math.isfinite(end) and one.upper - one.lower < 6.0 * spread
    ]
    low, high = min(values + ends), max(values + ends)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room
