"""Logs in Parquet, Arrow and Feather files."""

from __future__ import annotations

import itertools
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from d3rlpy.constants import ActionSpace

from icac_algo import ColumnarReplayBuffer

ROWS = 1000
BANDIT: dict[str, Any] = {"observation": ["x", "c"], "action": "bid", "reward": "profit"}
CAMPAIGNS = {**BANDIT, "episode": "campaign", "terminal": "over"}
FORMATS = [".parquet", ".arrow", ".feather", "chunked.arrow", "compressed.arrow"]


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ICAC_CACHE", str(folder))
    return folder


def columns(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    over = np.zeros(rows, dtype=bool)
    over[49::100] = True
    return {
        "x": rng.random(rows, dtype=np.float32),
        "c": rng.random(rows),
        "bid": rng.integers(0, 5, rows).astype(np.int8),
        "profit": rng.normal(size=rows),
        "propensity": rng.uniform(0.1, 1.0, rows),
        "campaign": np.arange(rows) // 50,
        "over": over,
    }


def write(path: pathlib.Path, data: dict[str, Any]) -> pathlib.Path:
    """By the name's ending: one batch or several, compressed or not."""
    table = pa.table(data)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    elif path.suffix == ".feather":
        # pandas and pyarrow compress Feather files unless they are told not to.
        pyarrow.feather.write_feather(table, str(path))
    else:
        rows = 70 if "chunked" in path.name else len(table)
        compression = "zstd" if "compressed" in path.name else None
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=rows)
    return path


def shards(folder: pathlib.Path, data: dict[str, Any], name: str) -> pathlib.Path:
    """In three files of uneven size; the second is empty."""
    cuts = [0, 420, 420, len(data["x"])]
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        write(folder / f"part-{i}-{name}", {k: v[a:b] for k, v in data.items()})
    return folder


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def open_log(files: Any, **arguments: Any) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_parquet(files, show_progress=False, **arguments)


# -- the same log, whatever the files ----------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sharded", [False, True])
def test_files_hold_what_arrays_hold(
    name: str, sharded: bool, tmp_path: pathlib.Path
) -> None:
    data = columns()
    folder = tmp_path / "log"
    path = shards(folder, data, name) if sharded else write(folder / f"log{name}", data)
    before = contents(folder)
    observations = np.stack([data["x"], data["c"]], axis=1)
    timeouts = np.zeros(ROWS, dtype=bool)
    timeouts[99::100] = True
    marks = {"terminals": data["over"], "timeouts": timeouts}
    for mapping, flags in ((BANDIT, {}), (CAMPAIGNS, marks)):
        expected = ColumnarReplayBuffer.from_arrays(
            observations, data["bid"], data["profit"], **flags
        )
        first = open_log(path, **mapping, propensity="propensity")
        again = open_log(path, **mapping, propensity="propensity")
        for buffer in (first, again):
            assert buffer.transition_count == expected.transition_count
            assert buffer.dataset_info == expected.dataset_info
            np.random.seed(0)  # noqa: NPY002
            batch = buffer.sample_transition_batch(300)
            np.random.seed(0)  # noqa: NPY002
            other = expected.sample_transition_batch(300)
            for field in ("observations", "actions", "rewards", "next_observations"):
                assert np.array_equal(getattr(batch, field), getattr(other, field))
            assert np.array_equal(batch.terminals, other.terminals)
            arrays = buffer.to_arrays()
            assert np.array_equal(arrays["observations"], observations)
            assert np.array_equal(arrays["extras"]["propensity"], data["propensity"])
            episode = buffer.episodes[-1]
            assert np.array_equal(
                episode.observations, expected.episodes[-1].observations
            )
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["log.arrow", "log.parquet"])
def test_trains_and_is_checked(name: str, tmp_path: pathlib.Path) -> None:
    import d3rlpy

    from icac_algo import Concave, ConstraintAwareQConfig

    buffer = open_log(write(tmp_path / name, columns()), **CAMPAIGNS, seed=3)
    algo = ConstraintAwareQConfig(constraint=Concave()).create()
    quiet = d3rlpy.logging.NoopAdapterFactory()
    algo.fit(buffer, n_steps=3, show_progress=False, logger_adapter=quiet)
    assert algo.impl is not None
    assert algo.impl.action_size == 5


def test_parts_are_every_nth_file(tmp_path: pathlib.Path) -> None:
    data = columns()
    folder = tmp_path / "log"
    for i in range(5):
        rows = slice(200 * i, 200 * (i + 1))
        write(folder / f"{i}.arrow", {k: v[rows] for k, v in data.items()})
    parts = [open_log(folder, **BANDIT, part=(i, 2)).to_arrays() for i in range(2)]
    even = np.isin(np.arange(ROWS) // 200, [0, 2, 4])
    for part, own in zip(parts, (even, ~even), strict=True):
        assert np.array_equal(part["rewards"][:, 0], data["profit"][own])


def test_an_empty_part_is_refused(tmp_path: pathlib.Path) -> None:
    folder = shards(tmp_path / "log", columns(), "log.arrow")
    with pytest.raises(ValueError, match="has no rows"):
        open_log(folder, **BANDIT, part=(1, 2))
    with pytest.raises(ValueError, match=r"part must be \(i, n\) .* got \(3, 3\)"):
        open_log(folder, **BANDIT, part=(3, 3))


def test_continuous_actions(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "log.arrow", columns())
    buffer = open_log(path, observation="x", action=["c", "propensity"], reward="profit")
    assert buffer.dataset_info.action_space == ActionSpace.CONTINUOUS
    assert buffer.dataset_info.action_size == 2
    assert buffer.sample_transition_batch(4).observations.shape == (4, 1)


def test_action_size_can_be_stated(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "log.arrow", columns())
    assert open_log(path, **BANDIT, action_size=9).dataset_info.action_size == 9
    with pytest.raises(ValueError, match="actions must be from 0 to 2, got 4"):
        open_log(path, **BANDIT, action_size=3)


@pytest.mark.parametrize("name", ["back.parquet", "back.arrow", "back.feather"])
@pytest.mark.parametrize("kind", ["bandit", "campaigns", "final"])
def test_round_trip_without_loss(name: str, kind: str, tmp_path: pathlib.Path) -> None:
    data = columns(60)
    flags: dict[str, Any] = {}
    if kind != "bandit":
        flags = {"terminals": data["over"], "timeouts": np.arange(60) == 20}
    if kind == "final":
        flags["final"] = np.isin(np.arange(60), [21, 50])
    buffer = ColumnarReplayBuffer.from_arrays(
        np.stack([data["x"], data["c"]], axis=1),
        data["bid"],
        data["profit"],
        extras={"propensity": data["propensity"]},
        action_size=7,
        **flags,
    )
    mapping = buffer.to_parquet(tmp_path / name)
    again = open_log(tmp_path / name, **mapping)
    assert again.dataset_info == buffer.dataset_info
    first, second = buffer.to_arrays(), again.to_arrays()
    for field in ("observations", "actions", "rewards", "terminals", "timeouts", "final"):
        assert first[field].dtype == second[field].dtype
        assert np.array_equal(first[field], second[field]), field
    propensity = second["extras"]["propensity"]
    assert np.array_equal(propensity, data["propensity"])


def test_a_failed_write_leaves_nothing(tmp_path: pathlib.Path) -> None:
    buffer = open_log(write(tmp_path / "log.arrow", columns()), **BANDIT)
    with pytest.raises(ValueError, match="file must end with"):
        buffer.to_parquet(tmp_path / "log.csv")
    pixels = ColumnarReplayBuffer.from_arrays(np.zeros((2, 1, 4, 4)), [0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="observations that are vectors"):
        pixels.to_parquet(tmp_path / "pixels.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "log.arrow"]


# -- memory ------------------------------------------------------------------

MEMORY = """
import sys
from icac_algo import ColumnarReplayBuffer

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

arguments = dict(observation=["x", "c"], action="bid", reward="profit")
arguments |= dict(episode="campaign", terminal="over", show_progress=False)
ColumnarReplayBuffer.from_parquet(sys.argv[1], **arguments)
before = anonymous()
buffer = ColumnarReplayBuffer.from_parquet(sys.argv[1], **arguments)
for _ in range(200):
    buffer.sample_transition_batch(1024)
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", ["log.arrow", "log.parquet"])
def test_values_stay_in_files(name: str, tmp_path: pathlib.Path) -> None:
    """Two million rows are 50 MB; sampling them all over takes a few of its own."""
    path = write(tmp_path / name, columns(2_000_000))
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) < 8_000


# -- the cache ---------------------------------------------------------------


def built_at(cache: pathlib.Path) -> set[tuple[str, int]]:
    entries = list((cache / "tables").glob("*/meta.json"))
    return {(p.parent.name, p.parent.stat().st_ino) for p in entries}


def test_parquet_is_converted_once_and_again_when_it_changes(
    tmp_path: pathlib.Path, cache: pathlib.Path
) -> None:
    data = columns()
    path = write(tmp_path / "log.parquet", data)
    open_log(path, **BANDIT)
    first = built_at(cache)
    open_log(path, **BANDIT)
    assert built_at(cache) == first
    os.utime(path)  # touched, not changed
    open_log(path, **BANDIT)
    assert built_at(cache) == first
    # Other content of the same size, at the same time of change.
    stat = path.stat()
    write(path, {**data, "profit": -data["profit"]})
    assert path.stat().st_size == stat.st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = open_log(path, **BANDIT)
    assert built_at(cache) != first
    assert len(built_at(cache)) == 1
    assert np.array_equal(changed.to_arrays()["rewards"][:, 0], -data["profit"])


def test_an_arrow_file_that_changes_is_examined_again(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "log.arrow", columns())
    assert open_log(path, **CAMPAIGNS).size() == ROWS // 50
    write(path, {**columns(), "campaign": np.arange(ROWS) // 100})
    with pytest.raises(ValueError, match="only on an episode's last step"):
        open_log(path, **CAMPAIGNS)


def test_another_mapping_is_another_entry(
    tmp_path: pathlib.Path, cache: pathlib.Path
) -> None:
    path = write(tmp_path / "log.parquet", columns())
    one = open_log(path, **BANDIT)
    other = open_log(path, **{**BANDIT, "reward": "c"})
    assert len(built_at(cache)) == 2
    assert not np.array_equal(one.to_arrays()["rewards"], other.to_arrays()["rewards"])


def test_a_failed_conversion_leaves_no_entry(
    tmp_path: pathlib.Path, cache: pathlib.Path
) -> None:
    data = columns()
    data["profit"][777] = np.nan
    path = write(tmp_path / "log.parquet", data)
    with pytest.raises(ValueError, match="row 777 has nan"):
        open_log(path, **BANDIT)
    assert list((cache / "tables").iterdir()) == []


def test_a_full_disk_is_noticed_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    path = write(tmp_path / "log.parquet", columns())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"0\.0 MB are needed.* or \$ICAC_CACHE.*cache/tab"):
        open_log(path, **BANDIT)


# -- what is refused ---------------------------------------------------------


def with_null(values: Any, row: int) -> Any:
    return pa.array([*values.tolist()[:row], None, *values.tolist()[row + 1 :]])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"reward": "gain"}, r"log\.\w+ has no column 'gain'; its columns are"),
        ({"x": ["a"] * ROWS}, {}, r"log\.\w+: column 'x' must hold numbers, not string"),
        ({"x": "null"}, {}, r"log\.\w+: column 'x' lacks a value in row 17"),
        ({"profit": "inf"}, {}, r"column 'profit' must be finite, row 500 has inf"),
        ({"bid": "negative"}, {}, r"column 'bid' must be an index of at least 0, row 3 "),
        (
            {"propensity": "zero"},
            {"propensity": "propensity"},
            r"column 'propensity' must be in \(0, 1\], row 9 has 0\.0",
        ),
        (
            {"over": "two"},
            {"terminal": "over"},
            r"column 'over' must be true or false .*2",
        ),
        (
            {"over": "early"},
            {"episode": "campaign", "terminal": "over"},
            r"column 'over' must be set only on an episode's last step, row 5",
        ),
        (
            {"campaign": "back"},
            {"episode": "campaign"},
            r"column 'campaign' must hold an episode's rows one after another, but 0 "
            r"comes back, row 900",
        ),
        ({}, {"observation": []}, "observation must be a column name or a list"),
        ({}, {"observation": ["x", "x"]}, "observation names a column twice"),
        ({}, {"reward": 3}, "reward must be a column name, got 3"),
    ],
)
def test_bad_tables_are_refused_by_file_column_and_row(
    suffix: str,
    change: dict[str, Any],
    arguments: dict[str, Any],
    message: str,
    tmp_path: pathlib.Path,
) -> None:
    data: dict[str, Any] = columns()
    for name, value in change.items():
        values = data[name].copy()
        if value == "null":
            data[name] = with_null(values, 17)
            continue
        if value == "inf":
            values[500] = np.inf
        elif value == "negative":
            values[3] = -1
        elif value == "zero":
            values[9] = 0.0
        elif value == "two":
            values = values.astype(np.int8) * 2
        elif value == "early":
            values[5] = True
        elif value == "back":
            values[900:] = 0
        else:
            values = value
        data[name] = values
    path = write(tmp_path / f"log{suffix}", data)
    with pytest.raises(ValueError, match=message):
        open_log(path, **{**BANDIT, **arguments})


def test_rows_are_counted_in_their_own_file(tmp_path: pathlib.Path) -> None:
    data = columns()
    data["profit"][500] = np.nan
    shards(tmp_path / "log", data, "log.arrow")
    with pytest.raises(ValueError, match=r"part-2-log\.arrow: .* row 80 has nan"):
        open_log(tmp_path / "log", **BANDIT)


def test_files_that_differ_in_type_are_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / "a.arrow", columns())
    write(tmp_path / "log" / "b.arrow", {**columns(), "bid": columns()["campaign"]})
    with pytest.raises(ValueError, match=r"b\.arrow: .*'bid' is int64, but in .*int8"):
        open_log(tmp_path / "log", **BANDIT)


def test_what_is_no_table_is_refused(tmp_path: pathlib.Path) -> None:
    for name in ("log.parquet", "log.arrow"):
        (tmp_path / name).write_text("bid,profit\n1,2\n")
        with pytest.raises(ValueError, match=f"{name} cannot be read as a table"):
            open_log(tmp_path / name, **BANDIT)
    (tmp_path / "log.csv").write_text("bid,profit\n1,2\n")
    with pytest.raises(ValueError, match=r"must end with one of .* got .*log\.csv"):
        open_log(tmp_path / "log.csv", **BANDIT)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_log(tmp_path / "nowhere", **BANDIT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no"):
        open_log(tmp_path / "empty", **BANDIT)


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "log.arrow", columns())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install"):
        open_log(path, **BANDIT)
