"""Where all global random numbers stand, and how to put them back."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import d3rlpy
import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators; torch's are tensors."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    state = {"python": random.getstate(), "numpy": numpy_state}
    plain = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {**plain, "torch": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: dict[str, Any]) -> None:
    """Puts back what :func:`random_state` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Begins from a seed, and leaves all generators as they were."""
    before = random_state()
    try:
        d3rlpy.seed(seed)
        yield
    finally:
        restore_random_state(before)
