"""ConstraintAwareQ with outcomes: each learns by its own likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.dataset import TransitionMiniBatch
from d3rlpy.preprocessing import ObservationScaler, RewardScaler
from d3rlpy.torch_utility import TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import TorchObservation

from ..critics import (
    Block,
    OutcomeCritic,
    OutcomeQFunction,
    OutcomeStandardisation,
    Standardisation,
)
from ..data import REWARD, LoggedMiniBatch
from ..shapes import Outcome
from .base import all_terminal
from .constraint_aware_q_continuous import ContinuousConstraintAwareQImpl
from .constraint_aware_q_impl import ConstraintAwareQImpl


class OutcomeConstraintAwareQImpl(ConstraintAwareQImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ` with outcomes."""

    def __init__(
        self,
        *,
        outcomes: Sequence[Outcome],
        reward_scaler: RewardScaler | None,
        observation_scaler: ObservationScaler | None,
        **others: Any,
    ):
        super().__init__(**others)
        self._outcomes = list(outcomes)
        self._columns = [one.column for one in outcomes if one.column is not None]
        self._reward_scaler = reward_scaler
        self._observation_scaler = observation_scaler

    # -- update ----------------------------------------------------------------

    def critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
        """The loss, every critic's coordinates, and metrics by outcome."""
        logged = _logged(batch.numpy_batch)
        labels = [self._tensor(logged.extra(name)) for name in self._columns]
        actions = self._critic_actions(batch.actions)
        target = self._later_target(batch, logged)
        metrics: dict[str, torch.Tensor] = {}
        coordinates, total = [], torch.zeros((), device=self._device)
        for wrapped in self._modules.q_funcs:
            predictors, of_states = self._learn(wrapped, batch, actions)
            terms = {
                # Loggers make a file of each name.
                f"{name.replace('/', '_')}_loss": term
                for name, term in _critic(wrapped).fit_terms(predictors, labels).items()
            }
            if target is not None:
                later = self.squared_error([predictors[-1]], target)
                terms["what_follows_loss"] = later
            for name, term in terms.items():
                total = total + term
                metrics[name] = metrics.get(name, 0.0) + term.detach()
            coordinates.append(of_states)
        return total, coordinates, {**metrics, "critic_loss": total.detach()}

    def _learn(
        self, q_func: Any, batch: TorchMiniBatch, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predictors at logged actions, and coordinates; through any DDP wrapper."""
        found: tuple[torch.Tensor, torch.Tensor] = q_func(
            batch.observations, actions=actions, after=batch.next_observations
        )
        return found

    def _critic_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Logged actions as critics take them, ``(B, 1)``: indices here."""
        return actions.long().view(-1, 1)

    def _unscaled_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Logged actions in their own units, ``(B, 1)``."""
        return self.positions[self._critic_actions(actions)]

    def _later_target(
        self, batch: TorchMiniBatch, logged: LoggedMiniBatch
    ) -> torch.Tensor | None:
        """What follows, in scaled rewards, ``(B, 1)``; ``None`` if nothing ever does."""
        if not bool(_critic(self._modules.targ_q_funcs[0]).follows):
            return None
        own = self._tensor(logged.extra(REWARD))[:, None]
        if self._reward_scaler is not None:
            own = self._reward_scaler.transform(own)
        target = self.bellman_target(batch) - own
        return target.detach()

    def _tensor(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(values.astype(np.float32), device=self._device)

    def actor_values(
        self, x: TorchObservation, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        return self._all_values(self._modules.q_funcs, x)

    # -- level and scale -------------------------------------------------------

    def standardise_by_batch(self, batch: TorchMiniBatch) -> None:
        logged, x = _logged(batch.numpy_batch), batch.observations
        scaler = self._observation_scaler
        observations: npt.NDArray[Any] | None = None
        if isinstance(x, torch.Tensor) and x.dim() == 2:
            unscaled = x if scaler is None else scaler.reverse_transform(x)
            observations = unscaled.cpu().numpy()
        block = Block(
            self._outcomes,
            lambda: observations,
            self._unscaled_actions(batch.actions)[:, 0].double().cpu().numpy(),
            np.asarray(logged.extra(REWARD), np.float64),
            logged.extra,
            np.arange(len(batch.rewards)),
        )
        self.standardise(
            OutcomeStandardisation.of_log(
                Standardisation.of_batch(batch.rewards, batch.terminals, self._gamma),
                self._gamma > 0.0 and not all_terminal(batch),
                self._outcomes,
                lambda: iter([block]),
                scaler,
                self._reward_scaler,
            )
        )

    # -- prediction ------------------------------------------------------------

    def action_values(self, x: TorchObservation) -> torch.Tensor:
        """The deployed critic's values of all actions at once, ``(B, K)``."""
        return self._all_values(self._modules.average_q_funcs, x)

    def _all_values(self, q_funcs: Any, x: TorchObservation) -> torch.Tensor:
        critics = [_discrete(q_func) for q_func in q_funcs]
        return critics[0].composed(x, OutcomeQFunction.exact(critics, x))

    def outcome_means(self, x: TorchObservation, actions: torch.Tensor) -> torch.Tensor:
        """Means of the learned outcomes at given actions, ``(B, n)``, float64.

        Of several critics, at their mean on the links' scales, which has the shapes.
        """
        critics = [_discrete(q_func) for q_func in self._modules.average_q_funcs]
        means = critics[0].exact_means(OutcomeQFunction.exact(critics, x))
        chosen = actions.long().view(-1, 1)
        return torch.cat([mean.gather(1, chosen) for mean in means], dim=1)


class ContinuousOutcomeImpl(OutcomeConstraintAwareQImpl, ContinuousConstraintAwareQImpl):
    """The same over a Box of one action."""

    def _learn(
        self, q_func: Any, batch: TorchMiniBatch, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = q_func(
            batch.observations, batch.actions, actions=actions
        )
        return found

    def _critic_actions(self, actions: torch.Tensor) -> torch.Tensor:
        return self._unscaled_actions(actions)

    def _unscaled_actions(self, actions: torch.Tensor) -> torch.Tensor:
        scaler = self._action_scaler
        return actions if scaler is None else scaler.reverse_transform(actions)

    def outcome_means(self, x: TorchObservation, actions: torch.Tensor) -> torch.Tensor:
        critics = [_critic(q_func) for q_func in self._modules.average_q_funcs]
        known = [q_func.coordinates(x) for q_func in critics]
        predictors = _mean_predictors(critics, known, self._unscaled_actions(actions))
        return torch.cat(critics[0].means(predictors), dim=1)

    def mean_values(
        self,
        q_funcs: Sequence[OutcomeCritic],
        x: TorchObservation,
        coordinates: Sequence[torch.Tensor],
        actions: torch.Tensor,
    ) -> torch.Tensor:
        # Means are taken on the links' scales, as over discrete actions.
        predictors = _mean_predictors(q_funcs, coordinates, actions)
        return q_funcs[0].compose(x, predictors, actions)


def _mean_predictors(
    critics: Sequence[OutcomeCritic],
    coordinates: Sequence[torch.Tensor],
    actions: torch.Tensor,
) -> torch.Tensor:
    """Of several critics at unscaled actions ``(B, M)``: ``(n + 1, B, M)``."""
    found = [
        q.predictors(of_states.double(), actions.double())
        for q, of_states in zip(critics, coordinates, strict=True)
    ]
    return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)


def _logged(batch: TransitionMiniBatch | None) -> LoggedMiniBatch:
    if not isinstance(batch, LoggedMiniBatch):
        raise ValueError(
            "outcomes are learned from batches of a ColumnarReplayBuffer, which know "
            f"further columns, got {type(batch).__name__}"
        )
    return batch


def _critic(q_func: Any) -> OutcomeCritic:
    critic = unwrap_ddp_model(q_func)
    assert isinstance(critic, OutcomeCritic)
    return critic


def _discrete(q_func: Any) -> OutcomeQFunction:
    critic = unwrap_ddp_model(q_func)
    assert isinstance(critic, OutcomeQFunction)
    return critic
