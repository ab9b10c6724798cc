"""Whether a scaler can scale what it is given."""

from __future__ import annotations

from typing import Any

import numpy as np

_LARGEST_ROUNDING = 1e3


def check_scaler(name: str, scaler: Any, values: Any) -> None:
    """Checks that a scaler of d3rlpy's that is built makes finite numbers of values.

    It does not where it divides by the spread of something that is constant.  Errors
    have the name of the config's field.
    """
    kind, values = type(scaler).__name__, np.asarray(values)
    try:
        with np.errstate(all="ignore"):
            scaled, moved = (
                np.asarray(scaler.transform_numpy(v), dtype=np.float64)
                for v in (values, values * (1.0 + 2.0**-23))
            )
        fits = scaled.shape == values.shape
    except (AssertionError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"{name}={kind}(...) must fit values of the shape {values.shape[1:]}, got "
            f"{scaler!r}"
        )
    # A spread of nothing but rounding makes large numbers of float32's last digit.
    with np.errstate(invalid="ignore"):
        good = np.isfinite(scaled) & (np.abs(moved - scaled) < _LARGEST_ROUNDING)
    bad = np.argwhere(~good)
    if len(bad):
        what = "the rewards" if name == "reward_scaler" else f"feature {bad[0][1]}"
        raise ValueError(
            f"{name}={kind}(...) cannot scale {what}, which it holds to be constant: "
            f"{values[tuple(bad[0])]:g} became {scaled[tuple(bad[0])]:g}; leave the "
            "feature or the scaler out, or give the scaler a range of its own"
        )
