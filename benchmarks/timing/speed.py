"""``python -m benchmarks speed``: training, loading and stepping, timed in one run."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import Any

from ..engine import Experiment, Results, register
from ..engine.markdown import section
from ..engine.rows import Rows, by_seed
from ..engine.timing import Target, median, ratio, targets_table
from . import env, fit, scale


def targets(results: Results | Mapping[str, Rows]) -> list[Target]:
    def opened(kind: str, field: str) -> dict[int, float]:
        where: dict[str, Any] = {"kind": kind, "impressions": scale.FULL}
        return by_seed(results["load"], field, "round", **where)

    opening = f"opening {scale.FULL:,} impressions: Minari + d3rlpy / ours"
    times, peaks = (
        [opened(kind, field) for kind in (scale.THEIRS, scale.OURS)]
        for field in ("seconds", "peak_bytes")
    )
    theirs, mine = (median(peak) for peak in peaks)
    large = {"environment": env.BATCHED, "num_envs": 4096, "horizon": 1000}
    batched = by_seed(results["env"], "impressions_per_second", "round", **large)
    million = median(batched) / 1e6
    batch = "million impressions a second, 4,096 environments, horizon 1,000"
    return [
        *fit.targets(results["fit"]),
        Target(f"{opening} (time)", ratio(*times), 50.0, True),
        Target(f"{opening} (peak memory)", theirs / max(mine, 1.0), 10.0, True),
        Target(batch, million, 50.0, True),
    ]


def _sections(results: Results) -> Iterable[str]:
    yield (
        f"One run on {platform.machine()}, PyTorch with one thread.  Medians over "
        "rounds in which everything is timed in turn; the smallest and largest round in "
        "brackets."
    )
    yield section("Verdict", targets_table(targets(results)))
    reports = {"fit": fit.report, "load": scale.report, "env": env.report}
    for name, report in reports.items():
        yield report(results[name]) if results[name] else ""


register(
    Experiment(
        "speed",
        "training, loading and stepping, timed against d3rlpy",
        parts=[fit.FIT, scale.LOAD, env.ENV],
        title="Speed",
        sections=_sections,
        quick={},
        report="speed.md",
    )
)
