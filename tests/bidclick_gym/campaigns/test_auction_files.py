"""Readers of auctions: small files of each form, and what is wrong with others."""

from __future__ import annotations

import gzip
import itertools
import pathlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidclick_gym import Auctions, read_auctions

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TABLE = "market_price,value,click,hour\n51,0.25,0,7\n0,0.5,1,8\n"
YZX = "0 51 0:1 5:1 900:1\n1 30 7:1\n"
#: The header that make-ipinyou-data writes: the price is its 24th column.
_LOG = """click weekday hour bidid timestamp logtype ipinyouid useragent IP region city
adexchange domain url urlid slotid slotwidth slotheight slotvisibility slotformat
slotprice creative bidprice payprice keypage advertiser usertag"""
IPINYOU = _LOG.split()
_PERIOD = """deliveryPeriodIndex advertiserNumber advertiserCategoryIndex budget
CPAConstraint timeStepIndex remainingBudget pvIndex pValue pValueSigma bid xi adSlot cost
isExposed conversionAction leastWinningCost isEnd"""
AUCTIONNET = _PERIOD.split()


def write(folder: pathlib.Path, text: str | bytes, name: str = "auctions.csv") -> Any:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lists(auctions: Auctions) -> tuple[Any, ...]:
    assert auctions.features is not None
    click = auctions.click
    return (
        auctions.market_price.tolist(),
        auctions.value.tolist(),
        auctions.features.tolist(),
        None if click is None else click.tolist(),
    )


def ipinyou(*rows: dict[str, str]) -> str:
    lines = [[row.get(name, "x") for name in IPINYOU] for row in rows]
    return "".join("\t".join(cells) + "\n" for cells in [IPINYOU, *lines])


def auctionnet(advertisers: list[int]) -> str:
    """Two steps of two auctions each, later ones first."""
    text = ",".join(AUCTIONNET) + "\n"
    for step, pv, owner in itertools.product([1, 0], [1, 0], advertisers):
        row = dict.fromkeys(AUCTIONNET, 0.0)
        row.update(
            deliveryPeriodIndex=7.0,
            advertiserNumber=float(owner),
            timeStepIndex=float(step),
            pvIndex=float(pv),
            pValue=0.1 * owner + 0.01 * (2 * step + pv),
            leastWinningCost=float(2 * step + pv),
            conversionAction=float(pv),
            pValueSigma=0.5,
        )
        text += ",".join(map(str, row.values())) + "\n"
    return text


def test_columns_with_a_header(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, TABLE)
    plain = ([51.0, 0.0], [0.25, 0.5], [[], []], [0.0, 1.0])
    assert lists(read_auctions(path)) == plain
    named = read_auctions(
        path, market_price="hour", value="market_price", features=["value", "hour"]
    )
    assert lists(named) == (
        [7.0, 8.0],
        [51.0, 0.0],
        [[0.25, 7.0], [0.5, 8.0]],
        [0.0, 1.0],
    )
    array = read_auctions(path, value=np.array([3.0, 4.0]))
    assert array.value.tolist() == [3.0, 4.0]
    spaced = TABLE.replace("51", " 51 ").replace("0.25", '"0.25"')
    assert lists(read_auctions(write(tmp_path, spaced, "s.csv"))) == plain
    for name, delimiter in (("t.tsv", "\t"), ("t.txt", "\t"), ("t.csv", ",")):
        other = write(tmp_path, TABLE.replace(",", delimiter).replace("\n", "\r\n"), name)
        assert lists(read_auctions(other)) == plain
    packed = write(tmp_path, gzip.compress(TABLE.encode()), "t.csv.gz")
    assert lists(read_auctions(packed)) == plain


def test_clicks_need_not_be_in_a_file(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "market_price,value\n1,2\n")
    assert read_auctions(path).click is None
    with pytest.raises(ValueError, match="must have one column 'clicks', has"):
        read_auctions(path, click="clicks")


def test_columns_without_a_header(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "0\t51\t0.000154\n1\t87\t0.00014\n", "a.txt")
    found = read_auctions(path, click=0, market_price=1, value=2, features=[1])
    assert lists(found) == (
        [51.0, 87.0],
        [0.000154, 0.00014],
        [[51.0], [87.0]],
        [0.0, 1.0],
    )
    assert read_auctions(path, market_price=1, value=2).click is None
    for bad in ({"market_price": 1}, {"value": 2}, {"market_price": 1, "value": "v"}):
        with pytest.raises(ValueError, match="columns must be names, or"):
            read_auctions(path, **bad)  # type: ignore[arg-type]


def test_parquet(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.parquet"
    table = {"market_price": [1, 2], "value": pa.array([0.5, 0.25], pa.float32())}
    pq.write_table(pa.table(table | {"words": ["a", "b"]}), path)
    assert lists(read_auctions(path)) == ([1.0, 2.0], [0.5, 0.25], [[], []], None)
    with pytest.raises(ValueError, match=r"row 0: column 'words' .* number, got 'a'"):
        read_auctions(path, value="words")
    pq.write_table(pa.table(table | {"value": [0.5, None]}), path)
    with pytest.raises(ValueError, match=r"a.parquet, row 1: column 'value' .* got nan"):
        read_auctions(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"a\.parquet"):
        read_auctions(path)


def test_yzx_lines(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, YZX, "train.yzx.txt")
    found = read_auctions(path, "ipinyou-yzx")
    assert lists(found) == ([51.0, 30.0], [1.0, 1.0], [[], []], [0.0, 1.0])
    predicted = read_auctions(path, "ipinyou-yzx", value=[0.1, 0.2])
    assert predicted.value.tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match="value for each of 2 auctions, got 1"):
        read_auctions(path, "ipinyou-yzx", value=[0.1])


def test_the_price_of_an_ipinyou_log_is_found_by_its_header(
    tmp_path: pathlib.Path,
) -> None:
    rows = [
        {"click": "0", "payprice": "51", "slotprice": "5", "useragent": '"a b'},
        {"click": "1", "payprice": "30", "slotprice": "0", "usertag": "1,2"},
    ]
    # The 14th column, which is published as that of the price, holds a link.
    assert IPINYOU[13] == "url"
    path = write(tmp_path, ipinyou(*rows), "train.log.txt")
    found = read_auctions(path, "ipinyou-log", features=["slotprice"])
    assert lists(found) == ([51.0, 30.0], [1.0, 1.0], [[5.0], [0.0]], [0.0, 1.0])


def test_auctionnet_has_the_rows_of_one_advertiser_in_order(
    tmp_path: pathlib.Path,
) -> None:
    path = write(tmp_path, auctionnet([0, 1, 2]), "period-7.csv")
    found = read_auctions(path, "auctionnet", advertiser=1, features=["pValueSigma"])
    assert found.market_price.tolist() == [0.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(found.value, [0.1, 0.11, 0.12, 0.13])
    assert lists(found)[2:] == ([[0.5]] * 4, [0.0, 1.0, 0.0, 1.0])
    for advertiser in (None, 3):
        with pytest.raises(ValueError, match=rf"\[0\.0, 1\.0, 2\.0\], got {advertiser}"):
            read_auctions(path, "auctionnet", advertiser=advertiser)
    alone = write(tmp_path, auctionnet([4]), "period-8.csv")
    assert len(read_auctions(alone, "auctionnet")) == 4
    with pytest.raises(ValueError, match=r"advertiser must be None .* got 4"):
        read_auctions(alone, advertiser=4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("51,", "-51,", r"line 2: column 'market_price' must be .*>= 0, got -51\.0"),
        ("0.5,", "nan,", "line 3: column 'value' must be finite .*, got nan"),
        ("0.5,", ",", "line 3: column 'value' must be a number, got ''"),
        ("0.5,", "half,", "line 3: column 'value' must be a number, got 'half'"),
        ("51,", "1e999,", "line 2: column 'market_price' must be .* got inf"),
        (",1,8", ",2,8", r"line 3: column 'click' must be 0 or 1, got 2\.0"),
        (",1,8", ",1", "line 3: must have 4 cells, got 3"),
        (",1,8", ",1,8,9", "line 3: must have 4 cells, got 5"),
        ("\n0", "\n\n0", "line 3: column 'market_price' must be a number, got ''"),
        ("value", "worth", r"must have one column 'value', has \['market_price', "),
        ("hour", "value", "must have one column 'value', has"),
        ("51,0.25,0,7\n0,0.5,1,8\n", "", "must have auctions, has none"),
        (TABLE, "", "Empty CSV file"),
    ],
)
def test_what_is_wrong_in_a_table_is_found(
    tmp_path: pathlib.Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, TABLE.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_auctions(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 30 7:1", "1 30 7", "line 2: must be 'click price .*, got '1 30 7'"),
        ("1 30 7:1", "1", "line 2: must be 'click price .*, got '1'"),
        ("1 30", "1 x", "line 2: column 'market_price' must be a number, got 'x'"),
        ("1 30", "1 -3", r"line 2: column 'market_price' must be .* got -3\.0"),
        ("1 30", "5 30", r"line 2: column 'click' must be 0 or 1, got 5\.0"),
        ("\n1", "\n\n1", "line 2: must be 'click price .*, got ''"),
    ],
)
def test_what_is_wrong_in_yzx_lines_is_found(
    tmp_path: pathlib.Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, YZX.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_auctions(path, "ipinyou-yzx")


def test_a_bad_line_far_down_is_found_by_its_number(tmp_path: pathlib.Path) -> None:
    """Beyond the first of the blocks that are read at once."""
    rows = ["12345.5,0.123456"] * 400_000
    rows[345_678] = "12345.5,zero"
    path = write(tmp_path, "\n".join(["market_price,value", *rows]))
    with pytest.raises(ValueError, match=r"line 345680: column 'value' .* got 'zero'"):
        read_auctions(path)
    rows[345_678] = "12345.5"
    write(tmp_path, "\n".join(["market_price,value", *rows]))
    with pytest.raises(ValueError, match="line 345680: must have 2 cells, got 1"):
        read_auctions(path)


def test_what_is_no_form_or_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"form must be one of .*'ipinyou-yzx'.* 'csv'"):
        read_auctions(write(tmp_path, TABLE), "csv")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_auctions(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="UTF8"):
        read_auctions(write(tmp_path, b"market_price,value\n1,\xff\n"))


@given(
    st.lists(
        st.tuples(st.floats(0, 1e30), st.floats(-1e30, 1e30), st.integers(0, 1)),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(
    tmp_path: pathlib.Path, rows: list[tuple[float, float, int]]
) -> None:
    lines = ["market_price,value,click", *(f"{p!r},{v!r},{c}" for p, v, c in rows)]
    found = lists(read_auctions(write(tmp_path, "\n".join(lines) + "\n")))
    assert found[:2] == ([row[0] for row in rows], [row[1] for row in rows])
    assert found[3] == [row[2] for row in rows]
