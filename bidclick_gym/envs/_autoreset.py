"""How a batch of environments starts its next episodes, on every Gymnasium."""

from __future__ import annotations

import enum
from typing import Any

import gymnasium as gym

__all__ = ["DISABLED", "NEXT_STEP", "SAME_STEP", "parse_autoreset_mode"]


class _AutoresetMode(enum.Enum):
    """Stands in for ``gymnasium.vector.AutoresetMode``, which came with 1.1."""

    NEXT_STEP = "NextStep"
    SAME_STEP = "SameStep"
    DISABLED = "Disabled"


_Mode: Any = getattr(gym.vector, "AutoresetMode", _AutoresetMode)

NEXT_STEP: enum.Enum = _Mode.NEXT_STEP
SAME_STEP: enum.Enum = _Mode.SAME_STEP
DISABLED: enum.Enum = _Mode.DISABLED


def parse_autoreset_mode(mode: Any) -> enum.Enum:
    """The mode that a member, its value or its name in any case stands for.

    Raises:
        ValueError: it is none of these.
    """
    for member in (NEXT_STEP, SAME_STEP, DISABLED):
        if mode is member:
            return member
        names = (member.name.lower(), str(member.value).lower())
        if isinstance(mode, str) and mode.lower() in names:
            return member
    raise ValueError(
        "autoreset_mode must be 'next_step', 'same_step', 'disabled' or a member of "
        f"gymnasium.vector.AutoresetMode, got {mode!r}"
    )
