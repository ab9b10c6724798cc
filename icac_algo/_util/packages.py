"""Packages that may be missing, and one that talks too much."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def required(name: str, purpose: str, install: str) -> Any:
    """A module of an optional package, or an ``ImportError`` that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{purpose}: pip install {install}") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty picture of so many inches, of no window."""
    pictures = required(
        "matplotlib.figure", "a plot needs matplotlib", "'bidclick-icac[render]'"
    )
    figure: Figure = pictures.Figure(figsize=(width, height), layout="constrained")
    return figure


def quiet_gym_notice() -> None:
    """Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""
    try:
        from gym_notices import notices
    except ImportError:
        return
    notices.notices.clear()
