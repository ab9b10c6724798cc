"""Tables of auctions from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bidclick_gym import Auctions


def test_columns_are_copies_that_nobody_changes() -> None:
    prices = np.array([1, 2, 3])
    auctions = Auctions(prices, [0.1, 0.2, 0.3], np.ones((3, 2)), [True, False, True])
    prices[0] = 9
    assert auctions.market_price.tolist() == [1.0, 2.0, 3.0]
    assert auctions.click is not None
    assert auctions.click.tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        auctions.value[0] = 1.0


def test_a_part_of_a_table_is_a_table() -> None:
    auctions = Auctions([1, 2, 3], [0.1, 0.2, 0.3], np.arange(6).reshape(3, 2))
    part = auctions[1:]
    assert len(part) == 2
    assert part.features is not None
    assert part.features.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert part.click is None
    with pytest.raises(ValueError, match="at least one auction"):
        auctions[3:]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"market_price": [1.0, -2.0]}, "row 1: market_price must be .*>= 0, got -2"),
        ({"market_price": [np.inf, 1.0]}, "row 0: market_price must be .*, got inf"),
        ({"value": [1.0, np.nan]}, "row 1: value must be finite .*, got nan"),
        ({"value": [1.0, 1e39]}, "row 1: value must be finite in float32, got 1e"),
        ({"value": np.ma.masked_equal([1.0, 2.0], 2.0)}, "value must .* got masked"),
        ({"value": [1.0]}, "value must have a value for each of 2 auctions, got 1"),
        ({"click": [0, 2]}, "row 1: click must be 0 or 1, got 2"),
        ({"click": [0.5, 0]}, r"row 0: click must be 0 or 1, got 0\.5"),
        ({"features": [1.0, 2.0]}, r"features must be numbers of shape \(N, F\)"),
        ({"features": [[1.0], [np.nan]]}, "row 1: features must be .* got nan"),
        ({"value": ["a", "b"]}, "value must be numbers .* got"),
        ({"market_price": []}, "market_price must have at least one auction"),
        ({"market_price": 1.0}, r"market_price must be numbers of shape \(N,\)"),
        ({"features": [[1.0], [1.0, 2.0]]}, "features must be numbers"),
    ],
)
def test_bad_columns_are_refused_by_name(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Auctions(**({"market_price": [1.0, 2.0], "value": [1.0, 1.0]} | columns))
