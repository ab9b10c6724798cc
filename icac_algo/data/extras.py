"""Further columns of a log by name: what was logged beside observation and reward."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Column, Columns

#: The name that the rewards themselves go by.
REWARD = "reward"


def find_extra(columns: Columns, name: str) -> tuple[str, Column] | None:
    """The full name and the column of this name; ``None`` if there is none.

    ``"click"`` also finds the infos ``"click"`` of a Minari dataset.
    """
    if name == REWARD:
        return "rewards", columns.rewards
    for full in (name, f"info/{name}/steps", f"info/{name}"):
        if full in columns.extras:
            return f"extras: {full}", columns.extras[full]
    return None


def extra_values(
    columns: Columns, name: str, rows: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """What a column says of the steps at ``rows``, ``(B,)`` or ``(B, ...)``."""
    found = find_extra(columns, name)
    if found is None:
        raise KeyError(name)
    values = found[1].take(rows)
    return values[:, 0] if values.shape[1:] == (1,) else values
