"""``python -m benchmarks shapes``: what a projection costs, and whether it is right."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from ..engine import write_rows, write_text
from .projections_measure import COLUMNS, FULL, QUICK, Growth, Plan, measure_methods
from .projections_plot import plot_shapes
from .projections_problems import SHAPES
from .projections_report import About, shapes_report
from .projections_update import measure_updates
from .rivals_client import Rivals

__all__ = ["run_shapes"]

Row = dict[str, Any]


def run_shapes(
    out: pathlib.Path,
    quick: bool = False,
    rivals_python: str | None = None,
    command: str = "python -m benchmarks shapes",
    plan: Plan | None = None,
) -> None:
    """Measures, and writes ``shapes.csv``, ``shapes.md`` and ``shapes.png``.

    Args:
        out: folder of results; nothing is written before all is measured.
        quick: toy rounds, which the report says.
        rivals_python: interpreter of an environment with the rivals.
        command: what the report says it was.
        plan: how much is measured, if neither the full plan nor the quick one.

    Raises:
        RivalsPythonError: ``rivals_python`` is no interpreter with torch and numpy.
    """
    import torch

    plan = plan or (QUICK if quick else FULL)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Rivals(rivals_python) as rivals:
            rows = _measured(plan, rivals)
            versions = rivals.versions
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None
    finally:
        torch.set_num_threads(before)
    write_rows(out / "shapes.csv", COLUMNS, rows)
    write_text(out / "shapes.md", shapes_report(rows, About(command, plan, versions)))
    plot_shapes(rows, out / "shapes.png")


def _measured(plan: Plan, rivals: Rivals) -> list[Row]:
    """Rows of every measurement."""
    from tqdm.auto import tqdm

    measures: dict[str, Callable[[], list[Row]]] = {}
    for size in plan.sizes:
        for shape in SHAPES:
            measures[f"{shape}, K = {size}"] = functools.partial(
                measure_methods, shape, size, plan, rivals
            )
    growth = Growth(plan)
    for size in plan.growth:
        measures[f"growth, K = {size}"] = functools.partial(growth.measure, size)
    measures["updates"] = functools.partial(measure_updates, plan)
    rows: list[Row] = []
    with tqdm(total=len(measures), desc="shapes", unit="problem", leave=False) as bar:
        for title, measure in measures.items():
            bar.set_postfix_str(title)
            rows += measure()
            bar.update()
    return rows
