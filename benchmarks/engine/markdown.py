"""Reports in Markdown: tables, lists, and words for comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy import stats

from .intervals import CONFIDENCE, MIN_SEEDS, Interval, bootstrap_mean
from .rows import Rows, by_seed


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], align: str = ""
) -> str:
    """A table; ``align`` has ``l`` or ``r`` for each column; ``None`` is left empty."""
    rules = ["---:" if side == "r" else "---" for side in align.ljust(len(head), "l")]
    lines = [head, rules, *rows]
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |"
        for line in lines
    )


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines if line)


def section(heading: str, *parts: str, level: int = 2) -> str:
    """A heading and what stands under it; empty if all parts are."""
    shown = [part for part in parts if part]
    return "\n\n".join([f"{'#' * level} {heading}", *shown]) if shown else ""


def interval(values: Mapping[int, float] | Sequence[float], digits: int) -> str:
    """Mean and interval of figures by seed; empty if there are none."""
    return bootstrap_mean(values).format(digits) if len(values) else ""


def figures(rows: Rows, shown: Iterable[tuple[str, str, int]], **where: Any) -> list[str]:
    """Cells of a line: means and intervals of columns (with heading and digits)."""
    return [interval(by_seed(rows, name, **where), digits) for name, _, digits in shown]


def percent(part: float) -> str:
    """A share, as ``6.25 %``."""
    return f"{100.0 * part:.4g} %"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def share(hits: Iterable[bool]) -> str:
    """The share of hits, with its 95 % Clopper-Pearson interval."""
    found = list(hits)
    ends = stats.binomtest(sum(found), len(found)).proportion_ci(CONFIDENCE)
    return f"{sum(found) / len(found):.3f} [{ends.low:.3f}, {ends.high:.3f}]"


def said(
    difference: Interval,
    below: str = "is below",
    above: str = "**is above**",
    same: str = "**cannot be told from**",
    few: str = "with too few seeds to tell, stands beside",
    least: int = MIN_SEEDS,
) -> str:
    """Words for a paired difference, by where its interval lies."""
    if difference.seeds < least:
        return few
    if difference.high < 0.0:
        return below
    return above if difference.low > 0.0 else same
