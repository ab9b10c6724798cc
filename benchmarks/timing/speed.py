"""``python -m benchmarks speed``: training, loading and stepping, timed in one run."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import write_rows, write_text
from . import env as speed_env
from . import fit as speed_fit
from . import load as speed_load
from .speed_plot import plot_speed

__all__ = ["PARTS", "Target", "run_speed", "speed_report", "targets"]

PARTS = ("fit", "load", "env")
HUGE_TEXT = f"{speed_load.HUGE:,} impressions"

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure to be reached.

    Args:
        name: what is compared.
        measured: the figure, ``nan`` if it was not measured.
        bound: what it is to be.
        at_least: whether larger is better.
    """

    name: str
    measured: float
    bound: float
    at_least: bool

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        if math.isnan(self.measured):
            return "not measured"
        above = self.measured >= self.bound
        return "reached" if above == self.at_least else "missed"


def run_speed(
    out: pathlib.Path,
    parts: Sequence[str] = PARTS,
    quick: bool = False,
    huge: bool = False,
) -> None:
    """Measures, and writes ``speed.md``, ``speed.png`` and a CSV for each part.

    Args:
        out: folder of results, and of the logs while they are measured.
        parts: which of ``PARTS``.
        quick: everything at toy size.
        huge: also 100 million impressions; 3 GB of disk, minutes.
    """
    from tqdm.auto import tqdm

    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {}
    with tqdm(desc="speed", unit=" measurements", leave=False) as bar:

        def show(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        measures: dict[str, Callable[[], list[Row]]] = {
            "fit": lambda: speed_fit.measure_fit(quick, show),
            "load": lambda: speed_load.measure_load(quick, out, show),
            "env": lambda: speed_env.measure_env(quick, show),
        }
        for part in parts:
            rows[part] = measures[part]()
        if huge:
            rows["huge"] = speed_load.measure_huge(out, show)
    for part, measured in rows.items():
        write_rows(out / f"speed-{part}.csv", list(measured[0]), measured)
    write_text(out / "speed.md", speed_report(rows))
    plot_speed(rows, out / "speed.png")


# -- figures -----------------------------------------------------------------


def _by_round(rows: Sequence[Row], field: str, **where: Any) -> dict[int, float]:
    chosen = [r for r in rows if all(r[k] == v for k, v in where.items())]
    return {int(r["round"]): float(r[field]) for r in chosen}


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _ratio(first: dict[int, float], second: dict[int, float]) -> list[float]:
    return [first[turn] / second[turn] for turn in first if turn in second]


def _fit_ratio(
    rows: Sequence[Row], first: tuple[str, str], second: tuple[str, str]
) -> float:
    """Median over rounds, of a step of one in units of the other's, 64x64, batch 256."""
    pair = [
        _by_round(
            rows,
            "seconds_per_step",
            algorithm=name,
            buffer=buffer,
            hidden="64x64",
            batch=256,
        )
        for name, buffer in (first, second)
    ]
    return _median(_ratio(*pair))


def targets(rows: dict[str, list[Row]]) -> list[Target]:
    """Every target with what was measured."""
    fit, load, env = (rows.get(part, []) for part in PARTS)
    ours = (speed_fit.OURS, "ours")

    def opened(kind: str, field: str) -> dict[int, float]:
        return _by_round(load, field, kind=kind, impressions=speed_load.FULL)

    opening = f"opening {speed_load.FULL:,} impressions"
    theirs = speed_load.THEIRS, speed_load.OURS
    times = _ratio(*(opened(kind, "seconds") for kind in theirs))
    memory = [_median(list(opened(kind, "peak_bytes").values())) for kind in theirs]
    batched = _by_round(
        env,
        "impressions_per_second",
        environment=speed_env.BATCHED,
        num_envs=4096,
        horizon=1000,
    )
    found = [
        Target(
            "a step of ours / of stock DiscreteCQL",
            _fit_ratio(fit, ours, ("DiscreteCQL", "d3rlpy's")),
            1 / 3,
            False,
        ),
        Target(
            "a step of ours / of the bare loop",
            _fit_ratio(fit, ours, (speed_fit.FLOOR, "none")),
            1.5,
            False,
        ),
        Target(
            "DQN on d3rlpy's buffer / on ours",
            _fit_ratio(fit, ("DQN", "d3rlpy's"), ("DQN", "ours")),
            3.5,
            True,
        ),
        Target(
            f"{opening}: Minari + d3rlpy / ours (time)",
            _median(times),
            50.0,
            True,
        ),
        Target(
            f"{opening}: Minari + d3rlpy / ours (peak memory)",
            memory[0] / max(memory[1], 1.0),
            10.0,
            True,
        ),
        Target(
            "million impressions a second, 4,096 environments, horizon 1,000",
            _median(list(batched.values())) / 1e6,
            50.0,
            True,
        ),
    ]
    for row in rows.get("huge", []):
        if row["kind"] in ("arrow, reopened", "parquet, reopened"):
            name = f"{HUGE_TEXT}, {row['kind']}"
            found.append(Target(f"{name}: seconds", row["seconds"], 2.0, False))
        if row["kind"] in ("arrow, train", "parquet, train"):
            name = f"{HUGE_TEXT}, {row['kind']}ing"
            gib = row["peak_bytes"] / 2**30
            found.append(Target(f"{name}: peak anonymous GiB", gib, 1.0, False))
    return found


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log value against log size; ``nan`` for fewer than two sizes."""
    if len(set(sizes)) < 2 or min(values) <= 0.0:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


# -- report ------------------------------------------------------------------


def speed_report(rows: dict[str, list[Row]]) -> str:
    """Targets, then a table for each part, in Markdown."""
    lines = [
        "# Speed",
        "",
        f"One run on {platform.machine()}, Python {platform.python_version()}, PyTorch "
        "with one thread.  Medians over rounds in which everything is timed in turn; "
        "the smallest and largest round in brackets.",
        "",
        "| Target | Measured | To reach | |",
        "| --- | ---: | ---: | --- |",
    ]
    for target in targets(rows):
        sign = ">=" if target.at_least else "<="
        lines.append(
            f"| {target.name} | {target.measured:.3g} | {sign} {target.bound:.3g} "
            f"| {target.verdict} |"
        )
    tables = {
        "fit": _fit_table,
        "load": _load_table,
        "huge": _huge_table,
        "env": _env_table,
    }
    for part, table in tables.items():
        if rows.get(part):
            lines += ["", *table(rows[part])]
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], factor: float, digits: int = 3) -> str:
    middle, low, high = (f * factor for f in (_median(values), min(values), max(values)))
    if len(values) == 1:
        return f"{middle:.{digits}g}"
    return f"{middle:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"


def _distinct(rows: Sequence[Row], *fields: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(row[f] for f in fields) for row in rows))


def _fit_table(rows: Sequence[Row]) -> list[str]:
    shapes = _distinct(rows, "hidden", "batch")
    heads = [f"{hidden}, batch {batch:,}" for hidden, batch in shapes]
    lines = [
        "## Milliseconds for a step of `fit`",
        "",
        f"| Algorithm | Buffer | {' | '.join(heads)} |",
        f"| --- | --- | {' | '.join('---:' for _ in heads)} |",
    ]
    for name, buffer in _distinct(rows, "algorithm", "buffer"):
        cells = []
        for hidden, batch in shapes:
            found = _by_round(
                rows,
                "seconds_per_step",
                algorithm=name,
                buffer=buffer,
                hidden=hidden,
                batch=batch,
            )
            cells.append(_spread(list(found.values()), 1e3))
        lines.append(f"| {name} | {buffer} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "The bare loop does the arithmetic of `ConstraintAwareQ` on tensors that are "
        "drawn beforehand: no sampling, no d3rlpy, no logging.",
    ]


def _load_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Opening a log",
        "",
        "Each in a process of its own, imports not counted.  Memory is anonymous "
        "(RssAnon above what the process had before, sampled every 10 ms), while opening "
        "and drawing 100 batches of 256.",
        "",
        "| | Impressions | Seconds | Peak MB | Kept MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        sizes, seconds, peaks = [], [], []
        for (size,) in _distinct(rows, "impressions"):
            found = {
                field: list(_by_round(rows, field, kind=kind, impressions=size).values())
                for field in ("seconds", "peak_bytes", "kept_bytes")
            }
            sizes.append(size)
            seconds.append(_median(found["seconds"]))
            peaks.append(_median(found["peak_bytes"]))
            lines.append(
                f"| {kind} | {size:,} | {_spread(found['seconds'], 1.0)} "
                f"| {_spread(found['peak_bytes'], 1e-6)} "
                f"| {_spread(found['kept_bytes'], 1e-6)} |"
            )
        lines.append(
            f"| {kind}, growth exponent | | {growth_exponent(sizes, seconds):.2f} "
            f"| {growth_exponent(sizes, peaks):.2f} | |"
        )
    return lines


def _huge_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        f"## {HUGE_TEXT}",
        "",
        "Opened as a bandit log, then 200 steps of `ConstraintAwareQ.fit`.  The first "
        "opening examines Arrow files and converts Parquet files.",
        "",
        "| | Seconds to open | Peak anonymous MB, training included |",
        "| --- | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['kind']} | {row['seconds']:.3g} | {row['peak_bytes'] / 1e6:.3g} |"
        )
    return lines


def _env_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Impressions a second",
        "",
        "Real impressions on one core; slots of a reset are not counted, actions are "
        "drawn beforehand.",
        "",
        "| | Environments | Horizon | Autoreset | Million a second | ns each |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    keys = ("environment", "num_envs", "horizon", "autoreset")
    for values in _distinct(rows, *keys):
        found = _by_round(
            rows, "impressions_per_second", **dict(zip(keys, values, strict=True))
        )
        rates = list(found.values())
        name, count, horizon, mode = values
        lines.append(
            f"| {name} | {count:,} | {horizon:,} | {mode} | {_spread(rates, 1e-6)} "
            f"| {1e9 / _median(rates):.3g} |"
        )
    sizes, rates = [], []
    for row in rows:
        if row["environment"] == speed_env.BATCHED and row["horizon"] == 1000:
            sizes.append(float(row["num_envs"]))
            rates.append(float(row["impressions_per_second"]))
    exponent = growth_exponent(sizes, rates) if sizes else math.nan
    return [
        *lines,
        "",
        f"Growth exponent of the rate in the number of environments (horizon 1,000): "
        f"{exponent:.2f}.",
    ]
