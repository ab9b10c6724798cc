"""An experiment as data: what to run and measure, and what to say about it.

``python -m benchmarks NAME`` runs what is missing of its parts, writes a CSV file for
each of them, and makes pictures and report from the CSV files alone; ``--rebuild`` does
only the last.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from .cell import Cell, worded
from .files import write_text
from .markdown import section
from .pictures import write_png
from .rows import Row, Rows, read_rows, write_rows
from .sweep import BrokenCellsError, finished, run_cells


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was asked for."""

    out: pathlib.Path  # folder of results
    seeds: int = 0  # how many, from 0; 0 where an experiment has none
    steps: int = 0  # gradient steps; 0 where an experiment has none
    workers: int = 2  # processes
    ray: str | None = None  # address of a Ray cluster, ``"local"`` to start one
    quick: bool = False  # whether the smallest thing is run that has every path
    parts: tuple[str, ...] = ()  # names of the parts that are run
    command: str = "python -m benchmarks"  # as typed
    #: The experiment's own, also ``settings["name"]``.
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.options[name]


@dataclasses.dataclass(frozen=True)
class Part:
    """One CSV file: cells, and the rows that each of them gives."""

    name: str  # of ``--only``; also the experiment of its cells
    #: Of the file.  Those that are coordinates of a cell need not be in what ``measure``
    #: returns.
    columns: Sequence[str]
    #: What to run, most important first: an early end then loses least.
    cells: Callable[[Settings], Iterable[Cell]] | None = None
    #: Trains or measures one cell; of a module, for it travels to other processes.
    measure: Callable[[Cell], Rows] | None = None
    #: What a cell's rows depend on beside its coordinates: the learner's d3rlpy config,
    #: or several things in a list.
    config: Callable[[Cell], Any] | None = None
    #: Instead of cells, all rows at once, in this process and not kept: for timings and
    #: for what takes seconds.
    compute: Callable[[Settings], Iterable[Row]] | None = None
    learner: str = "learner"  # the column of the learner's name
    arrange: Callable[[Rows], Rows] = list  # sorts or joins the rows of all cells
    file: str = ""  # of the CSV; ``NAME.csv`` if empty
    #: Whether this run needs it, where options decide that.
    planned: Callable[[Settings], bool] = lambda settings: True
    alone: bool = False  # cells are run one at a time, in one process here: for timings

    def path(self, out: pathlib.Path) -> pathlib.Path:
        return out / (self.file or f"{self.name}.csv")

    def plan(self, settings: Settings) -> list[Cell]:
        """Its cells, with all that they depend on."""
        assert self.cells is not None
        return [self.planned_cell(cell) for cell in self.cells(settings)]

    def planned_cell(self, cell: Cell) -> Cell:
        """The cell, with all that its rows depend on."""
        return cell if self.config is None else cell.depending_on(self.config(cell))

    def run(self, settings: Settings) -> Rows:
        """Rows of what is finished and of what is not, which is run."""
        if self.compute is not None:
            return self.arrange(list(self.compute(settings)))
        return self.arrange(
            run_cells(
                self.plan(settings),
                settings.out / "cells",
                1 if self.alone else settings.workers,
                self.measured,
                None if self.alone else settings.ray,
            )
        )

    @property
    def measured(self) -> Callable[[Cell], Rows]:
        """``measure``, with the coordinates of the cell in every row."""
        assert self.measure is not None
        return functools.partial(
            _measured, self.measure, tuple(self.columns), self.learner
        )

    def finished(self, settings: Settings) -> Rows:
        """Rows of what is finished."""
        folder = settings.out / "cells"
        if self.cells is None or not folder.exists():
            return []
        kept = [finished(cell, folder) for cell in self.plan(settings)]
        return self.arrange([row for rows in kept for row in rows or []])


def _measured(
    measure: Callable[[Cell], Rows], columns: tuple[str, ...], learner: str, cell: Cell
) -> Rows:
    known = {learner: cell.learner, "seed": cell.seed, **dict(cell.where)}
    known = {name: worded(value) for name, value in known.items() if name in columns}
    return [{**known, **row} for row in measure(cell)]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where results come from, kept beside them."""

    command: str  # as typed, and what else a reader must know
    date: str  # of the run
    versions: str  # of what results depend on, as a Markdown list

    FILE = "run.json"

    @classmethod
    def now(cls, command: str) -> Origin:
        today = datetime.datetime.now(datetime.timezone.utc)
        return cls(command, f"{today:%Y-%m-%d}", versions())

    @classmethod
    def read(cls, folder: pathlib.Path) -> Origin:
        return cls(**json.loads((folder / cls.FILE).read_text()))

    def write(self, folder: pathlib.Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1)
        write_text(folder / self.FILE, text + "\n")


_PACKAGES = ("torch", "d3rlpy", "gymnasium", "minari", "numpy", "scipy", "scikit-learn")


def versions() -> str:
    """Python and the packages that results depend on, as a Markdown list."""
    lines = [f"- Python {platform.python_version()}, {platform.machine()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"- {package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"- {package} not installed")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Results:
    """The rows of every part that was ever run in a folder, and where they come from."""

    rows: Mapping[str, Rows]
    origin: Origin
    out: pathlib.Path
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __getitem__(self, part: str) -> Rows:
        return list(self.rows.get(part, []))


class Option:
    """A command-line option of one experiment: its name and argparse's arguments."""

    def __init__(self, name: str, **arguments: Any):
        self.name, self.arguments = name, arguments


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A command."""

    name: str  # ``python -m benchmarks NAME``
    help: str  # one line
    parts: Sequence[Part] = ()  # what is run, in this order
    title: str | Callable[[Results], str] = ""  # of the report
    #: What the report says, from the rows alone; empty ones are left out.
    sections: Callable[[Results], Iterable[str]] = lambda results: ()
    #: By file name, from the rows alone; ``None`` where there are none.
    pictures: Mapping[str, Callable[[Results], Figure | None]] = dataclasses.field(
        default_factory=dict
    )
    #: Of ``seeds``, ``steps``, ``workers`` and ``ray``, each of which is an option where
    #: it has a default; of ``out`` where it is not ``runs/NAME``; and of its own options.
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: What ``--quick`` changes of these and of ``options``; no such option if ``None``.
    quick: Mapping[str, Any] | None = None
    options: Sequence[Option] = ()  # its own
    report: str = "report.md"  # name of the report; none is written if empty
    #: Called before anything is run, for ``--tune`` and for checks, which raise
    #: :class:`UsageError`.
    prepare: Callable[[Settings], None] = lambda settings: None
    #: Called after the report is written; returns what is printed.
    finish: Callable[[Results, Settings], str] | None = None


class UsageError(Exception):
    """What was asked for cannot be run; the command line says so and ends with 2."""


#: Every experiment by its name; modules of experiments fill it when they are imported.
EXPERIMENTS: dict[str, Experiment] = {}


def register(experiment: Experiment) -> Experiment:
    EXPERIMENTS[experiment.name] = experiment
    return experiment


def run(experiment: Experiment, settings: Settings) -> str:
    """Runs what is missing, then writes rows, pictures and report; returns what to print.

    Where cells fail the other parts are run and reported before ``BrokenCellsError``.
    """
    experiment.prepare(settings)
    if experiment.parts:
        Origin.now(settings.command).write(settings.out)
    failures: list[tuple[Any, str]] = []
    done = total = 0
    for part in experiment.parts:
        if settings.parts and part.name not in settings.parts:
            continue
        if not part.planned(settings):
            continue
        try:
            rows = part.run(settings)
        except BrokenCellsError as error:
            failures.extend(error.failures)
            done, total = done + error.finished, total + error.total
            continue
        write_rows(part.path(settings.out), part.columns, rows)
    text = _publish(experiment, settings, complete=not failures)
    if failures:
        raise BrokenCellsError(failures, done, total)
    return text


def rebuild(experiment: Experiment, settings: Settings) -> str:
    """Runs nothing: rows from what is finished, pictures and report from the rows."""
    for part in experiment.parts:
        if rows := part.finished(settings):
            write_rows(part.path(settings.out), part.columns, rows)
    if not (settings.out / Origin.FILE).exists() or not any(
        part.path(settings.out).exists() for part in experiment.parts
    ):
        raise UsageError(f"--rebuild needs results in --out, got {settings.out}")
    return _publish(experiment, settings, complete=True)


def _publish(experiment: Experiment, settings: Settings, complete: bool) -> str:
    out = settings.out
    rows = {
        part.name: read_rows(part.path(out))
        for part in experiment.parts
        if part.path(out).exists()
    }
    if not complete and not rows:
        return ""
    origin = Origin.read(out) if experiment.parts else Origin.now(settings.command)
    results = Results(rows, origin, out, settings.options)
    for name, draw in experiment.pictures.items():
        if (figure := draw(results)) is not None:
            write_png(out / name, figure)
    said = f"tables, pictures and raw rows: {out}"
    if experiment.report:
        text = report_of(experiment, results)
        write_text(out / experiment.report, text)
        said = f"{_verdict(text)}\n{said}"
    return said if experiment.finish is None else experiment.finish(results, settings)


def report_of(experiment: Experiment, results: Results) -> str:
    title = experiment.title
    parts = [
        f"# {title if isinstance(title, str) else title(results)}",
        f"`{results.origin.command}`",
        *experiment.sections(results),
        section("Versions", results.origin.versions),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _verdict(report: str) -> str:
    """The section of verdicts of a report, the whole of it if it has none."""
    for part in report.split("\n## "):
        if part.startswith("Verdict"):
            return f"## {part}"
    return report


def keys_of(*columns: str, **listed: Iterable[object]) -> Callable[[Rows], Rows]:
    """Sorts rows, for :class:`Part`'s ``arrange``.

    ``"-column"`` falls; a column that is ``listed`` follows that list.
    """
    orders = {column: list(names) for column, names in listed.items()}

    def place(row: Row, column: str) -> Any:
        name = column.removeprefix("-")
        value = row[name]
        if name in orders:
            return orders[name].index(value)
        return -value if name != column else value

    return lambda rows: sorted(rows, key=lambda row: [place(row, c) for c in columns])
