"""Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""

from __future__ import annotations

__all__ = ["quiet_gym_notice"]


def quiet_gym_notice() -> None:
    """Empties the table of notices that ``import gym`` would look itself up in."""
    try:
        from gym_notices import notices
    except ImportError:
        return
    notices.notices.clear()
