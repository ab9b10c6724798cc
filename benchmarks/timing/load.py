"""Time and memory to open a log: Minari and d3rlpy against columns.

Each measurement is a process of its own: ``python -m benchmarks.timing.load KIND PATH``
prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine import Part, Settings
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct
from ..engine.timing import growth_exponent, median, showing, spread

THEIRS = "Minari + d3rlpy"
OURS = "Arrow shards, reopened"
FIRST = "Arrow shards, first time"
FROM_MINARI = "from_minari"
KINDS = (THEIRS, FROM_MINARI, FIRST, OURS)
FULL = 10_000_000

DATASET = "speed/logged-v0"
COLUMNS: dict[str, Any] = {
    "observation": ["x", "c"],
    "action": "action",
    "reward": "reward",
    "propensity": "propensity",
    "episode": "campaign",
}


# -- in a process of its own -------------------------------------------------


def anonymous_bytes() -> int:
    """Anonymous memory of this process; pages mapped from files are not in it."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon; this measurement needs Linux")


class _Peak(threading.Thread):
    """Samples anonymous memory every ten milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, anonymous_bytes())

    def stop(self) -> None:
        self._done.set()
        self.join()


def _measure(kind: str, path: str) -> dict[str, Any]:
    # What is imported counts neither as time nor as memory.
    import d3rlpy
    import minari.dataset.minari_storage  # noqa: F401
    import PIL.Image  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import bidclick_gym  # noqa: F401
    import icac_algo.data.files.minari
    import icac_algo.data.files.tables  # noqa: F401
    from icac_algo import ColumnarReplayBuffer

    from ..engine import quiet_logs

    quiet_logs()
    gc.collect()
    before, peak = anonymous_bytes(), _Peak()
    peak.start()
    started = time.perf_counter()
    buffer: Any
    if kind == THEIRS:
        buffer, _ = d3rlpy.datasets.get_minari(DATASET)
    elif kind == FROM_MINARI:
        buffer = ColumnarReplayBuffer.from_minari(DATASET)
    else:
        buffer = ColumnarReplayBuffer.from_parquet(path, show_progress=False, **COLUMNS)
    seconds = time.perf_counter() - started
    for _ in range(100):
        buffer.sample_transition_batch(256)
    peak.stop()
    return {
        "seconds": seconds,
        "kept_bytes": anonymous_bytes() - before,
        "peak_bytes": max(peak.bytes, anonymous_bytes()) - before,
        "transitions": buffer.transition_count,
    }


# -- in the benchmark's ------------------------------------------------------


def _compute(settings: Settings) -> Iterator[Row]:
    """Opens the same kind of log in each way, at growing length."""
    sizes = (10_000, 20_000) if settings.quick else (100_000, 1_000_000, FULL)
    with showing("load") as show:
        for size in sizes:
            yield from _at(size, settings.quick, settings.out, show)


def _at(
    size: int, quick: bool, folder: pathlib.Path, show: Callable[[str], None]
) -> Iterator[Row]:
    from bidclick_gym import write_shards

    place = folder / f"load-{size}"
    # What a killed run left behind.
    shutil.rmtree(place, ignore_errors=True)
    try:
        show(f"writing {size:,} impressions")
        shards = write_shards(place / "shards", size, workers=1)
        _write_minari(place / "minari", size)
        # A first opening can be measured once; the others are cheap to repeat.
        for turn in range(1 if quick or size > 1_000_000 else 3):
            for kind in KINDS:
                show(f"{kind}, {size:,} impressions")
                if kind == FIRST:
                    shutil.rmtree(place / "cache", ignore_errors=True)
                yield {
                    "kind": kind,
                    "impressions": size,
                    "round": turn,
                    **_in_process(kind, shards, place),
                }
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _in_process(kind: str, path: pathlib.Path, place: pathlib.Path) -> dict[str, Any]:
    place = place.resolve()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MINARI_DATASETS_PATH": str(place / "minari"),
        "ICAC_CACHE": str(place / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.timing.load", kind, str(path.resolve())],
        # Benchmarks are not installed: they are found where they lie.
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring {kind!r} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _write_minari(folder: pathlib.Path, size: int) -> None:
    """A log of the same size as campaigns of 1,000 impressions in Minari's HDF5."""
    import gymnasium as gym
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    from bidclick_gym import simulate_log

    # d3rlpy asks for a limit of steps.
    env: Any = gym.make("BidClick-v0", horizon=1000, max_episode_steps=1000)
    place = folder / DATASET
    place.mkdir(parents=True)
    storage = MinariStorage.new(
        place / "data",
        observation_space=env.observation_space,
        action_space=env.action_space,
        env_spec=env.spec,
        data_format="hdf5",
    )
    storage.update_metadata({"dataset_id": DATASET, "minari_version": minari.__version__})
    truncations = np.arange(1000) == 999

    def episodes() -> Iterator[Any]:
        for start in range(0, size // 1000, 100):
            count = min(100, size // 1000 - start)
            log = simulate_log(env.unwrapped.auction, campaigns=count, seed=start)
            for i in range(count):
                yield EpisodeBuffer(
                    id=start + i,
                    observations=log.observations[i],
                    actions=log.actions[i],
                    rewards=log.rewards[i],
                    terminations=np.zeros(1000, dtype=bool),
                    truncations=truncations,
                    infos={"propensity": log.propensities[i]},
                )

    storage.update_episodes(episodes())


_COLUMNS = (
    *("kind", "impressions", "round", "seconds", "kept_bytes", "peak_bytes"),
    "transitions",
)
LOAD = Part("load", _COLUMNS, compute=_compute, file="speed-load.csv")


def report(rows: Rows) -> str:
    lines: list[tuple[str, ...]] = []
    for kind in distinct(rows, "kind"):
        middles: list[list[float]] = []
        sizes = distinct(rows, "impressions")
        for size in sizes:
            found = [
                by_seed(rows, field, "round", kind=kind, impressions=size)
                for field in ("seconds", "peak_bytes", "kept_bytes")
            ]
            middles.append([median(values) for values in found])
            shown = map(spread, found, (1.0, 1e-6, 1e-6))
            lines.append((kind, f"{size:,.0f}", *shown))
        seconds, peaks, _ = zip(*middles, strict=True)
        exponents = (
            f"{growth_exponent(sizes, values):.2f}" for values in (seconds, peaks)
        )
        lines.append((f"{kind}, growth exponent", "", *exponents, ""))
    return section(
        "Opening a log",
        "Each in a process of its own, imports not counted.  Memory is anonymous "
        "(RssAnon above what the process had before, sampled every 10 ms), while opening "
        "and drawing 100 batches of 256.",
        table(["", "Impressions", "Seconds", "Peak MB", "Kept MB"], lines, "lrrrr"),
    )


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:3])))
