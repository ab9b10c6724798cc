"""A categorical policy without the checks that cost as much as its layers."""

from __future__ import annotations

from d3rlpy.models.encoders import EncoderFactory
from d3rlpy.models.torch import CategoricalPolicy
from d3rlpy.models.torch.encoders import compute_output_size
from d3rlpy.torch_utility import wrap_model_by_ddp
from d3rlpy.types import Shape, TorchObservation
from torch.distributions import Categorical

__all__ = ["UncheckedCategoricalPolicy", "create_policy"]


class UncheckedCategoricalPolicy(CategoricalPolicy):
    """d3rlpy's categorical policy; its logits are finite if the network's weights are."""

    def forward(self, x: TorchObservation) -> Categorical:
        return Categorical(logits=self._fc(self._encoder(x)), validate_args=False)


def create_policy(
    observation_shape: Shape,
    action_size: int,
    encoder_factory: EncoderFactory,
    device: str,
    enable_ddp: bool,
) -> CategoricalPolicy:
    """As d3rlpy's ``create_categorical_policy``."""
    encoder = encoder_factory.create(observation_shape)
    hidden_size = compute_output_size([observation_shape], encoder)
    policy = UncheckedCategoricalPolicy(encoder, hidden_size, action_size)
    policy.to(device)
    return wrap_model_by_ddp(policy) if enable_ddp else policy
