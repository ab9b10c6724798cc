"""Logs in Parquet, Arrow, Feather and CSV files."""

from __future__ import annotations

import itertools
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from d3rlpy.constants import ActionSpace

from icac_algo import ColumnarReplayBuffer
from icac_algo.data import LogWarning

ROWS = 1000
BANDIT: dict[str, Any] = {"observation": ["x", "c"], "action": "bid", "reward": "profit"}
CAMPAIGNS = {**BANDIT, "episode": "campaign", "terminal": "over"}
FORMATS = [
    ".parquet",
    ".arrow",
    ".feather",
    "chunked.arrow",
    "compressed.arrow",
    ".csv",
    ".tsv.gz",
]


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
    elif ".csv" in path.name or ".tsv" in path.name:
        # With all digits, so that they are the same as floats of 64 bits.
        table = table.set_column(0, "x", table["x"].cast(pa.float64()))
        with pa.output_stream(str(path), compression="detect") as sink:
            tab = "\t" if ".tsv" in path.name else ","
            pa.csv.write_csv(table, sink, pa.csv.WriteOptions(delimiter=tab))
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
            info, known = buffer.dataset_info, expected.dataset_info
            assert info.action_size == known.action_size
            if "sv" not in name:  # Text has no types of 8 or 32 bits.
                assert info == known
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


@pytest.mark.parametrize(
    "name", ["back.parquet", "back.arrow", "back.feather", "back.csv"]
)
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
    assert again.dataset_info.action_size == 7
    first, second = buffer.to_arrays(), again.to_arrays()
    for field in ("observations", "actions", "rewards", "terminals", "timeouts", "final"):
        if not name.endswith(".csv"):
            assert first[field].dtype == second[field].dtype
        assert np.array_equal(first[field], second[field]), field
    propensity = second["extras"]["propensity"]
    assert np.array_equal(propensity, data["propensity"])


def test_a_failed_write_leaves_nothing(tmp_path: pathlib.Path) -> None:
    buffer = open_log(write(tmp_path / "log.arrow", columns()), **BANDIT)
    with pytest.raises(ValueError, match="file must end with"):
        buffer.to_parquet(tmp_path / "log.txt")
    pixels = ColumnarReplayBuffer.from_arrays(np.zeros((2, 1, 4, 4)), [0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="observations that are vectors"):
        pixels.to_parquet(tmp_path / "pixels.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "log.arrow"]


# -- text ----------------------------------------------------------------------------

FLAT: dict[str, Any] = {"observation": ["x"], "action": "a", "reward": "r"}


def text(path: pathlib.Path, content: str | bytes) -> pathlib.Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "x,a,r\n0.5,0,1\n1.5,2,0\n",
        "\ufeffx,a,r\r\n0.5,0,1\r\n1.5,2,0\r\n",
        'r,"x",a,note\n1," 0.5",0,"one, two"\n0,"1.5",2,"three\nfour"\n',
        "x,a,r\n0.5,0,1\n\n1.5,2,0",
    ],
)
def test_text_however_it_is_written(content: str, tmp_path: pathlib.Path) -> None:
    arrays = open_log(text(tmp_path / "log.CSV", content), **FLAT).to_arrays()
    assert arrays["observations"].tolist() == [[0.5], [1.5]]
    assert arrays["actions"].tolist() == [[0], [2]]
    assert arrays["actions"].dtype == np.int64
    assert arrays["rewards"].tolist() == [[1], [0]]


def test_integers_first_and_fractions_much_later_are_floats(
    tmp_path: pathlib.Path,
) -> None:
    rows = 400_000  # More than one block.
    lines = [f"{i},{i % 3},1" for i in range(rows - 1)] + ["0.25,1,0.5"]
    path = text(tmp_path / "log.csv", "\n".join(["x,a,r", *lines]))
    arrays = open_log(path, **FLAT).to_arrays()
    assert arrays["rewards"].dtype == np.float64
    assert arrays["rewards"][:, 0].tolist() == [1.0] * (rows - 1) + [0.5]
    assert arrays["observations"][[7, -1], 0].tolist() == [7.0, 0.25]


def test_words_for_true_and_ids_of_text(tmp_path: pathlib.Path) -> None:
    content = "x,a,r,ep,end\n1,0,1,7,false\n2,1,1,7,TRUE\n3,0,1,b7,0\n"
    buffer = open_log(text(tmp_path / "log.csv", content), **FLAT, episode="ep")
    assert [len(e.rewards) for e in buffer.episodes] == [2, 1]
    terminals = open_log(tmp_path / "log.csv", **FLAT, terminal="end").to_arrays()
    assert terminals["terminals"].tolist() == [False, True, False]


def test_ids_too_long_for_integers_stay_apart(tmp_path: pathlib.Path) -> None:
    ids = ["1234567890123456789012", "1234567890123456789013"]
    content = "x,a,r,ep\n" + "".join(f"1,0,1,{i}\n2,0,1,{i}\n" for i in ids)
    buffer = open_log(text(tmp_path / "log.csv", content), **FLAT, episode="ep")
    assert [len(e.rewards) for e in buffer.episodes] == [2, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,a,r\n1,0,1\n2,,1\n", "column 'a' lacks a value in row 1"),
        ("x,a,r\n1,0,1\n2,0,NA\n", "column 'r' lacks a value in row 1"),
        ('x,a,r\n1,0,1\n2,0,""\n', "column 'r' lacks a value in row 1"),
        ("x,a,r\n1,0,1\n2,0,one\n", "column 'r' must hold numbers, .*row 1 has one"),
        ("x,a,r\n1,0,1\n2,0,inf\n", "column 'r' must be finite, row 1 has inf"),
        ("x,a,r\n1,0,1e39\n", "column 'r' must be finite in float32, row 0 has 1e"),
        ("x,a,r\n1,0,1\n2,-1,1\n", "column 'a' must be from 0 to .*row 1 has -1"),
        (
            "x,a,r\n1,0,0.5\n2,0,9007199254740993\n",
            "column 'r' must hold numbers, .* row 1 has 9007199254740993",
        ),
        ("x,a,r\n", "has no rows"),
        ("x;a;r\n1;0;1\n", r"no column 'x'; its columns are \['x;a;r'\]"),
        ("x,a,r,x\n1,0,1,2\n", "two columns 'x'"),
        ("", r"log\.csv cannot be read as a table"),
        ("x,a,r\n1,0,1\n2,0\n", r"log\.csv cannot be read as a table: .*Row #3"),
        (b"x,a,r\n1,0,1\n\xe92,0,1\n", r"log\.csv cannot be read as a table"),
        (b"x,a,\xe9\n1,0,1\n", r"log\.csv cannot be read as a table"),
        ("x,a,r\n1,0," + "1" * (1 << 23), r"log\.csv cannot be read as a table"),
    ],
)
def test_bad_text_is_refused(
    content: str | bytes, message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        open_log(text(tmp_path / "log.csv", content), **FLAT)
    assert list(tmp_path.glob("cache/tables/*")) == []


# -- one type of all files ------------------------------------------------------------


def one(path: pathlib.Path, **columns: Any) -> pathlib.Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.table({"x": [1.0], "a": [0], "r": [1.0]} | columns), path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_types_are_promoted_over_files(suffix: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "log"
    for name, kind in (("a", "int32"), ("b", "float32"), ("c", "bool"), ("d", "int8")):
        values = np.array([1, 0]).astype(kind)
        write(folder / f"{name}{suffix}", {"x": [1.0, 2.0], "a": [0, 1], "r": values})
    write(folder / f"e{suffix}", {"x": [1.0], "a": np.int8([2]), "r": [0.1]})
    arrays = open_log(folder, **FLAT).to_arrays()
    assert arrays["rewards"][:, 0].tolist() == [1, 0] * 4 + [0.1]
    assert arrays["actions"].dtype == np.int64
    assert arrays["actions"][:, 0].tolist() == [0, 1] * 4 + [2]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_no_integer_is_rounded(suffix: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / f"1{suffix}", {"x": [1.5], "a": [0], "r": [1.0]})
    large = {"x": [2, 2**53 + 1], "a": [0, 0], "r": [1.0, 1.0]}
    path = write(tmp_path / "log" / f"2{suffix}", large)
    with pytest.raises(ValueError, match=rf"{path}: column 'x' .*row 1 has {2**53 + 1}"):
        open_log(tmp_path / "log", **FLAT)
    # Beside a float in the same vector, too.
    both = {**FLAT, "observation": ["x", "r"]}
    with pytest.raises(ValueError, match=rf"{path}: column 'x' .*row 1 has {2**53 + 1}"):
        open_log(path, **both)


def test_ids_of_two_kinds_are_refused(tmp_path: pathlib.Path) -> None:
    one(tmp_path / "log" / "1.parquet", ep=[7])
    one(tmp_path / "log" / "2.parquet", ep=["7"])
    with pytest.raises(ValueError, match=r"2\.parquet: column 'ep' is string, .* int64"):
        open_log(tmp_path / "log", **FLAT, episode="ep")
    one(tmp_path / "log" / "2.parquet", ep=pa.array([2**63], pa.uint64()))
    with pytest.raises(ValueError, match=r"2\.parquet: column 'ep' is uint64"):
        open_log(tmp_path / "log", **FLAT, episode="ep")


@pytest.mark.parametrize(
    "ids",
    [
        [7, 7, 8],
        ["a", "a", "b"],
        pa.array(["a", "a", "b"]).dictionary_encode(),
        np.array(["2026-01-01", "2026-01-01", "2026-01-02"], "datetime64[D]"),
        pa.array([2**63, 2**63, 2**63 + 1], pa.uint64()),
        [1.5, 1.5, 2.5],
    ],
)
def test_ids_of_many_kinds(ids: Any, tmp_path: pathlib.Path) -> None:
    path = one(tmp_path / "log.parquet", x=[1.0] * 3, a=[0] * 3, r=[1.0] * 3, ep=ids)
    buffer = open_log(path, **FLAT, episode="ep")
    assert [len(e.rewards) for e in buffer.episodes] == [2, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ep": [float("nan")]}, "column 'ep' must be finite, row 0 has nan"),
        ({"ep": [[1, 2]]}, "column 'ep' must hold numbers, text or times, not list"),
        ({"ep": [{"k": 1}]}, "column 'ep' must hold numbers, text or times, not struct"),
        ({"r": pa.nulls(1)}, "column 'r' must hold numbers, not null"),
        ({"r": [[1.0]]}, "column 'r' must hold numbers, not list"),
        ({"r": pa.array([1], pa.decimal128(5, 2))}, "'r' must hold numbers, not decimal"),
        ({"r": pa.array([1], pa.timestamp("s"))}, "'r' must hold numbers, not timestamp"),
        ({"r": [1e300]}, "column 'r' must be finite in float32, row 0 has 1e"),
        ({"a": [10**12]}, r"column 'a' must be from 0 to \d+, row 0 has 1000000000000"),
    ],
)
def test_columns_of_other_kinds_are_refused(
    columns: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    path = one(tmp_path / "log.parquet", **({"ep": [1]} | columns))
    with pytest.raises(ValueError, match=rf"log\.parquet: .*{message}"):
        open_log(path, **FLAT, episode="ep")


def test_values_of_a_dictionary_are_numbers(tmp_path: pathlib.Path) -> None:
    coded = pa.array([0.5, 1.5, 0.5]).dictionary_encode()
    path = one(tmp_path / "log.parquet", x=coded, a=[0] * 3, r=[1.0] * 3)
    assert open_log(path, **FLAT).to_arrays()["observations"][:, 0].tolist() == [
        0.5,
        1.5,
        0.5,
    ]


def test_what_is_logged_of_no_step_is_not_judged(tmp_path: pathlib.Path) -> None:
    log = {
        "x": [1.0, 2.0, 3.0],
        "a": [1, 2, 0],
        "r": [1.0, 1.0, 0.0],
        "p": [0.5, 0.5, 0.0],
        "end": [0, 1, 0],
        "last": [0, 0, 1],
    }
    arguments = {**FLAT, "propensity": "p", "terminal": "end", "final": "last"}
    path = write(tmp_path / "log.parquet", log)
    with pytest.warns(LogWarning, match="actions start at 1"):
        assert open_log(path, **arguments).transition_count == 2
    log["p"] = [0.5, 0.0, 0.0]
    with pytest.raises(ValueError, match=r"'p' must be in \(0, 1\], row 1 has 0"):
        open_log(write(path, log), **arguments)


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
    entries = (cache / "tables").glob("*/values-*")
    return {(p.parent.name, p.stat().st_ino) for p in entries}


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
        ({"bid": "negative"}, {}, r"column 'bid' must be from 0 to \d+, row 3 has -1"),
        (
            {"propensity": "zero"},
            {"propensity": "propensity"},
            r"column 'propensity' must be in \(0, 1\], row 9 has 0\.0",
        ),
        (
            {"over": "two"},
            {"terminal": "over"},
            r"column 'over' must be 0 or 1, row 49 has 2",
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


def test_what_is_no_table_is_refused(tmp_path: pathlib.Path) -> None:
    for name in ("log.parquet", "log.arrow"):
        (tmp_path / name).write_text("bid,profit\n1,2\n")
        with pytest.raises(ValueError, match=f"{name} cannot be read as a table"):
            open_log(tmp_path / name, **BANDIT)
    (tmp_path / "log.txt").write_text("bid,profit\n1,2\n")
    with pytest.raises(ValueError, match=r"must end with one of .* got .*log\.txt"):
        open_log(tmp_path / "log.txt", **BANDIT)
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
