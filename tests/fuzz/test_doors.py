"""Any arrays: a log that holds what was given, or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
