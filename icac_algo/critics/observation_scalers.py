"""An observation scaler that d3rlpy does not have."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.preprocessing import StandardObservationScaler, register_observation_scaler


@dataclasses.dataclass()
class ClippedStandardObservationScaler(StandardObservationScaler):
    """Standardises and clips, in float64: what SB3's ``VecNormalize`` does.

    Args:
        mean: of every feature, ``(d,)``.
        std: standard deviation of every feature, ``(d,)``.
        eps: is added to ``std``.
        clip: largest absolute value.
    """

    clip: float = 10.0

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = self._numbers(x)
        return ((x.double() - mean) / std).clamp(-self.clip, self.clip).float()

    def reverse_transform(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = self._numbers(x)
        return x.double() * std + mean

    def transform_numpy(self, x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return self.transform(torch.as_tensor(x)).numpy()

    def reverse_transform_numpy(
        self, x: npt.NDArray[np.generic]
    ) -> npt.NDArray[np.generic]:
        return self.reverse_transform(torch.as_tensor(x)).numpy()

    def _numbers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (torch.as_tensor(np.asarray(n)) for n in (self.mean, self.std))
        return mean.to(x.device), std.to(x.device) + self.eps

    @staticmethod
    def get_type() -> str:
        return "clipped_standard"


register_observation_scaler(ClippedStandardObservationScaler)
