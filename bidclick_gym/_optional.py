"""Imports of packages that only some functions need."""

from __future__ import annotations

import contextlib
from types import ModuleType

__all__ = ["import_icac_algo", "import_minari", "quiet_gym_notice"]

_HINT = "pip install 'bidclick-icac[icac]'"


def import_minari() -> ModuleType:
    """Minari, or an error that says how to get it."""
    try:
        import minari
    except ImportError as error:
        raise ImportError(f"this needs minari: {_HINT}") from error
    return minari


def import_icac_algo() -> ModuleType:
    """icac_algo and with it d3rlpy, or an error that says how to get it."""
    try:
        import icac_algo
    except ImportError as error:
        raise ImportError(f"this needs d3rlpy: {_HINT}") from error
    return icac_algo


def quiet_gym_notice() -> None:
    """Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""
    with contextlib.suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()
