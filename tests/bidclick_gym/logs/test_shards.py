"""``write_shards``: whole shards, the same bytes, whatever happens."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet

from bidclick_gym import Auction, BidClickEnv, _optional, simulate_log, write_shards

SMALL: dict[str, Any] = {"impressions": 7_300, "shard_size": 2_000, "seed": 3}
NAMES = [f"shard-{i:05d}.arrow" for i in range(4)]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def read(path: pathlib.Path) -> Any:
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One process, from the first shard to the last."""
    return write_shards(tmp_path_factory.mktemp("log") / "a", workers=1, **SMALL)


def test_the_bytes_do_not_depend_on_the_number_of_workers(
    reference: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    two = write_shards(tmp_path, workers=2, **SMALL)
    assert contents(two) == contents(reference)
    assert sorted(contents(two)) == ["manifest.json", *NAMES]


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_shards_hold_what_simulate_log_gives(format: str, tmp_path: pathlib.Path) -> None:
    folder = write_shards(
        tmp_path, env_id="BidClickMonotone-v0", workers=1, format=format, **SMALL
    )
    auction = Auction(cost_range=(0.05, 0.10))
    campaigns = []
    for i, rows in enumerate((2000, 2000, 2000, 1300)):
        table = read(folder / f"shard-{i:05d}.{format}")
        seed = np.random.SeedSequence(3, spawn_key=(i,))
        log = simulate_log(auction, campaigns=2, seed=seed)
        expected: dict[str, tuple[Any, Any]] = {
            "x": (log.observations[:, :-1, 0], np.float32),
            "c": (log.observations[:, :-1, 1], np.float32),
            "action": (log.actions, np.int8),
            "bid": (np.array(log.bids)[log.actions], np.float32),
            "reward": (log.rewards, np.float32),
            "propensity": (log.propensities, np.float32),
            "click": (log.clicks, np.int8),
        }
        assert table.column_names == [*expected, "campaign"]
        for name, (column, dtype) in expected.items():
            held = table[name].to_numpy()
            assert held.dtype == dtype
            np.testing.assert_array_equal(held, column.reshape(-1)[:rows].astype(dtype))
        assert table["campaign"].type == pa.int32()
        campaigns += table["campaign"].to_pylist()
    assert campaigns == [i // 1000 for i in range(7300)]


def test_a_campaign_replays_in_the_environment(reference: pathlib.Path) -> None:
    table = read(reference / NAMES[1])
    seeds = simulate_log(
        Auction(), campaigns=2, seed=np.random.SeedSequence(3, spawn_key=(1,))
    ).seeds
    env = BidClickEnv(horizon=1000)
    observation, _ = env.reset(seed=int(seeds[1]))
    for row in table.slice(1000, 30).to_pylist():
        assert observation.tolist() == [row["x"], row["c"]]
        observation, reward, _, _, info = env.step(row["action"])
        assert (np.float32(reward), info["click"]) == (row["reward"], row["click"])


def test_an_arrow_shard_is_one_batch_and_can_be_mapped(reference: pathlib.Path) -> None:
    with pa.memory_map(str(reference / NAMES[0])) as source:
        before = pa.total_allocated_bytes()
        reader = pa.ipc.open_file(source)
        assert reader.num_record_batches == 1
        assert reader.get_batch(0).num_rows == 2000
        assert pa.total_allocated_bytes() == before


def test_the_manifest_says_what_made_the_shards(reference: pathlib.Path) -> None:
    manifest = json.loads((reference / "manifest.json").read_text())
    assert manifest["shards"] == [
        {"file": name, "impressions": rows}
        for name, rows in zip(NAMES, (2000, 2000, 2000, 1300), strict=True)
    ]
    assert {name: manifest[name] for name in SMALL} == SMALL
    assert (manifest["env_id"], manifest["format"]) == ("BidClick-v0", "arrow")
    assert list(manifest["columns"]) == read(reference / NAMES[0]).column_names
    assert manifest["bids"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert manifest["cost_range"] == [0.2, 0.4]


def test_only_what_is_missing_is_written_again(
    reference: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    folder = write_shards(tmp_path, workers=1, **SMALL)
    (folder / NAMES[2]).unlink()
    (folder / f".{NAMES[2]}.part").write_bytes(b"half")
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert write_shards(folder, workers=1, **SMALL) == folder
    assert contents(folder) == contents(reference)
    old = {p.name for p in folder.iterdir() if p.stat().st_mtime == 1}
    assert old == {"manifest.json", *NAMES} - {NAMES[2]}


def test_a_shard_that_fails_half_way_has_no_name(
    reference: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batch = pa.RecordBatchFileWriter.write_batch
    batches = 0

    class FailingWriter(pa.RecordBatchFileWriter):  # type: ignore[misc]
        def write_batch(self, *args: Any) -> None:
            nonlocal batches
            batches += 1
            write_batch(self, *args)
            if batches == 3:
                raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pa.ipc, "new_file", FailingWriter)
        with pytest.raises(OSError, match="no space left"):
            write_shards(tmp_path, workers=1, **SMALL)
    held = {p for p in contents(tmp_path) if not p.startswith(".")}
    assert held == {"manifest.json", *NAMES[:2]}
    write_shards(tmp_path, workers=1, **SMALL)
    assert contents(tmp_path) == contents(reference)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_whole_shards(
    workers: int,
    stop: signal.Signals,
    tmp_path: pathlib.Path,
    fresh_environment: dict[str, str],
) -> None:
    out = tmp_path / "log"
    options = f"{str(out)!r}, 200_000_000, shard_size=20_000, workers={workers}"
    script = f"import bidclick_gym; bidclick_gym.write_shards({options})"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=fresh_environment,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C goes to a terminal's whole process group; the kill to the parent alone.
        start_new_session=True,
        # A background job inherits an ignored Ctrl-C, which no terminal would have.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 120.0
        while not list(out.glob("shard-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)
        else:
            process.kill()
        # The workers hold the same pipe: its end says that they have ended, too.
        process.communicate(timeout=120.0)
    written = sorted(out.glob("shard-*"))
    assert 0 < len(written) < 10_000
    assert all(read(path).num_rows == 20_000 for path in written)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 4}, "seed must be 3, which made the shards in .*, got 4"),
        ({"impressions": 8_000}, "impressions must be 7300, .* got 8000"),
        ({"shard_size": 1_000}, "shard_size must be 2000, .* got 1000"),
        ({"format": "parquet"}, "format must be 'arrow', .* got 'parquet'"),
        ({"env_id": "BidClickMonotone-v0"}, "env_id must be 'BidClick-v0', .* got"),
    ],
)
def test_another_log_does_not_go_into_the_same_folder(
    changed: dict[str, Any], message: str, reference: pathlib.Path
) -> None:
    before = contents(reference)
    with pytest.raises(ValueError, match=message):
        write_shards(reference, workers=1, **{**SMALL, **changed})
    assert contents(reference) == before


def test_another_version_does_not_go_on(
    reference: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bidclick_gym.logs.shards.package_version", lambda: "9.9")
    with pytest.raises(ValueError, match=r"version must be .* got '9\.9'"):
        write_shards(reference, workers=1, **SMALL)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("thesis.txt", "x"),
        ("manifest.json", "{}"),
        ("manifest.json", "[1"),
        (NAMES[0], ""),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    name: str, text: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match=f"out must be an empty folder .*{name}"):
        write_shards(tmp_path, workers=1, **SMALL)
    assert contents(tmp_path) == {name: text.encode()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"impressions": 0}, "impressions must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"workers": 0}, "workers must be an integer >= 1, got 0"),
        ({"shard_size": 1_500}, "shard_size must be a multiple of 1000, .* got 1500"),
        ({"shard_size": 0}, "shard_size must be an integer >= 1, got 0"),
        ({"format": "csv"}, r"format must be one of \('arrow', 'parquet'\), got 'csv'"),
        ({"env_id": "Bid-v0"}, "env_id must be one of .*BidClick-v0.* got 'Bid-v0'"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_shards(tmp_path / "log", **{**SMALL, **arguments})
    assert contents(tmp_path) == {}


def test_a_seed_sequence_is_left_as_it_is_and_gives_wide_seeds() -> None:
    sequence = np.random.SeedSequence(0)
    logs = [simulate_log(Auction(), campaigns=20, seed=sequence) for _ in range(2)]
    np.testing.assert_array_equal(logs[0].rewards, logs[1].rewards)
    assert sequence.n_children_spawned == 0
    assert (logs[0].seeds >= 0).all()
    assert logs[0].seeds.max() > 2**40


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: .*bidclick-icac\[tables\]"):
        _optional.import_pyarrow()
    with pytest.raises(ImportError, match="needs pyarrow"):
        write_shards(tmp_path / "log", **SMALL)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"impressions": 10**30},
            r"impressions must be at most 200000000 in .* got 10+$",
        ),
        ({"shard_size": 10**30}, "shard_size must be at most 100000000, got"),
        (
            {"shard_size": 10**8, "impressions": 2**31 * 1000 + 1},
            "impressions must be at most 2147483648000 in",
        ),
    ],
)
def test_too_much_is_refused_at_once(
    options: dict[str, int], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_shards(tmp_path / "out", workers=1, **{**SMALL, **options})
    assert not (tmp_path / "out").exists()
