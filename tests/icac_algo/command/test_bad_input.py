"""Broken logs, specs, records and folders: status 2, one line that names what is wrong,
and nothing left, changed or lost."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.csv  # noqa: E402
import pyarrow.parquet  # noqa: E402

from icac_algo.__main__ import main  # noqa: E402
from icac_algo._util.command_line import exit_status  # noqa: E402
from icac_algo.command.spec import toml_value  # noqa: E402

ROWS = 120
OBSERVE = ("region", "age", "cost", "shop_id")
REWARD = "(price - cost) * units"
OUTCOMES = "units; link=log; weight=action - cost"
START = datetime.datetime(2026, 1, 1)


def columns(rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    units = rng.integers(0, 3, rows)
    return {
        "region": rng.choice(["north", "south"], rows).tolist(),
        "age": rng.integers(20, 70, rows).astype(float),
        "cost": np.round(rng.uniform(1.0, 2.0, rows), 2),
        "shop_id": rng.integers(0, 3, rows),
        "when": [START + datetime.timedelta(hours=i) for i in range(rows)],
        "price": 2.0 + np.arange(rows) % 4,
        "units": units,
        "won": (units > 0).astype(int),
        "p": np.full(rows, 0.25),
        "visit": np.arange(rows) // 2,
    }


def text_of(changes: dict[str, Any] | None = None, rows: int = ROWS) -> str:
    """As a file of CSV."""
    sink = io.BytesIO()
    table = pa.table({**columns(rows), **(changes or {})})
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue().decode().replace('"', "")


def put(column: str, row: int, text: str) -> bytes:
    """CSV with one other value; rows count from 1."""
    lines = [line.split(",") for line in text_of().splitlines()]
    lines[row][lines[0].index(column)] = text
    return "\n".join(",".join(line) for line in lines).encode()


def with_line(row: int, line: str) -> bytes:
    lines = text_of().splitlines()
    return "\n".join([*lines[:row], line, *lines[row:]]).encode()


def parquet(**changes: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({**columns(), **changes}), sink)
    return sink.getvalue()


def one_of(column: str, row: int, value: Any) -> bytes:
    """Parquet with one other value; rows count from 1."""
    values = np.array(columns()[column], np.float64)
    values[row - 1] = value
    return parquet(**{column: values})


def files() -> dict[str, str]:
    found = pathlib.Path().rglob("*")
    return {str(p): p.read_bytes().hex() if p.is_file() else "" for p in found}


def refused(words: list[str], pattern: str, capfd: Any) -> None:
    """Status 2, one error in one line that names something, and no file is touched."""
    before = files()
    assert exit_status(lambda: main(words)) == 2
    said = capfd.readouterr()
    lines = said.err.splitlines()
    # What is being done is said before.
    assert [line for line in lines if not line.startswith("reading")] == lines[-1:]
    assert re.search(f"^error: .*{pattern}", lines[-1]), lines[-1]
    assert files() == before


def spec(log: str, **fields: Any) -> list[str]:
    given = {
        "observe": OBSERVE, "act": "price", "reward": REWARD, "steps": 5, **fields
    }  # fmt: skip
    words = ["learn", log]
    for name, value in given.items():
        several = value if isinstance(value, (tuple, list)) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, several)]
    return words


FULL = parquet()
ODD = [[1.0]] * ROWS
STRUCT = [{"a": 1}] * ROWS
TIMES = np.arange(ROWS)
NO_YEAR = pa.array([2**50] * ROWS, pa.timestamp("ms"))
LOGS: list[tuple[str, str, bytes, dict[str, Any], str]] = [
    # files
    ("ragged, short", "a.csv", with_line(50, "x,y"), {}, r"a\.csv .*Row #51: Expected"),
    ("ragged, long", "a.csv", with_line(9, "1," * 12), {}, r"a\.csv .*Row #10: Expected"),
    ("empty", "a.csv", b"", {}, r"a\.csv cannot be read: .*[Ee]mpty"),
    ("header only", "a.csv", text_of().splitlines()[0].encode(), {}, r"a\.csv .*read"),
    ("one row", "a.csv", text_of(rows=1).encode(), {}, "at least 50 rows.* 1 and 0"),
    ("five rows", "a.csv", text_of(rows=5).encode(), {}, "at least 50 rows.* 3 and 2"),
    ("few rows", "a.csv", text_of(rows=59).encode(), {}, "at least 50 rows.*48 and 11"),
    ("name twice", "a.csv", text_of().replace("won", "price").encode(),
     {}, "named price"),
    ("latin-1", "a.csv", text_of().replace("north", "nörd").encode("latin-1"), {},
     r"region must hold.* bytes, which are no text in UTF-8"),
    ("utf-16", "a.csv", text_of().encode("utf-16"), {}, r"a\.csv cannot be read"),
    ("bytes", "a.csv", bytes(range(256)) * 9, {}, r"a\.csv cannot be read"),
    ("not gzip", "a.csv.gz", text_of().encode(), {}, r"a\.csv\.gz cannot be read"),
    ("semicolons", "a.csv", text_of().replace(",", ";").encode(),
     {}, "no column 'region'"),
    ("truncated", "a.parquet", FULL[:2000], {}, r"a\.parquet cannot be read"),
    ("damaged", "a.parquet", FULL[:-200] + bytes(192) + FULL[-8:], {}, "cannot be read"),
    ("csv as parquet", "a.parquet", text_of().encode(), {}, r"a\.parquet cannot be read"),
    ("csv as arrow", "a.arrow", text_of().encode(), {}, r"a\.arrow cannot be read"),
    ("parquet as csv", "a.csv", FULL, {}, r"a\.csv cannot be read"),
    ("unknown ending", "a.txt", text_of().encode(), {}, r"a\.txt must end with \.csv"),
    # values
    ("text action", "a.csv", put("price", 7, "x"), {}, "price must hold numbers.*string"),
    ("no action", "a.csv", put("price", 7, ""), {}, "price must be .*row 7 with nan"),
    ("infinite action", "a.csv", put("price", 7, "inf"), {}, "price .*row 7 with inf"),
    ("huge action", "a.csv", put("price", 7, "1e39"), {}, r"price .*row 7 has 1e\+39"),
    ("constant action", "a.parquet", parquet(price=[3.0] * ROWS), {},
     "price must have several values, is always 3"),
    ("texts of actions", "a.parquet", parquet(price=["a", "b"] * (ROWS // 2)),
     {}, "price"),
    ("text reward", "a.csv", put("units", 7, "x"), {}, "units must hold numbers"),
    ("no reward", "a.csv", put("units", 7, ""), {}, "reward .*row 7 with .*'units': nan"),
    ("huge reward", "a.csv", put("units", 7, "1e39"), {}, "reward .*float32, row 7 has"),
    ("text among numbers", "a.csv", put("age", 7, "n.a."), {},
     "age must hold numbers, or be named in categories.*'n.a.'"),
    ("texts of numbers", "a.parquet", parquet(age=["1.5", "2"] * (ROWS // 2)), {},
     "age must hold numbers, or be named in categories.*'1.5'"),
    ("infinite", "a.csv", put("age", 7, "inf"), {}, "age must be finite.*inf in row 7"),
    ("huge", "a.csv", put("age", 7, "1e39"), {}, r"age must be finite.*1e\+39 in row 7"),
    ("NaN propensity", "a.parquet", one_of("p", 7, np.nan),
     {"propensity": "p"}, "p .*row 7"),
    ("propensity 0", "a.parquet", one_of("p", 7, 0),
     {"propensity": "p"}, "p .*0 in row 7"),
    ("propensity < 0", "a.parquet", one_of("p", 7, -1), {"propensity": "p"}, "p .*row 7"),
    ("propensity > 1", "a.parquet", one_of("p", 7, 2), {"propensity": "p"},
     "p must be above 0 and at most 1, got 2 in row 7"),
    ("tiny propensity", "a.parquet", one_of("p", 7, 1e-300),
     {"propensity": "p"}, "row 7"),
    # columns of other kinds
    *(
        (f"{kind} {name}", "a.parquet", parquet(**{name: values}), {}, f"{name}.*{said}")
        for name in ("age", "price", "units")
        for kind, values, said in (
            ("list", ODD, "holds list"),
            ("struct", STRUCT, "holds struct"),
            ("null", pa.nulls(ROWS), ""),
            ("bytes", [b"x"] * ROWS, "bytes, which are no text"),
            ("duration", pa.array(TIMES, pa.duration("s")), "holds duration"),
        )
    ),
    ("list category", "a.parquet", parquet(age=ODD), {"categories": "age"}, "age .*list"),
    ("split category", "a.parquet", one_of("age", 7, 0.5), {"categories": "age"},
     "age must hold texts or whole numbers .*got 0.5 in row 7"),
    ("list episode", "a.parquet", parquet(visit=ODD),
     {"episode": "visit"}, "visit .*list"),
    ("float episode", "a.parquet", FULL, {"episode": "cost"}, "cost must hold .*double"),
    ("no episode", "a.csv", put("visit", 7, ""),
     {"episode": "visit"}, "visit .*row 7 has"),
    ("one episode", "a.parquet", parquet(visit=[1] * ROWS), {"episode": "visit"},
     "held_out 0.2 gives 120 and 0, of 1 values of visit"),
    ("two episodes", "a.parquet", parquet(visit=[1, 2] * (ROWS // 2)),
     {"episode": "visit"}, "of 2 values of visit"),
    ("text time", "a.parquet", FULL,
     {"time": "region"}, "region must hold times.*string"),
    ("float time", "a.parquet", FULL, {"time": "cost"}, "cost must hold times .*double"),
    ("no time", "a.csv", put("when", 7, ""), {"time": "when"}, "when .*row 7 has none"),
    ("null time", "a.parquet", parquet(when=pa.nulls(ROWS)),
     {"time": "when"}, "when .*row 1"),
    ("huge time", "a.parquet", parquet(when=np.full(ROWS, 2**64 - 1, np.uint64)),
     {"time": "when"}, "when must hold times"),
    ("time of no year", "a.parquet", parquet(when=NO_YEAR),
     {"observe": "when"}, "when must hold times of years"),
    ("reward of one value", "a.parquet", parquet(units=[0] * ROWS),
     {}, "reward .*always 0"),
    ("many levels", "a.parquet", parquet(price=TIMES * 1.0), {"levels": 60},
     "price must have at least 3 rows .*60 levels, has 96"),
    # outcomes
    ("outcome off", "a.parquet", FULL, {"outcomes": "units; link=log; weight=action"},
     "rewards must be what outcomes add up to.*row 1 has"),
    ("outcome off once", "a.parquet", one_of("units", 7, -1), {"outcomes": OUTCOMES},
     r"outcome 'units' \(link='log'\) must be at least 0 .*row 7 has -1"),
    ("no probability", "a.parquet", FULL, {"outcomes": "units; link=logit"},
     r"outcome 'units' \(link='logit'\) must be from 0 to 1, row"),
    ("merged levels", "a.parquet", FULL, {"outcomes": OUTCOMES, "levels": 3},
     "levels must be 0 beside outcomes whose weights name action, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "fields", "pattern"),
    [case[1:] for case in LOGS],
    ids=[case[0] for case in LOGS],
)
def test_logs(
    name: str, content: bytes, fields: dict[str, Any], pattern: str, capfd: Any
) -> None:
    pathlib.Path(name).write_bytes(content)
    refused(spec(name, **fields), pattern, capfd)


def folder_of(**parts: bytes) -> str:
    for name, content in parts.items():
        path = pathlib.Path("logs") / name.replace("__", "/").replace("_", ".", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return "logs"


WITHOUT = text_of().replace("region", "land").encode()
FOLDERS: dict[str, tuple[Callable[[], str], str]] = {
    "none": (lambda: "logs", "log logs must end with|log logs does not exist"),
    "empty": (lambda: [pathlib.Path("logs").mkdir(), "logs"][1], "logs must hold files"),
    "mixed": (
        lambda: folder_of(a_csv=text_of().encode(), b_parquet=FULL),
        r"one format, got \['\.csv', '\.parquet'\]",
    ),
    "another header": (
        lambda: folder_of(a_csv=text_of().encode(), b_csv=WITHOUT),
        r"b\.csv has no column 'region'",
    ),
    "another kind": (
        lambda: folder_of(a_parquet=FULL, b_parquet=parquet(age=["x"] * ROWS)),
        "logs cannot be read: .*age",
    ),
    "column and folder": (
        lambda: folder_of(**{"age=1__a_parquet": FULL, "age=2__a_parquet": FULL}),
        "logs cannot be read: .*age",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_logs(name: str, capfd: Any) -> None:
    make, pattern = FOLDERS[name]
    refused(spec(make()), pattern, capfd)


GIVEN: dict[str, Any] = {
    "log": "ok.parquet", "observe": OBSERVE, "act": "price", "reward": REWARD
}  # fmt: skip
TEXTS = [
    ("log = [", r"s\.toml cannot be read"),
    ('log = "a"\nlog = "b"', r"s\.toml cannot be read"),
    ("", r"s\.toml: log must be given"),
    ("[log]\na = 1", r"s\.toml: log must be texts, got \{"),
    ("held-out = 0.1", "held-out is unknown; did you mean held_out"),
]
NO_FORMULA = "reward must be made of"
FIELDS: list[tuple[str, Any, str]] = [
    ("shpe", "concave", "shpe is unknown; did you mean shape"),
    ("log", "", r"log must be texts, got \[''\]"),
    ("log", [], "log must be given"),
    ("log", [3], r"log must be texts, got \[3\]"),
    ("log", "no.csv", r"log no\.csv does not exist"),
    ("observe", 3, "observe must be texts, got 3"),
    ("observe", [], "observe must be given"),
    ("observe", ["age", "age"], "observe must name each once, got 'age' twice"),
    ("observe", ["age", "price"], "observe must not name the action 'price'"),
    ("observe", ["ages"], "no column 'ages'; did you mean age"),
    ("observe", ["age", "p"], "no column 'q'"),
    ("act", "", "act must be given"),
    ("act", ["price"], "act must be of type str"),
    ("act", "nope", "no column 'nope'"),
    ("levels", True, "levels must be of type int, got True"),
    ("levels", 1, "levels must be 0 or from 2 to 1000, got 1"),
    ("levels", -3, "levels must be 0 or from 2 to 1000, got -3"),
    ("levels", 10**9, "levels must be 0 or from 2 to 1000, got 1000000000"),
    ("levels", 2.5, r"levels must be of type int, got 2\.5"),
    ("held_out", "0.2", "held_out must be of type float, got '0.2'"),
    ("held_out", 0, "held_out must be a number >= 0.05"),
    ("held_out", float("nan"), "held_out must be a number .*nan"),
    ("steps", -1, "steps must be an integer"),
    ("seed", 2**32, "seed must be an integer from 0"),
    ("shape", "wavy", "shape 'wavy': .*monotone, concave"),
    ("shape", ["none", "none"], "shape must name each once"),
    ("shape", "monotone:up=1", "shape 'monotone:up=1': .*increasing"),
    ("categories", "price", "categories must be observed, got 'price'"),
    ("categories", "cost", "cost must hold texts or whole numbers .*row"),
    ("propensity", "region", "region must .*propensity|propensity 'region'"),
    ("propensity", "price", "price must be above 0 and at most 1"),
    ("reward", 3, "reward must be of type str, got 3"),
    ("reward", "3", "reward must name a column"),
    ("reward", "cost", "observe must not name the reward 'cost'"),
    ("reward", "0 - cost", "observe must not name the reward 'cost'"),
    ("reward", "units / 0", "reward 'units / 0' must be a finite .*row 1 with"),
    ("reward", "1 / units", "reward '1 / units' must be a finite .*first is row"),
    ("reward", "log(units)", r"reward 'log\(units\)' must be a finite"),
    ("reward", "units * 1e39", "reward .*must be finite in float32, row"),
    ("reward", "units +", NO_FORMULA),
    ("reward", "units # price", NO_FORMULA),
    ("reward", "units ** 2", NO_FORMULA),
    ("reward", "units[0]", NO_FORMULA),
    ("reward", "units.real", NO_FORMULA),
    ("reward", "units if won else 0", NO_FORMULA),
    ("reward", "__import__('os').mkdir('pwned')", NO_FORMULA),
    ("reward", "(lambda: units)()", NO_FORMULA),
    ("reward", "units + " + "9" * 400, NO_FORMULA),
    ("reward", "+".join(["units"] * 700), NO_FORMULA),
    ("reward", "(" * 300 + "units" + ")" * 300, NO_FORMULA),
    ("reward", "`nope`", "no column 'nope'"),
    ("outcomes", ["units", "units"], "column of their own, got 'units' twice"),
    ("outcomes", ["units; given=won"], "given must be the column of an outcome.*'won'"),
    ("outcomes", ["units; given=won", "won"], r"link='logit', one of \[\], got 'won'"),
    ("outcomes", ["units; given=units"], "given must be another column"),
    ("outcomes", ["weight=action"], "outcomes must name at least one column"),
    ("outcomes", ["nope"], "no column 'nope'"),
    ("outcomes", ["cost"], "observe must not name the outcome 'cost'"),
    ("outcomes", ["price"], "outcomes must not name the action 'price'"),
    ("outcomes", ["units; weight=won"], "a weight may name action .*'won'"),
    ("outcomes", ["units; weight=region"], "a weight may name action .*'region'"),
    ("outcomes", ["units; weight=shop_id"], "a weight may name action .*'shop_id'"),
    ("outcomes", ["units; weight=holes"], "a weight may name action .*'holes'"),
    ("outcomes", ["units; weight=action / cost"], "weight must .*'action / cost'"),
    ("outcomes", ["units; weight=exit()"], r"weight must be made of .*exit\(\)"),
    ("outcomes", ["units; ignores=99"], "ignores of outcome 'units' .*got 99"),
]


@pytest.fixture
def log() -> str:
    holes = [None if row % 5 == 0 else 1.0 for row in range(ROWS)]
    pathlib.Path("ok.parquet").write_bytes(parquet(holes=holes))
    return "ok.parquet"


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("text", "pattern"), TEXTS)
def test_texts_of_specs(text: str, pattern: str, capfd: Any) -> None:
    pathlib.Path("s.toml").write_text(text, "utf-8")
    refused(["learn", "s.toml"], pattern, capfd)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("name", "value", "pattern"), FIELDS)
def test_fields_of_specs(name: str, value: Any, pattern: str, capfd: Any) -> None:
    fields = {**GIVEN, name: value}
    if "holes" in str(value):
        fields["observe"] = [*OBSERVE, "holes"]
    if value == ["age", "p"]:
        fields["propensity"] = "q"
    lines = [f"{key} = {_toml(one)}" for key, one in fields.items()]
    pathlib.Path("s.toml").write_text("\n".join(lines), "utf-8")
    refused(["learn", "s.toml", "--steps", "5"] if name != "steps" else
            ["learn", "s.toml"], pattern, capfd)  # fmt: skip


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else toml_value(value)


def test_fields_that_contradict_each_other(log: str, capfd: Any) -> None:
    words = spec(log, shape="concave", outcomes=OUTCOMES)
    refused(words, "shape must not be given beside outcomes", capfd)
    words = spec(log, observe=("age", "p"), propensity="p")
    refused(words, "observe must not name the propensity 'p'", capfd)
    words = spec(log, reward="units - \udcff")
    refused(words, r"reward must be of type str, got 'units - \\udcff'", capfd)
    words = spec(log)
    refused(["learn", log, f"./{log}", *words[2:]], "log must name each file once", capfd)
    words = spec(log, observe=("action", "cost"), outcomes=OUTCOMES)
    refused(words, "observe must not name 'action' beside outcomes", capfd)
    words = spec(log, reward="price - cost", act="price", observe=("age", "price"))
    refused(words, "observe must not name the action 'price'", capfd)


RECORD = {
    "region": "north", "age": 30, "cost": 1.5, "shop_id": 1, "loyal": True,
    "when": "2026-01-05T14:00:00", "zoned": "2026-01-05T14:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of `icac learn`."""
    place = tmp_path_factory.mktemp("learned")
    zoned = pa.array(columns()["when"], pa.timestamp("us", "UTC"))
    loyal = [row % 3 == 0 for row in range(ROWS)]
    (place / "log.parquet").write_bytes(parquet(zoned=zoned, loyal=loyal))
    words = spec(str(place / "log.parquet"), observe=tuple(RECORD))
    assert main([*words, "--out", str(place / "run")]) == 0
    return place


MISSING = {name: value for name, value in RECORD.items() if name != "age"}
RECORDS: list[tuple[str, str]] = [
    ("", "--json must be a record, got ''"),
    ("  ", "--json must be a record"),
    ("{", "record 1 is not JSON"),
    ("[" * 100_000, "record 1 is not JSON"),
    ('{"age": ' + "9" * 5000 + "}", "record 1 is not JSON"),
    ("[]", "record 1: a record must be an object with region, age"),
    ("null", "record 1: a record must be an object"),
    (json.dumps([RECORD]), "a record must be an object"),
    ('{"age": 1, "age": 2}', "age is given twice"),
    (json.dumps(MISSING), "record 1: age is missing"),
    (json.dumps({**RECORD, "aeg": 1}), "aeg is no field; a record has region, age"),
    *(
        (json.dumps({**RECORD, name: value}), f"record 1: {name} {said}")
        for name, value, said in (
            ("age", "30", "must be a finite number, got '30'"),
            ("age", True, "must be a finite number, got True"),
            ("age", float("nan"), "must be a finite number, got nan"),
            ("age", float("inf"), "must be a finite number, got inf"),
            ("age", 1e39, "must be a finite number"),
            ("age", 10**400, "must be a finite number"),
            ("age", None, "is missing"),
            ("age", [30], "must be a finite number"),
            ("cost", 3e38, "is too far from the log's"),
            ("loyal", 2, "must be true or false, got 2"),
            ("loyal", "yes", "must be true or false, got 'yes'"),
            ("region", None, "is missing"),
            ("region", 1.5, "must be a text, got 1.5"),
            ("region", True, "must be a text, got True"),
            ("region", {}, "must be a text"),
            ("shop_id", 1.5, "must be a text, got 1.5"),
            ("when", 5, "must be a time without a zone.*got 5"),
            ("when", "noon", "must be a time .*'noon'"),
            ("when", "2026-13-01", "must be a time .*'2026-13-01'"),
            ("when", "2026-01-05T14:00:00Z", "must be a time without a zone"),
            ("zoned", "2026-01-05T14:00:00", "must be a time with a zone"),
            ("zoned", "0001-01-01T00:00:00+14:00", "must be a time"),
        )
    ),
]


@pytest.mark.parametrize(("text", "pattern"), RECORDS)
def test_records(text: str, pattern: str, policy: pathlib.Path, capfd: Any) -> None:
    refused(["decide", str(policy / "run"), "--json", text], pattern, capfd)


@pytest.mark.parametrize("second", [b"{}", b"\xff\xfe", b"{" * 100_000])
def test_lines_of_records(
    second: bytes, policy: pathlib.Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = json.dumps(RECORD).encode() + b"\n\n" + second
    # A reader with a buffer of its own may find bytes that are no text a line early.
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), "utf-8"))
    assert exit_status(lambda: main(["decide", str(policy / "run")])) == 2
    assert re.fullmatch(r"error: record [13].*\n", capfd.readouterr().err)


def _described(change: Callable[[dict[str, Any]], Any]) -> Callable[[pathlib.Path], None]:
    def changed(place: pathlib.Path) -> None:
        file = place / "policy.json"
        found = json.loads(file.read_text("utf-8"))
        change(found)
        file.write_text(json.dumps(found), "utf-8")

    return changed


def _written(name: str, content: bytes) -> Callable[[pathlib.Path], Any]:
    return lambda place: (place / name).write_bytes(content)


MODEL, DESCRIPTION = "model.safetensors", "policy.json"
CHANGED = "was changed after it was"
POLICIES: dict[str, tuple[Callable[[pathlib.Path], Any], str]] = {
    "no model": (lambda p: (p / MODEL).unlink(), "no saved model"),
    "no description": (lambda p: (p / DESCRIPTION).unlink(), "No such file"),
    "folder for a model": (
        lambda p: [(p / MODEL).unlink(), (p / MODEL).mkdir()], "must be a file"
    ),
    "empty model": (_written(MODEL, b""), MODEL),
    "short model": (
        lambda p: (p / MODEL).write_bytes((p / MODEL).read_bytes()[:1000]), MODEL
    ),
    "changed model": (
        lambda p: (p / MODEL).write_bytes((p / MODEL).read_bytes()[:-4] + b"abcd"),
        CHANGED,
    ),
    "empty description": (_written(DESCRIPTION, b""), "Expecting value"),
    "deep description": (_written(DESCRIPTION, b"[" * 10**5), "recursion"),
    "bytes": (_written(DESCRIPTION, b"\xff"), "decode"),
    "a list": (_written(DESCRIPTION, b"[]"), "list"),
    "format": (_described(lambda d: d.update(format=2)), "format 2"),
    "kind": (_described(lambda d: d["preparation"][0].update(kind="x")), CHANGED),
    "unknown": (_described(lambda d: d["preparation"][0].update(x=1)), "'x'"),
    "mean": (_described(lambda d: d["preparation"][1].update(mean=3.0)), CHANGED),
    "std 0": (_described(lambda d: d["preparation"][1].update(std=0.0)), CHANGED),
    "values": (_described(lambda d: d["preparation"][0]["values"].reverse()), CHANGED),
    "fewer fields": (_described(lambda d: d["preparation"].pop()), CHANGED),
    "levels": (_described(lambda d: d["actions"].update(levels=[1, 2])), CHANGED),
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name: str, policy: pathlib.Path, capfd: Any) -> None:
    change, pattern = POLICIES[name]
    shutil.copytree(policy / "run", "run")
    change(pathlib.Path("run/policy"))
    words = ["decide", "run", "--json", json.dumps(RECORD)]
    refused(words, f"run/policy is no folder of a policy: .*{pattern}", capfd)


def test_no_policy(log: str, capfd: Any) -> None:
    pathlib.Path("empty").mkdir()
    refused(["decide", "none"], "none must be a folder of icac learn", capfd)
    refused(["decide", log], f"{log} must be a folder of icac learn", capfd)
    refused(["decide", "empty"], "empty/policy is no folder of a policy", capfd)
    refused(["report", "empty"], "empty/policy is no folder of a policy", capfd)


REPORTED: dict[str, tuple[Callable[[pathlib.Path], Any], str]] = {
    "no spec": (lambda p: (p / "spec.toml").unlink(), r"run must .*has no spec\.toml"),
    "broken spec": (_written("spec.toml", b"["), r"run/spec\.toml cannot be read"),
    "losses": (_written("losses.npz", b"PK"), r"run/losses\.npz holds no held-out"),
    "log": (_written("spec.toml", b'log = "x.csv"\nobserve = "a"\nact = "b"\n'
                     b'reward = "c"'), r"x\.csv does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_reports(name: str, policy: pathlib.Path, capfd: Any) -> None:
    change, pattern = REPORTED[name]
    shutil.copytree(policy / "run", "run")
    change(pathlib.Path("run"))
    refused(["report", "run"], pattern, capfd)


COMPARED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another action": ("run", {"act": "cost", "observe": "age"}, "decides price, act is"),
    "fewer columns": ("run", {"observe": "age"}, "observe must name 'region', which run"),
    "a rival's name": ("ridge", {}, "policy must not be called as a rival is"),
    "another seed": ("run", {"seed": 1}, "seed must be 0, got 1: run would be judged by"),
    "another time": ("run/policy", {"time": "visit"}, "time must be '', got 'visit'"),
    "none": ("none", {}, "none must be a folder"),
}


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons(name: str, policy: pathlib.Path, capfd: Any) -> None:
    folder, fields, pattern = COMPARED[name]
    if folder != "none":
        shutil.copytree(policy / "run", folder.split("/")[0])
    given = {"observe": tuple(RECORD), **fields}
    words = ["compare", *spec(str(policy / "log.parquet"), **given)[1:]]
    refused([*words, "--policy", folder], pattern, capfd)


def _foreign(folder: str) -> None:
    pathlib.Path(folder).mkdir()
    (pathlib.Path(folder) / "mine").write_text("mine", "utf-8")


PLACES: dict[str, tuple[Callable[[], Any], list[str], str]] = {
    "empty": (lambda: None, ["--out", ""], "out must be "),
    "null": (lambda: None, ["--out", "a\0b"], "out must be a path"),
    "a file": (lambda: None, ["--out", "ok.parquet"], "out must be a folder, ok.parquet"),
    "under a file": (lambda: None, ["--out", "ok.parquet/x"], "out must be a folder"),
    "foreign": (lambda: _foreign("a"), ["--out", "a"],
     "out must be a new folder, a holds"),
    "foreign again": (lambda: _foreign("a"), ["--out", "a", "--again"], "a holds"),
    "foreign trainings": (
        lambda: _foreign("a.unfinished"), ["--out", "a", "--again"], "a.unfinished"
    ),
    "file of trainings": (
        lambda: pathlib.Path("a.unfinished").write_text("x"), ["--out", "a"], "unfinished"
    ),
    "a copy of the user's": (
        lambda: _foreign("a.old"), ["--out", "a", "--again"], "a.old, which is there"
    ),
    "there already": (
        lambda: [_foreign("a"), pathlib.Path("a/spec.toml").write_text("x")],
        ["--out", "a"], "out a is there already; --again",
    ),
    "a note": (
        lambda: [_foreign("a"), pathlib.Path("a/spec.toml").write_text("x")],
        ["--out", "a", "--again"], "out a would lose mine",
    ),
    "unknown option": (lambda: None, ["--nope", "1"], "No such option"),
    "no number": (lambda: None, ["--levels", "x"], "'x' is not a valid integer"),
    "two specs": (lambda: pathlib.Path("b.toml").touch(), [], "one TOML file"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_places(name: str, log: str, capfd: Any) -> None:
    make, more, pattern = PLACES[name]
    make()
    words = ["learn", "b.toml", "b.toml"] if name == "two specs" else spec(log)
    refused([*words, *more], pattern, capfd)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="may write anywhere")
def test_a_folder_that_may_not_be_written(log: str, capfd: Any) -> None:
    pathlib.Path("closed").mkdir(mode=0o500)
    words = spec(log, out="closed/a")
    refused(words, "out must be in a folder that may be written, .*closed may not", capfd)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["init", "none.csv"], "log none.csv does not exist"),
        (["init", "ok.parquet", "--out", "ok.parquet"], "out must be a new file"),
        (["init", "ok.parquet", "--out", "no/such.toml"], "no/such.toml"),
        (["learn", "none.toml"], "none.toml cannot be read"),
        (["nope"], "No such command 'nope'"),
        (["compare", "ok.parquet"], "--policy"),
    ],
)
def test_command_lines(words: list[str], pattern: str, log: str, capfd: Any) -> None:
    refused(words, pattern, capfd)


def test_a_spec_from_a_look_at_odd_names_and_kinds() -> None:
    odd = {"tab\tline\nend": ["\x00\x1b"] * ROWS, 'say "\\"': ODD, "\U000e0001": STRUCT}
    decimals = [decimal.Decimal("1.5")] * ROWS
    pathlib.Path("odd.parquet").write_bytes(parquet(**odd, decimals=decimals))
    assert main(["init", "odd.parquet"]) == 0
    from icac_algo.command.spec import Spec

    assert set(Spec.read("icac.toml", reward="units").observe) > {*odd, "decimals"}
