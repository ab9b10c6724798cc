"""An empty picture, for results that can draw themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, of no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "a plot needs matplotlib: pip install 'bidclick-icac[render]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")
