"""A table of auctions that happened, to be replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, FloatArray

_LARGEST = float(np.finfo(np.float32).max)
#: What a column may hold, in words and as a lowest and highest number.
_ALLOWED = {
    "market_price": ("finite in float32 and >= 0", 0.0, _LARGEST),
    "click": ("0 or 1", 0.0, 1.0),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Auctions:
    """Auctions in the order in which they happened, as read-only columns.

    Args:
        market_price: the highest competing bid, in any unit, at least 0; ``(N,)``.
        value: what winning is worth, such as a predicted click-through rate, ``(N,)``.
        features: what else a bidder sees, ``(N, F)``; none if not given.
        click: 0 or 1, whether it was clicked, ``(N,)``; None if that is not known.

    Raises:
        ValueError: a column has another length or a value that is not allowed; the
            message names column and row, counted from 0.
    """

    market_price: FloatArray
    value: FloatArray
    features: FloatArray | None = None
    click: FloatArray | None = None

    def __post_init__(self) -> None:
        given = dict(vars(self))
        if self.features is None:
            given["features"] = np.empty((len(np.atleast_1d(self.market_price)), 0))
        columns = {n: _column(n, v) for n, v in given.items() if v is not None}
        rows = len(columns["market_price"])
        if rows == 0:
            raise ValueError("market_price must have at least one auction, got none")
        for name, column in columns.items():
            check_column(name, column, "row {}".format)
            if len(column) != rows:
                raise ValueError(
                    f"{name} must have a value for each of {rows} auctions, got "
                    f"{len(column)}"
                )
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.market_price)

    def __getitem__(self, rows: slice) -> Auctions:
        """Some of the auctions, such as ``auctions[:1000]``."""
        kept: dict[str, Any] = {
            name: None if column is None else column[rows]
            for name, column in vars(self).items()
        }
        return Auctions(**kept)


def check_column(
    role: str, column: AnyArray, where: Callable[[int], str], name: str = ""
) -> None:
    """Raises ``ValueError`` with the first value that is not allowed, and where it is."""
    allowed, low, high = _ALLOWED.get(role, ("finite in float32", -_LARGEST, _LARGEST))
    inside = (column >= low) & (column <= high)
    if role == "click":
        inside &= column == np.rint(column)
    if not inside.all():
        place = where(int(np.argwhere(~inside)[0, 0]))
        raise ValueError(
            f"{place}: {name or role} must be {allowed}, got "
            f"{column[~inside].flat[0].item()!r}"
        )


def _column(name: str, values: npt.ArrayLike) -> AnyArray:
    """Numbers as a read-only array of their own."""
    dimensions = 2 if name == "features" else 1
    try:
        found: Any = np.array(values)
    except ValueError:  # a list of unequal lists
        found = np.array(None)
    is_masked = np.ma.is_masked(values)
    if found.dtype.kind not in "fiub" or found.ndim != dimensions or is_masked:
        shape = "(N, F)" if dimensions == 2 else "(N,)"
        kind = "masked values" if is_masked else found.dtype
        raise ValueError(
            f"{name} must be numbers of shape {shape}, got {kind} of shape {found.shape}"
        )
    found = found.astype(np.float64)
    found.flags.writeable = False
    return found
