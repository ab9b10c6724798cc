"""Any arrays: a log that holds what was given, or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidclick_gym import read_auctions
from icac_algo import ColumnarReplayBuffer

from .profile import FUZZ, attempt, times

# What is said of an odd log does not refuse it.
pytestmark = pytest.mark.filterwarnings("ignore")

SPECIAL = [np.nan, np.inf, -np.inf, 1e300, -1e39, 2.0**53, 1e-320, 0.0, -1.0, 0.5]
KINDS = ["f8", "f4", "f2", "i8", "i4", "u1", "u8", "?", "O", "U3", "c8", "M8[s]"]


@st.composite
def columns(draw: st.DrawFn, rows: int, whole: bool = False) -> Any:
    """Mostly sound columns, now and then with one thing wrong or odd about them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    values: Any = rng.integers(0, 4, rows) if whole else rng.normal(size=rows)
    odd = draw(
        st.sampled_from(["", "", "", "special", "dtype", "length", "shape", "mask"])
    )
    if odd == "special" and rows:
        values = values.astype(float)
        values[rng.integers(rows)] = draw(st.sampled_from(SPECIAL))
    elif odd == "dtype":
        try:
            values = values.astype(draw(st.sampled_from(KINDS)))
        except (TypeError, ValueError):
            values = [None] * rows
    elif odd == "length":
        values = np.resize(values, draw(st.integers(0, rows + 2)))
    elif odd == "shape":
        values = values.reshape(draw(st.sampled_from([(-1, 1), (1, -1), (-1, 1, 1)])))
    elif odd == "mask":
        values = np.ma.masked_array(values, rng.random(rows) < 0.3)
    return values


ANYTHING = st.one_of(st.none(), st.integers(-3, 6), st.text(max_size=3), st.booleans())


@FUZZ
@given(data=st.data(), rows=st.integers(0, 12))
def test_arrays(data: st.DataObject, rows: int) -> None:
    arguments: dict[str, Any] = {
        "observations": data.draw(columns(rows)),
        "actions": data.draw(columns(rows, whole=True)),
        "rewards": data.draw(columns(rows)),
    }
    if data.draw(st.booleans()):
        arguments["observations"] = np.ones((rows, data.draw(st.integers(0, 3))))
    for name in ("terminals", "timeouts"):
        if data.draw(st.booleans()):
            flags = np.zeros(rows)
            flags[-1:] = 1.0
            arguments[name] = data.draw(st.one_of(st.just(flags), columns(rows)))
    if data.draw(st.booleans()):
        arguments["action_size"] = data.draw(ANYTHING)
    log, refusal = attempt(
        lambda: ColumnarReplayBuffer.from_arrays(**arguments), ValueError, TypeError
    )
    if refusal is not None:
        assert refusal
        return
    held = log.to_arrays()
    assert log.transition_count >= 1
    assert np.isfinite(held["observations"].astype(float)).all()
    assert not np.ma.isMaskedArray(arguments["rewards"]) or not np.any(
        arguments["rewards"].mask
    )
    found = np.asarray(held["rewards"], float).ravel()
    assert np.isfinite(found.astype(np.float32)).all()
    assert np.allclose(found, np.asarray(arguments["rewards"], float).ravel())
    batch = log.sample_transition_batch(4)
    assert np.isfinite(batch.rewards).all()


@times(0.5)
@given(data=st.data(), rows=st.integers(0, 8))
def test_tables(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "log.parquet"
    given_columns = {
        "x": data.draw(columns(rows)),
        "a": data.draw(columns(rows, whole=True)),
        "r": data.draw(columns(rows)),
    }
    try:
        pq.write_table(pa.table(given_columns), path)
    except (pa.ArrowException, ValueError, TypeError):
        return
    if data.draw(st.integers(0, 3)) == 0:
        damaged = bytearray(path.read_bytes())
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(
            st.integers(0, 7)
        )
        path.write_bytes(damaged)
    log, refusal = attempt(
        lambda: ColumnarReplayBuffer.from_parquet(
            path, observation="x", action="a", reward="r", show_progress=False
        ),
        *(ValueError, TypeError, OSError),
    )
    if refusal is not None:
        assert "log.parquet" in refusal or "must" in refusal
        return
    held = log.to_arrays()
    assert np.isfinite(held["rewards"]).all()
    assert np.isfinite(held["observations"]).all()


CELLS = [
    "51",
    "0.5",
    " 2 ",
    '"3"',
    "+1",
    "1e2",
    "-1",
    "nan",
    "x",
    "",
    "1e400",
    "1_0",
    "\ufeff1",
]


@FUZZ
@given(
    rows=st.lists(
        st.lists(st.sampled_from(CELLS[:6] * 4 + CELLS), min_size=2, max_size=2)
        | st.lists(st.sampled_from(CELLS), max_size=4),
        max_size=6,
    ),
    break_at=st.integers(0, 400),
    delimiter=st.sampled_from(",\t"),
)
def test_texts_of_auctions(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    break_at: int,
    delimiter: str,
) -> None:
    path = tmp_path_factory.mktemp("auctions") / "auctions.csv"
    lines = [delimiter.join(row) for row in [["market_price", "value"], *rows]]
    text = "\n".join(lines)
    cut = text[:break_at] + "\0\r" + text[break_at:] if break_at < 30 else text
    path.write_text(cut, encoding="utf-8")
    found, refusal = attempt(lambda: read_auctions(path), ValueError)
    if refusal is not None:
        assert "auctions.csv" in refusal
    elif cut == text:
        expected = [[float(cell.strip('"')) for cell in row] for row in rows]
        assert np.transpose([found.market_price, found.value]).tolist() == expected
