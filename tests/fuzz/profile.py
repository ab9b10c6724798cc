"""How hard the fuzz tests try: ``make fuzz`` under a minute, ``make fuzz-long`` longer.

The profile is seeded, so that the gate sees the same cases each time.  The environment
variable ``FUZZ_EXAMPLES`` multiplies their number; beyond 1 they are drawn anew each run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ_EXAMPLES", "1"))

settings.register_profile(
    "fuzz",
    max_examples=60 * FACTOR,
    derandomize=FACTOR == 1,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FUZZ = settings.get_profile("fuzz")


def times(share: float) -> hypothesis.settings:
    """The profile with a share of its examples, for what takes long."""
    return settings(FUZZ, max_examples=max(1, int(share * FUZZ.max_examples)))


def attempt(
    make: Callable[[], Any], *refusals: type[Exception]
) -> tuple[Any, str | None]:
    """What is made and ``None``, or ``None`` and what an allowed error says."""
    try:
        return make(), None
    except refusals as error:
        return None, str(error)
