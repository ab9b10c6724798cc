"""Time and memory of a log from its files to a policy's value, at growing length.

It is opened by Minari and d3rlpy and as columns, checked, trained on by two processes,
and judged.  Each is a process of its own, which prints one JSON object.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine import Cell, Part, Settings
from ..engine.markdown import section, table
from ..engine.memory import Memory
from ..engine.rows import Row, Rows, distinct, select
from ..engine.timing import growth_exponent, median, spread

THEIRS, FROM_MINARI = "Minari + d3rlpy", "from_minari"
FIRST, OURS = "Arrow shards, first time", "Arrow shards, reopened"
CHECK, TRAIN, JUDGE = "check_prior", "fit, one pass", "estimate"
FULL = 10_000_000

DATASET = "speed/logged-v0"
COLUMNS: dict[str, Any] = {
    **{"observation": ["x", "c"], "action": "action", "reward": "reward"},
    **{"propensity": "propensity", "episode": "campaign", "action_size": 5},
}
_BATCH, _FAR = 4096, 10**10
_FIELDS = ("seconds", "peak_bytes", "kept_bytes")
_COLUMNS = ("kind", "impressions", "round", *_FIELDS, "transitions", "disk_bytes", "said")


# -- in a process of its own -------------------------------------------------


def _measure(kind: str, place: pathlib.Path) -> Row:
    # What is imported counts neither as time nor as memory.
    import d3rlpy
    import minari.dataset.minari_storage  # noqa: F401
    import PIL.Image  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import bidclick_gym  # noqa: F401
    import icac_algo.data.files.minari
    import icac_algo.data.files.tables  # noqa: F401
    from icac_algo.algos.processes import from_all_processes

    from ..engine import quiet_logs

    quiet_logs()
    rank = d3rlpy.distributed.init_process_group("gloo") if kind == TRAIN else 0
    with Memory() as memory:
        started, said = time.perf_counter(), ""
        buffer = _opened(kind, place, rank)
        if kind in _STEPS:
            started = time.perf_counter()
            said = _STEPS[kind](buffer, place)
        seconds = time.perf_counter() - started
        for _ in range(0 if kind in _STEPS else 100):
            buffer.sample_transition_batch(256)
    own = (seconds, memory.peak_bytes, memory.kept_bytes, buffer.transition_count)
    times, *sums = zip(*from_all_processes(own), strict=True)
    # One of all processes speaks.
    row = dict(zip(_COLUMNS[3:7], (max(times), *map(sum, sums)), strict=True))
    return {} if rank else {**row, "said": said}


def _opened(kind: str, place: pathlib.Path, rank: int) -> Any:
    import d3rlpy

    from icac_algo import ColumnarReplayBuffer

    if kind == THEIRS:
        return d3rlpy.datasets.get_minari(DATASET)[0]
    if kind == FROM_MINARI:
        return ColumnarReplayBuffer.from_minari(DATASET)
    several: dict[str, Any] = {"part": (rank, 2), "seed": rank} if kind == TRAIN else {}
    return ColumnarReplayBuffer.from_parquet(place / "shards", **COLUMNS, **several)


def _check(buffer: Any, place: pathlib.Path) -> str:
    from icac_algo import Concave, check_prior

    found = check_prior(buffer, Concave())
    return f"{found.verdict}, {found.steps:,} rows"


def _train(buffer: Any, place: pathlib.Path) -> str:
    import torch
    from d3rlpy.logging import NoopAdapterFactory
    from d3rlpy.models import VectorEncoderFactory

    from icac_algo import Concave, ConstraintAwareQConfig

    encoder = VectorEncoderFactory([64, 64])
    config = ConstraintAwareQConfig(
        constraint=Concave(), batch_size=_BATCH, critic_encoder_factory=encoder
    )
    algo = config.create(device="cpu:0", enable_ddp=True)
    rows = json.loads((place / "shards" / "manifest.json").read_text())["impressions"]
    steps = -(-rows // (2 * _BATCH))
    options = {"show_progress": False, "logger_adapter": NoopAdapterFactory()}
    algo.fit(buffer, n_steps=steps, n_steps_per_epoch=steps, **options)
    if torch.distributed.get_rank() == 0:
        algo.save(str(place / "model.d3"))
    return f"{steps:,} steps"


def _judge(buffer: Any, place: pathlib.Path) -> str:
    import d3rlpy

    from bidclick_gym import Auction, ReturnEvaluator
    from icac_algo.evidence import estimate

    algo = d3rlpy.load_learnable(str(place / "model.d3"), device="cpu:0")
    found = estimate(buffer, algo, as_bandit=True, show_progress=False)["dr"]
    return f"{found.figures}, truth {ReturnEvaluator(Auction())(algo, None):.4f}"


Step = Callable[[Any, pathlib.Path], str]
_STEPS: dict[str, Step] = {CHECK: _check, TRAIN: _train, JUDGE: _judge}


def _write_minari(size: int) -> None:
    import gymnasium as gym

    from bidclick_gym.logs import simulate_log
    from bidclick_gym.logs.minari_files import stored

    # d3rlpy asks for a limit of steps.
    env: Any = gym.make("BidClick-v0", horizon=1000, max_episode_steps=1000)
    log = simulate_log(env.unwrapped.auction, campaigns=size // 1000)
    stored(DATASET, env, (size // 1000, 1000), lambda: log, {}, False)


# -- in the benchmark's ------------------------------------------------------


def _cells(settings: Settings) -> Iterator[Cell]:
    sizes = (10_000, 20_000) if settings.quick else (100_000, 1_000_000, FULL, 10 * FULL)
    for size in sizes:
        # What takes long is measured once.
        rounds = 1 if settings.quick or size >= FULL else 3
        for what in ("open", "use"):
            yield Cell.of("load", what, impressions=size, rounds=rounds)


def _rows(cell: Cell) -> Rows:
    """Opens the same kind of log in each way, or does all that is done with it."""
    from bidclick_gym import write_shards

    size, kinds, found = cell["impressions"], tuple(_STEPS), []
    with tempfile.TemporaryDirectory() as folder:
        place, most = pathlib.Path(folder), min(size // 2, 1_000_000)
        shards = write_shards(place / "shards", size, workers=1, shard_size=most)
        disk = sum(file.stat().st_size for file in shards.iterdir())
        if cell.learner == "open":
            kinds = (THEIRS, FROM_MINARI, FIRST, OURS)[0 if size <= FULL else 2 :]
        if THEIRS in kinds:
            _in_process(str(size), place)
        for turn in range(cell["rounds"]):
            for kind in kinds:
                if kind == FIRST:
                    shutil.rmtree(place / "cache", ignore_errors=True)
                row = _in_process(kind, place)
                found.append({"kind": kind, "round": turn, "disk_bytes": disk, **row})
    return found


def _in_process(kind: str, place: pathlib.Path) -> Row:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MINARI_DATASETS_PATH": str(place / "minari"),
        "ICAC_CACHE": str(place / "cache"),
    }
    several = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    module = ["-m", *(several if kind == TRAIN else []), "benchmarks.timing.scale"]
    done = subprocess.run(
        [sys.executable, *module, kind, str(place)],
        # Benchmarks are not installed: they are found where they lie.
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring {kind!r} failed:\n{done.stderr}")
    return dict(json.loads((done.stdout.splitlines() or ["{}"])[-1]))


LOAD = Part("load", _COLUMNS, _cells, _rows, file="speed-load.csv", alone=True)
_HOW = f"""Each in a process of its own, imports not counted.  Memory is anonymous, above
what the process had before, sampled every 10 ms; opening draws 100 batches of 256, too.
The rest is timed on an open log: `check_prior` of a concave shape; as many draws as rows
by `fit`, batches of {_BATCH:,}, networks of 64x64, in two processes whose memory is added
up; all four estimates of a policy that came out.  On paper each grows on as between its
two largest sizes; [what breaks](../../logs-at-scale.md#at-ten-billion-rows)."""


def report(rows: Rows) -> str:
    lines: list[tuple[str, ...]] = []
    for kind in distinct(rows, "kind"):
        middles, sizes = [], sorted(distinct(select(rows, kind=kind), "impressions"))
        for size in sizes:
            found = select(rows, kind=kind, impressions=size)
            columns = [[row[field] for row in found] for field in _FIELDS]
            middles.append([median(column) for column in columns])
            shown = map(spread, columns, (1.0, 1e-6, 1e-6))
            lines.append((kind, f"{size:,.0f}", *shown, found[0].get("said") or ""))
        pair = np.transpose(middles)[:2]
        figures = [f"{growth_exponent(sizes, values):.2f}" for values in pair]
        lines.append((f"{kind}, growth exponent", "", *figures, "", ""))
        last = [growth_exponent(sizes[-2:], values[-2:]) for values in pair]
        far = pair[:, -1] * (_FAR / sizes[-1]) ** np.array(last) * (1.0, 1e-6)
        figures = [f"{value:.3g}" for value in far]
        files = (found[0].get("disk_bytes") or 0) * _FAR / sizes[-1] / 1e9
        disk = f"{files:,.0f} GB of files" if kind == OURS else ""
        lines.append((f"{kind}, on paper", f"{_FAR:,}", *figures, "", disk))
    head = ["", "Impressions", "Seconds", "Peak MB", "Kept MB", "Found"]
    return section("A log at growing length", _HOW, table(head, lines, "lrrrrl"))


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        _write_minari(int(sys.argv[1]))
    elif row := _measure(sys.argv[1], pathlib.Path(sys.argv[2])):
        print(json.dumps(row))
