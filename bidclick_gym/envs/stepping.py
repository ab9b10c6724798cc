"""What all environments share: resets that are needed or automatic, and information."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from .._arrays import AnyArray, BoolArray
from ..auction import Auction

#: Reset options: lowest and highest value, and the type in which they are compared.
Bounds: TypeAlias = Mapping[str, tuple[float, float, Any]]

RENDER_MODES = ["ansi", "rgb_array"]


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
    """The mode that a member, its value or its name in any case stands for."""
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


def chosen_values(
    options: Mapping[str, Any],
    bounds: Bounds,
    count: int | None = None,
    where: Any = True,
) -> dict[str, AnyArray]:
    """Checked reset options, ``()`` or ``(count,)``, looked at only ``where`` reset."""
    names = (*bounds, *(() if count is None else ("reset_mask",)))
    unknown = sorted(set(map(str, options)) - set(bounds))
    if unknown:
        raise ValueError(f"reset options must be among {names}, got {unknown}")
    return {
        name: _chosen(name, given, *bounds[name], count, where)
        for name, given in options.items()
    }


def _chosen(
    name: str,
    given: Any,
    low: float,
    high: float,
    dtype: type[np.generic],
    count: int | None,
    where: Any,
) -> AnyArray:
    real, shape = issubclass(dtype, np.floating), () if count is None else (count,)
    try:
        values = np.asarray(given)
    except ValueError:  # a list of unequal lists is no array at all
        values = np.asarray(None)
    if values.dtype.kind in ("fiu" if real else "iu") and values.shape in ((), shape):
        # In its own type: in float32 the budget's neighbour passes for it.
        values = np.broadcast_to(values.astype(dtype), shape)
        if ((values >= dtype(low)) & (values <= dtype(high)) | ~np.asarray(where)).all():
            return values
    each = "" if count is None else f", or one for each of {count} sub-environments"
    raise ValueError(
        f"reset option {name!r} must be {'a number' if real else 'an integer'} in "
        f"[{low:g}, {high:g}]{each}, got {given!r}"
    )


def context_bounds(auction: Auction) -> Bounds:
    """What the reset options ``"x"`` and ``"c"`` may be."""
    return {"x": (0.0, 1.0, np.float32), "c": (*auction.cost_range, np.float32)}


def batch_info(
    values: Mapping[str, AnyArray], count: int, played: BoolArray | None
) -> dict[str, Any]:
    """Gymnasium's vector information: values and masks, at least the mask ``_click``."""
    mask = np.ones(count, dtype=np.bool_) if played is None else played
    everywhere = played is None or played.all()
    info: dict[str, Any] = {}
    for name, value in values.items():
        info[name] = value if everywhere else np.where(mask, value, value.dtype.type(0))
        info[f"_{name}"] = mask
    return {"_click": mask, **info}


def final_info(
    values: Mapping[str, AnyArray], final: AnyArray, ended: BoolArray
) -> dict[str, Any]:
    """What Gymnasium's same-step autoreset says of the episodes that ended."""
    info = {"final_info": batch_info(values, len(ended), ended), "_final_info": ended}
    if not values:
        return info
    # One array for each environment, as Gymnasium's own vector environments have it.
    observations = np.full(len(ended), None, dtype=object)
    observations[ended] = np.fromiter(final[ended], dtype=object)
    return {"final_obs": observations, "_final_obs": ended, **info}


def check_render_mode(mode: str | None) -> None:
    """Raises ``ValueError`` for what is no mode of one environment."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(
            f"render_mode must be None or one of {RENDER_MODES}, got {mode!r}"
        )


def may_render(mode: str | None, is_started: bool) -> bool:
    """Whether there is something to be shown; warns where no mode was chosen."""
    if mode is None:
        gym.logger.warn(
            "render() was called without a render_mode; "
            'make the environment with render_mode="ansi" or "rgb_array"'
        )
    elif not is_started:
        raise gym.error.ResetNeeded("call reset() before render()")
    return mode is not None


def one_bid(action: Any, space: gym.Space[Any], bids: Sequence[float] | None) -> float:
    """The bid of one environment's action: an index into ``bids``, or the bid itself."""
    if bids is None:
        assert isinstance(space, gym.spaces.Box)
        value, high = np.asarray(action), float(space.high[0])
        is_number = value.size == 1 and value.dtype.kind in "fiu"
        if not is_number or not (0.0 <= float(value.reshape(-1)[0]) <= high):
            raise ValueError(
                f"action must be one bid in [0, {high:g}], got {action!r}; policies on "
                "[-1, 1] need an action scaler"
            )
        return float(value.reshape(-1)[0])
    # Space.contains takes longer than the auction; most actions are plain indices.
    if type(action) in (int, np.int64) and 0 <= action < len(bids):
        return bids[action]
    # An array of one integer counts as that integer, as policies return it.
    one = isinstance(action, np.ndarray) and action.size == 1
    index = action.reshape(-1)[0] if one else action
    if not space.contains(index):
        raise ValueError(
            f"action must be an integer from 0 to {len(bids) - 1} "
            f"(an index into bids), got {action!r}"
        )
    return bids[int(index)]
