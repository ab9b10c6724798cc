"""A table and the same records in JSON, a policy and the same one loaded elsewhere, a
learning and the same one interrupted: equal, bit for bit."""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
import pyarrow.csv  # noqa: E402
import pyarrow.parquet  # noqa: E402

from icac_algo.__main__ import main  # noqa: E402
from icac_algo._util.command_line import exit_status  # noqa: E402
from icac_algo.algos import ConstraintAwareQ  # noqa: E402
from icac_algo.command import folder, learning  # noqa: E402
from icac_algo.command.expressions import Expression  # noqa: E402
from icac_algo.command.log import Log, _held_out  # noqa: E402
from icac_algo.command.policy import Policy  # noqa: E402
from icac_algo.command.preparation import Preparation  # noqa: E402
from icac_algo.command.rivals import TREES, Greedy  # noqa: E402
from icac_algo.command.spec import Spec  # noqa: E402
from icac_algo.command.tables import numbers, read_columns  # noqa: E402

ROOT = pathlib.Path(__file__).parents[3]
ROWS = 160

TEXTS = st.sampled_from(["", "a", "b", "7", "true", "other", "é\U0001f600", "x\ny"])
TIMES = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
NEAR_TIMES = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))
FLOATS = st.floats(-1e6, 1e6)
KINDS: dict[str, tuple[Any, Any]] = {
    "int8": (st.integers(-128, 127), pa.int8()),
    "int64": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "uint64": (st.integers(0, 2**64 - 1), pa.uint64()),
    "float32": (st.floats(-1e6, 1e6, width=32), pa.float32()),
    "float64": (FLOATS, pa.float64()),
    "decimal": (st.decimals(-1000, 1000, places=2), pa.decimal128(9, 2)),
    "bool": (st.booleans(), pa.bool_()),
    "text": (TEXTS, pa.string()),
    "large_text": (TEXTS, pa.large_string()),
    "coded_text": (TEXTS, pa.dictionary(pa.int8(), pa.string())),
    "number_id": (st.integers(-3, 3), pa.int32()),
    "category_float": (st.integers(-3, 3).map(float), pa.float64()),
    "category_bool": (st.booleans(), pa.bool_()),
    "category_text": (TEXTS, pa.string()),
    "date": (TIMES.map(datetime.datetime.date), pa.date32()),
    "date64": (TIMES.map(datetime.datetime.date), pa.date64()),
    "time": (TIMES, pa.timestamp("us")),
    "time_ns": (NEAR_TIMES, pa.timestamp("ns")),
    "zoned": (TIMES, pa.timestamp("us", "Europe/Berlin")),
    "zoned_utc": (TIMES, pa.timestamp("ms", "UTC")),
}


def as_json(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_table_and_its_records_have_the_same_features(data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=4))
    names = list(dict.fromkeys(names))
    rows = data.draw(st.integers(3, 30))
    arrays, records = {}, [dict[str, Any]() for _ in range(rows)]
    for name in names:
        values, kind = KINDS[name]
        may_miss = data.draw(st.booleans())
        values = st.one_of(st.none(), values) if may_miss else values
        drawn = data.draw(st.lists(values, min_size=rows, max_size=rows))
        if all(one is None for one in drawn[: rows // 2 + 1]):
            return  # That is refused.
        zone = datetime.timezone.utc if name.startswith("zoned") else None
        for record, one in zip(records, drawn, strict=True):
            record[name] = as_json(one.replace(tzinfo=zone) if zone and one else one)
        arrays[name] = pa.array(drawn, kind)
    table = pa.table(arrays)
    learned = np.arange(rows) <= rows // 2
    categories = [name for name in names if name.startswith("category")]
    # A spread so small that float32 cannot hold what is far from it, or texts that are
    # mostly numbers.
    refused = r"too far from the log|be named in categories"
    try:
        fitted = Preparation.fit(table, names, categories, learned)
        expected = fitted.observations(table)
    except ValueError as error:
        if re.search(refused, str(error)):
            return
        raise
    loaded = Preparation.from_json(json.loads(json.dumps(fitted.to_json())))
    assert loaded == fitted
    for row, record in enumerate(records):
        found = loaded.observation(json.loads(json.dumps(record)))
        # A decimal of Arrow and the same number in JSON may differ by a rounding error.
        np.testing.assert_allclose(
            found[0], expected[row], rtol=1e-6, atol=1e-6, err_msg=str(record)
        )


def test_times_of_any_zone_are_those_of_utc() -> None:
    at = datetime.datetime(2026, 7, 1, 12, 30)
    table = pa.table({"t": pa.array([at] * 3, pa.timestamp("s", "Europe/Berlin"))})
    fitted = Preparation.fit(table, ["t"])
    there = fitted.observation({"t": "2026-07-01T14:30:00+02:00"})
    np.testing.assert_array_equal(there, fitted.observations(table)[:1])
    np.testing.assert_array_equal(
        there, fitted.observation({"t": "2026-07-01T12:30:00Z"})
    )


def test_a_column_that_is_always_the_same_says_nothing() -> None:
    # The spread of many times 0.1 is no zero, but rounding.
    fitted = Preparation.fit(pa.table({"x": [0.1] * 1000}), ["x"])
    assert abs(fitted.observation({"x": 0.2})[0, 0]) < 1.0


def test_a_number_that_is_0_or_1_in_all_rows_only_is_a_flag() -> None:
    table = pa.table({"x": [0, 1] * 20 + [2]})
    fitted = Preparation.fit(table, ["x"], rows=np.arange(41) < 40)
    np.testing.assert_array_equal(
        fitted.observation({"x": 2})[0], fitted.observations(table)[-1]
    )


def test_names_of_features_and_levels_are_different() -> None:
    table = pa.table(
        {"a": ["other", "x"] * 20, "b": [None, 2.0] * 20, "b missing": [3] * 40}
    )
    fitted = Preparation.fit(table, ["a", "b", "b missing"])
    assert len(set(fitted.features)) == fitted.observations(table).shape[1] == 6
    bids = np.tile([0.1, 0.2, 0.3, 0.1 + 0.2], ROWS // 4)
    log = Log.read(Spec(log=(write("log.parquet", bid=bids),), **GIVEN))
    assert log.training.space.levels == (0.1, 0.2, 0.3)


def test_of_an_unknown_condition_nothing_follows() -> None:
    columns = {"won": np.array([1.0, np.nan]), "bid": np.array([2.0, 2.0])}
    with pytest.raises(ValueError, match="first is row 2"):
        Expression("where(won, bid, 0)")(columns, 2)


def columns() -> dict[str, Any]:
    """Every column tells the number of its row."""
    row = np.arange(ROWS)
    rng = np.random.default_rng(0)
    return {
        "row": row.astype(float),
        "device": rng.choice(["phone", "desk"], ROWS).tolist(),
        "size": [None if i % 7 == 0 else float(i % 5) for i in row],
        "bid": 1.0 + row % 3,
        "profit": row + 0.5,
        "chance": (row + 1.0) / 1000.0,
        "user": [f"u{i % 40}" for i in row],
        "at": [datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=7 * int(i))
               for i in rng.permutation(ROWS)],
    }  # fmt: skip


def write(name: str, **changes: Any) -> str:
    table = pa.table({**columns(), **changes})
    if name.endswith(".csv"):
        pyarrow.csv.write_csv(table, name)
    else:
        pyarrow.parquet.write_table(table, name)
    return name


GIVEN: dict[str, Any] = {
    "observe": ("row", "device", "size", "at"), "act": "bid", "reward": "profit"
}  # fmt: skip
SPLITS: list[dict[str, Any]] = [
    {},
    {"episode": "user"},
    {"time": "at"},
    {"time": "at", "episode": "user"},
    {"episode": "user", "seed": 7, "held_out": 0.5},
]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_no_row_is_lost_and_all_of_a_row_stays_together(
    name: str, split: dict[str, Any]
) -> None:
    spec = Spec(log=(write(name),), propensity="chance", **GIVEN, **split)
    log = Log.read(spec)
    (number, *_) = log.preparation.fields
    seen: list[int] = []
    users: list[set[int]] = []
    for part in (log.training, log.held_out):
        row = np.round(part.rewards - 0.5).astype(int)
        seen += row.tolist()
        users.append({int(r) % 40 for r in row})
        kept = numbers(part.table, "row")
        np.testing.assert_array_equal(kept, row)
        unscaled = part.observations[:, 0] * number.std + number.mean
        np.testing.assert_allclose(unscaled, row, atol=1e-3)
        np.testing.assert_array_equal(part.actions, 1.0 + row % 3)
        np.testing.assert_array_equal(part.propensities, (row + 1.0) / 1000.0)
        steps, order = part.steps(), row[part.by_group]
        np.testing.assert_array_equal(steps.rewards, order + 0.5)
        np.testing.assert_array_equal(steps.propensities, (order + 1.0) / 1000.0)
        np.testing.assert_array_equal(steps.actions, order % 3)
        np.testing.assert_array_equal(
            steps.observations, part.observations[part.by_group]
        )
        if spec.episode:
            ends = np.diff(order % 40) != 0
            np.testing.assert_array_equal(np.diff(steps.episodes) != 0, ends)
    assert sorted(seen) == [*range(ROWS)]
    if spec.episode:
        assert not users[0] & users[1]
    elif spec.time:
        times = [part.table["at"].to_pylist() for part in (log.training, log.held_out)]
        assert max(times[0]) < min(times[1])


@pytest.mark.parametrize("split", [{}, {"episode": "user"}])
def test_decisions_are_judged_beside_their_own_rewards(split: dict[str, Any]) -> None:
    # One of the observed columns is what the logger did.
    copy = 1.0 + np.arange(ROWS) % 3
    given = {**GIVEN, "observe": ("copy", "row"), "propensity": "chance"}
    log = Log.read(Spec(log=(write("log.parquet", copy=copy),), **given, **split))
    (field, _) = log.preparation.fields

    class Copies(Policy):
        def __call__(self, observations: Any) -> Any:
            return copied(observations)

    def copied(observations: Any) -> Any:
        return observations[:, 0] * field.std + field.mean

    space = log.training.space
    trees = Greedy(lambda x, a: np.zeros(len(x)), np.array(space.judged))
    asked: dict[str, Any] = {"policy": Copies(None, log.preparation, space)}
    asked |= {"rule": copied, TREES: trees}
    found = learning.judge(log, asked, show_progress=False)
    assert found["policy"].changed == found["rule"].changed == 0.0
    assert found[TREES].changed > 0.5


def test_merged_levels_have_no_propensities_of_single_actions() -> None:
    bids = 1.0 + np.arange(ROWS) % 12
    given = {**GIVEN, "propensity": "chance", "levels": 3}
    log = Log.read(Spec(log=(write("log.parquet", bid=bids),), **given))
    assert log.held_out.steps().propensities is None
    assert dict(log.describe())["propensities"] == "estimated from the log"


@pytest.mark.parametrize("levels", [0, 3])
def test_nothing_is_learned_from_what_is_held_out(levels: int) -> None:
    bids = np.random.default_rng(1).uniform(1.0, 2.0, ROWS)
    spec = Spec(log=(write("log.parquet", bid=bids),), levels=levels, **GIVEN)
    log = Log.read(spec)
    held = numbers(log.held_out.table, "row").astype(int)
    changed = columns()
    for name, value in {
        "row": 1e4,
        "device": "fridge",
        "bid": 9.0,
        "profit": 1e4,
    }.items():
        changed[name] = list(bids if name == "bid" else changed[name])
        for row in held:
            changed[name][row] = value
    other = Log.read(
        Spec(log=(write("other.parquet", **changed),), levels=levels, **GIVEN)
    )
    assert other.preparation == log.preparation
    assert other.training.space == log.training.space
    np.testing.assert_array_equal(other.training.observations, log.training.observations)
    np.testing.assert_array_equal(other.training.rewards, log.training.rewards)


def test_kinds_are_those_of_all_rows_and_files() -> None:
    # Arrow looks at a first megabyte, and at a first file.
    lines = "a,b\n" + "1,x\n" * 300_000
    pathlib.Path("big.csv").write_text(f"{lines}1.5,x\n", "utf-8")
    assert numbers(read_columns(["big.csv"], ["a"]), "a")[-1] == 1.5
    pathlib.Path("one.csv").write_text("a,b\n1,\n", "utf-8")
    pathlib.Path("two.csv").write_text("a,b\n0.5,2\n", "utf-8")
    table = read_columns(["one.csv", "two.csv"], ["a", "b"])
    np.testing.assert_array_equal(numbers(table, "a"), [1.0, 0.5])
    np.testing.assert_array_equal(numbers(table, "b"), [np.nan, 2.0])


def test_names_of_folders_are_columns() -> None:
    for day in (1, 2):
        pathlib.Path(f"logs/day={day}").mkdir(parents=True)
        pyarrow.parquet.write_table(pa.table({"a": [day]}), f"logs/day={day}/x.parquet")
    table = read_columns(["logs"], ["a", "day"])
    np.testing.assert_array_equal(numbers(table, "a"), numbers(table, "day"))


def words(name: str, out: str, *more: str) -> list[str]:
    observed = ["--observe", *GIVEN["observe"]]
    return ["learn", name, *observed, "--act", "bid", "--reward", "profit",
            "--time", "at",
            "--out", out, *more]  # fmt: skip


def model(out: str) -> tuple[bytes, ...]:
    place = pathlib.Path(out, folder.POLICY)
    names = ("model.safetensors", "policy.json")
    return tuple((place / name).read_bytes() for name in names)


RECORDS = [
    {"row": 3.0, "device": "phone", "size": 2.0, "at": "2026-01-05T10:00:00"},
    {"row": 99, "device": "watch", "size": None, "at": "2026-01-06T23:59:00"},
    {"row": 150.5, "device": "desk", "at": "2026-01-07"},
]


@pytest.mark.slow
def test_a_second_process_learns_and_decides_the_same(capsys: Any) -> None:
    lines = "\n".join(json.dumps(record) for record in RECORDS)
    assert main(words(write("log.parquet"), "here", "--steps", "10")) == 0
    capsys.readouterr()
    policy = Policy.load("here/policy")
    decided = [policy.decide(record) for record in RECORDS]
    script = (
        "from icac_algo.__main__ import main\n"
        f"main({words('log.parquet', 'there', '--steps', '10')!r})\n"
        "print('decided')\n"
        "main(['decide', 'here'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], input=lines, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"}, check=True,
    )  # fmt: skip
    assert model("there") == model("here")
    said = ended.stdout.partition("decided\n")[2]
    assert [json.loads(line) for line in said.splitlines()] == decided


def interrupted_after(count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Training is interrupted once, after so many steps; the steps of all trainings."""
    done: list[int] = []
    step = ConstraintAwareQ.update

    @functools.wraps(step)
    def update(self: Any, batch: Any) -> Any:
        done.append(1)
        if len(done) == count + 1:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(ConstraintAwareQ, "update", update)
    return done


@pytest.mark.parametrize(
    ("more", "count", "left"),
    [
        (["--steps", "20"], 12, 10),
        (["--steps", "2", "--shape", "none", "concave"], 7, None),
    ],
    ids=["steps", "shapes"],
)
def test_an_interrupted_learning_ends_with_the_same_policy(
    more: list[str], count: int, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "EPOCH", 5)
    log = write("log.parquet")
    assert main(words(log, "whole", *more)) == 0
    with monkeypatch.context() as patch:
        done = interrupted_after(count, patch)
        assert exit_status(lambda: main(words(log, "cut", *more))) == 130
        assert not pathlib.Path("cut").exists()
        assert any(pathlib.Path("cut.unfinished").iterdir())
        done += [1] * count
        before = len(done)
        assert main(words(log, "cut", *more)) == 0
        assert left is None or len(done) - before == left
    assert model("cut") == model("whole")
    assert not pathlib.Path("cut.unfinished").exists()


def test_another_seed_or_step_count_does_not_go_on_from_what_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The last part by time is held out, so that the data are the same.
    monkeypatch.setattr(learning, "EPOCH", 5)
    log, more = write("log.parquet"), ["--steps", "6", "--seed", "1"]
    assert main(words(log, "whole", *more)) == 0
    with monkeypatch.context() as patch:
        interrupted_after(12, patch)
        assert exit_status(lambda: main(words(log, "cut", "--steps", "20"))) == 130
    assert main(words(log, "cut", *more)) == 0
    assert model("cut") == model("whole")


@pytest.mark.parametrize("fails", ["save", "results"])
def test_what_is_learned_again_replaces_when_it_is_whole(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write("log.parquet")
    assert main(words(log, "run", "--steps", "2")) == 0
    first = model("run")
    again = words(log, "run", "--steps", "3", "--again")
    with monkeypatch.context() as patch:
        if fails == "save":
            patch.setattr(Policy, "save", lambda self, place: [][0])
        else:
            patch.setattr(folder.json, "dumps", lambda *a, **k: [][0])
        assert exit_status(lambda: main(again)) == 70
    assert model("run") == first
    assert main(again) == 0
    assert model("run") != first
    names = {path.name for path in pathlib.Path().iterdir()}
    assert names == {"log.parquet", "run"}


def test_a_report_reads_the_log_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    log = write("log.parquet")
    assert main(words(log, "runs/a", "--steps", "2")) == 0
    assert main(["report", "runs/a"]) == 0
    pathlib.Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["report", "../runs/a"]) == 0
    capsys.readouterr()


def test_rows_that_are_added_move_none() -> None:
    spec = Spec.of({"log": "log.csv", "observe": ["x"], "act": "a", "reward": "r"})
    few, many = (_held_out(None, spec, np.arange(count)) for count in (400, 900))
    np.testing.assert_array_equal(many[:400], few)
    assert 0.15 < many.mean() < 0.25


def test_equal_times_are_on_one_side() -> None:
    fields = {"log": "log.csv", "observe": ["x"], "act": "a", "reward": "r"}
    days = np.repeat(np.arange(10), 30)
    table = pa.table({"day": np.random.default_rng(0).permutation(days)})
    held = _held_out(table, Spec.of({**fields, "time": "day"}), np.arange(300))
    assert set(np.array(table["day"])[held]) == {8, 9}
    same = pa.table({"day": np.zeros(300, np.int64)})
    with pytest.raises(ValueError, match="gives 0 and 300"):
        _held_out(same, Spec.of({**fields, "time": "day"}), np.arange(300))


def test_derived_columns(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    bid = rng.choice([1.0, 2.0, 3.0], 300)
    paid = np.where(rng.random(300) < bid / 4.0, bid, 0.0)
    table = pa.table({"x": rng.random(300), "bid": bid, "paid": paid})
    pa.parquet.write_table(table, tmp_path / "log.parquet")
    fields = {
        "log": str(tmp_path / "log.parquet"),
        "observe": ["x"],
        "act": "bid",
        "reward": "2.5 * won - paid",
        "derive": ["won = paid > 0"],
        "outcomes": ["won: monotone; link=logit; weight=2.5 - action"],
    }
    log = Log.read(Spec.of(fields))
    part = log.training
    won = part.outcomes["won"]
    np.testing.assert_array_equal(part.rewards, (2.5 - part.actions) * won)
    assert set(won) == {0.0, 1.0}
    for derive in (["won"], ["won == paid"], ["bid = paid"], ["won = paid", "won = bid"]):
        with pytest.raises(ValueError, match="derive"):
            Spec.of({**fields, "derive": derive})
