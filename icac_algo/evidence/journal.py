"""What long work has finished, in a file, and where random numbers stood before it."""

from __future__ import annotations

import io
import json
import os
import pathlib

import numpy as np
import numpy.typing as npt
import torch

from .._util.files import write_whole
from .._util.random_numbers import random_state, restore_random_state

FloatArray = npt.NDArray[np.float64]


class Journal(dict[str, FloatArray]):
    """Arrays by name, of parts that are finished, in a file if there is one.

    It also keeps where random numbers stood, and puts them back, so that what follows a
    search does not depend on whether it was interrupted.

    Args:
        file: where; ``None`` keeps nothing.
        identity: what makes two searches the same one.

    Raises:
        ValueError: the file cannot be read, or is of another search.
    """

    def __init__(self, file: str | os.PathLike[str] | None, identity: str):
        self._file = None if file is None else pathlib.Path(file)
        state = random_state()
        tensors = {"torch": state.pop("torch"), "cuda": state.pop("cuda")}
        self._about = {
            "identity": np.array(identity),
            "random": np.array(json.dumps(state)),
            "torch": tensors["torch"].numpy(),
        }
        if self._file is None or not self._file.exists():
            return
        try:
            with np.load(self._file, allow_pickle=False) as opened:
                kept = dict(opened)
            about = {name: kept.pop(name) for name in self._about}
            if str(about["identity"]) == identity:
                state = json.loads(str(about["random"]))
                tensors["torch"] = torch.from_numpy(about["torch"])
                restore_random_state({**state, **tensors})
        except Exception as error:
            raise ValueError(
                f"the journal {self._file} cannot be read: {error!r}"
            ) from error
        if str(about["identity"]) != identity:
            raise ValueError(
                f"the journal {self._file} is of another search, of other data or "
                "settings; use another file"
            )
        self._about = about
        self.update(kept)

    def keep(self, key: str, answers: FloatArray) -> None:
        """Adds one training, and writes the file anew."""
        self[key] = answers
        if self._file is not None:
            buffer = io.BytesIO()
            np.savez(buffer, **self._about, **self)  # type: ignore[arg-type]
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, buffer.getvalue())
