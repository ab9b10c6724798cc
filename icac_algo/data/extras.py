"""Further columns of a log by name: what was logged beside observation and reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Column, Columns

#: The name that the rewards themselves go by.
REWARD = "reward"


def find_extra(columns: Columns, name: str) -> tuple[str, Column, int] | None:
    """The column of this name, its full name, and how many rows later its values stand.

    ``"click"`` also finds the infos ``"click"`` of a Minari dataset, which begin with
    that of a reset: there the value of a step stands one row later.
    """
    if name == REWARD and name not in columns.extras:
        return "rewards", columns.rewards, 0
    shifted = int(columns.index.all_have_final)
    found: Mapping[str, int] = {name: 0, f"info/{name}/steps": 0, f"info/{name}": shifted}
    if name.startswith("info/") and not name.endswith("/steps"):
        found = {name: shifted}
    for full, later in found.items():
        if full in columns.extras:
            return f"extras: {full}", columns.extras[full], later
    return None


def extra_values(
    columns: Columns, name: str, rows: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """What a column says of the steps at ``rows``, ``(B,)`` or ``(B, ...)``.

    Raises:
        KeyError: there is no such column.
    """
    found = find_extra(columns, name)
    if found is None:
        raise KeyError(name)
    _, column, later = found
    values = column.take(rows + later)
    return values[:, 0] if values.shape[1:] == (1,) else values
