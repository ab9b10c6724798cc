"""The least concave majorant: what makes nearly concave values concave, without drift.

Cutting slopes one after the other adds their errors up over a long row.  The majorant of
values within ``e`` of a concave function is within ``2 e`` of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["concave_majorant"]


def concave_majorant(
    values: torch.Tensor, positions: npt.NDArray[np.float64]
) -> torch.Tensor:
    """The smallest concave values above these, ``(B, K)``, row by row on the CPU."""
    rows = values.detach().cpu().numpy()
    lifted = [np.interp(positions, *_upper_hull(positions, row)) for row in rows]
    return torch.as_tensor(np.stack(lifted)).to(values)


def _upper_hull(
    positions: npt.NDArray[np.float64], row: npt.NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """Corners of the upper hull, by Andrew's monotone chain."""
    x: list[float] = []
    y: list[float] = []
    for place, value in zip(positions.tolist(), row.tolist(), strict=True):
        while len(x) > 1:
            turn = (y[-1] - y[-2]) * (place - x[-1]) - (value - y[-1]) * (x[-1] - x[-2])
            if turn > 0.0:
                break
            x.pop()
            y.pop()
        x.append(place)
        y.append(value)
    return x, y
