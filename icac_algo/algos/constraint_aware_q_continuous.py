"""ConstraintAwareQ for one continuous action: other critics and actor, same update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.models.torch import build_squashed_gaussian_distribution
from d3rlpy.preprocessing import ActionScaler
from d3rlpy.torch_utility import TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import TorchObservation

from ..critics import ContinuousOutcomeQFunction, ContinuousShapedQFunction
from ..decisions import best_continuous_actions
from .constraint_aware_q_impl import ConstraintAwareQImpl

Critic = ContinuousShapedQFunction | ContinuousOutcomeQFunction


class ContinuousConstraintAwareQImpl(ConstraintAwareQImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ` over a Box of one action.

    Actions come in and go out as ``action_scaler`` leaves them, as in all of d3rlpy;
    inside they have their own units, in which the shape is stated.
    """

    def __init__(self, *, action_scaler: ActionScaler | None, **others: Any):
        super().__init__(**others)
        self._action_scaler = action_scaler
        actions = self._constraint.actions or [0.0, 1.0]
        self._range = (actions[0], actions[-1])

    # -- update ----------------------------------------------------------------

    def critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
        """The loss, every critic's coordinates ``(B, n)``, and metrics."""
        target, x, trunk = self.bellman_target(batch), batch.observations, self._trunk
        if trunk is not None:
            q_func, found = _critic(self._modules.q_funcs[0]), trunk.coordinates(x)
            actions = trunk.repeated(q_func.unscaled_actions(batch.actions))
            q = q_func.at_coordinates(trunk.repeated(x), found, actions)
            loss = self.squared_error(trunk.each(q), target)
            return loss, trunk.each(found), {"critic_loss": loss.detach()}
        values, coordinates = [], []
        for wrapped in self._modules.q_funcs:
            q_func = _critic(wrapped)
            of_states = q_func.coordinates(x)
            actions = q_func.unscaled_actions(batch.actions)
            values.append(q_func.at_coordinates(x, of_states, actions))
            coordinates.append(of_states)
        loss = self.squared_error(values, target)
        return loss, coordinates, {"critic_loss": loss.detach()}

    def best_target_value(self, x: TorchObservation) -> torch.Tensor:
        """The least of target critics at the best action of their mean, ``(B, 1)``."""
        q_funcs = [_critic(q_func) for q_func in self._modules.targ_q_funcs]
        best = self._best_actions(q_funcs, x)
        return torch.stack([q_func.at(x, best) for q_func in q_funcs]).amin(dim=0)

    def actor_loss(
        self, batch: TorchMiniBatch, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        r"""What raises :math:`E_\pi[Q - \alpha \log\pi]`, reparametrised, Q fixed."""
        x = batch.observations
        squashed, log_prob = self._distribution(x).sample_with_log_prob()
        actions = self._unsquashed(squashed)
        values = [
            _critic(q_func).at_coordinates(x, coordinates.detach(), actions)
            for q_func, coordinates in zip(
                # The copies' functions: theirs are no parameters that are being trained.
                self._modules.targ_q_funcs,
                critics,
                strict=True,
            )
        ]
        q = torch.stack(values).mean(dim=0) / self._scale
        return (self._entropy_temperature * log_prob - q).mean()

    # -- prediction ------------------------------------------------------------

    def inner_predict_best_action(self, x: TorchObservation) -> torch.Tensor:
        if self._greedy == "actor":
            assert self._modules.policy is not None
            return self._scaled(self._unsquashed(self._modules.policy(x).squashed_mu))
        q_funcs = [_critic(q_func) for q_func in self._modules.average_q_funcs]
        return self._scaled(self._best_actions(q_funcs, x))

    def inner_predict_value(
        self, x: TorchObservation, action: torch.Tensor
    ) -> torch.Tensor:
        q_funcs = [_critic(q_func) for q_func in self._modules.average_q_funcs]
        known = [q_func.coordinates(x) for q_func in q_funcs]
        actions = q_funcs[0].unscaled_actions(action)
        return self.mean_values(q_funcs, x, known, actions).reshape(-1).float()

    def inner_sample_action(self, x: TorchObservation) -> torch.Tensor:
        return self._scaled(self._unsquashed(self._distribution(x).sample()))

    def _best_actions(
        self, q_funcs: Sequence[Critic], x: TorchObservation
    ) -> torch.Tensor:
        """Greedy unscaled actions for the mean of critics, float64 ``(B, 1)``."""
        known = [q_func.coordinates(x) for q_func in q_funcs]
        # Not len(), which a traced graph would take for a constant.
        ends = self._modules.state.support.expand(known[0].shape[0], 2)
        return best_continuous_actions(
            lambda actions: self.mean_values(q_funcs, x, known, actions),
            self._constraint,
            ends,
        )

    def mean_values(
        self,
        q_funcs: Sequence[Any],
        x: TorchObservation,
        coordinates: Sequence[torch.Tensor],
        actions: torch.Tensor,
    ) -> torch.Tensor:
        """What several critics together say of unscaled actions, float64 ``(B, M)``."""
        values = [
            q.fine_values(x, of_states, actions)
            for q, of_states in zip(q_funcs, coordinates, strict=True)
        ]
        return values[0] if len(values) == 1 else torch.stack(values).mean(dim=0)

    # -- units of actions ------------------------------------------------------

    def _distribution(self, x: TorchObservation) -> Any:
        assert self._modules.policy is not None
        return build_squashed_gaussian_distribution(self._modules.policy(x))

    def _unsquashed(self, squashed: torch.Tensor) -> torch.Tensor:
        """[-1, 1] to the range of the constraint."""
        lower, upper = self._range
        return lower + (upper - lower) * (squashed + 1.0) / 2.0

    def _scaled(self, actions: torch.Tensor) -> torch.Tensor:
        lowest, highest = self._modules.state.support.float()
        actions = torch.minimum(torch.maximum(actions.float(), lowest), highest)
        scaler = self._action_scaler
        return actions if scaler is None else scaler.transform(actions)


def _critic(q_func: Any) -> Critic:
    critic = unwrap_ddp_model(q_func)
    assert isinstance(critic, (ContinuousShapedQFunction, ContinuousOutcomeQFunction))
    return critic
