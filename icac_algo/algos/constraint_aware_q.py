"""ConstraintAwareQ: config and algorithm.

The update itself is in ``constraint_aware_q_impl``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.base import DeviceArg, LearnableConfig, register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.models.builders import (
    create_continuous_q_function,
    create_discrete_q_function,
    create_normal_policy,
)
from d3rlpy.models.encoders import EncoderFactory, make_encoder_field
from d3rlpy.optimizers.optimizers import OptimizerFactory, make_optimizer_field
from d3rlpy.torch_utility import convert_to_torch, convert_to_torch_recursively
from d3rlpy.types import Observation, Shape

from .._util.checks import check_built, check_choice, check_count, check_number
from .._util.fields import cast_fields
from ..critics import (
    Afterstates,
    Canonical,
    Critic,
    Euclidean,
    Functional,
    OutcomeStandardisation,
    Prior,
    ShapedQFunctionFactory,
    Standardisation,
    blocks_of,
    check_batches,
    check_log,
    make_critic_field,
    reward_slope,
)
from ..data import ColumnarReplayBuffer, action_range, check_continuous_dataset
from ..evidence import check_prior_at_fit
from ..shapes import (
    Concave,
    Constraint,
    Outcome,
    StateConstraint,
    Unconstrained,
    as_outcomes,
    as_shape,
    check_outcome_features,
    check_state_constraints,
    make_constraint_field,
    make_outcomes_field,
    make_state_constraints_field,
    shared_actions,
)
from .base import DiscreteAlgorithm
from .constraint_aware_q_continuous import ContinuousConstraintAwareQImpl
from .constraint_aware_q_euclidean import EuclideanConstraintAwareQImpl
from .constraint_aware_q_impl import (
    ConstraintAwareQImpl,
    ConstraintAwareQModules,
    TrainingState,
)
from .constraint_aware_q_outcomes import (
    ContinuousOutcomeImpl,
    OutcomeConstraintAwareQImpl,
)
from .networks import create_optimizer, create_policy
from .processes import from_all_processes


@dataclasses.dataclass()
class ConstraintAwareQConfig(LearnableConfig):
    r"""Q-learning with a critic that obeys a stated shape exactly.

    Algorithm 1 of Baheri, "Implicit Constraint-Aware Off-Policy Correction for Offline
    Reinforcement Learning" (2025), and critics of ours that reach the same guarantee with
    less regret.  The critic minimises

    .. math:: L(\theta) = \frac12 \mathbb{E}_{(s, a, r, s')} \left[
        (u_\theta(s, a) - r - \gamma \max_{a'} \bar u(s', a'))^2 \right]

    where :math:`u_\theta(s, \cdot)` has the shape for every :math:`\theta` and
    :math:`\bar u` is a Polyak-averaged target critic with the same shape.  What
    ``predict`` and ``predict_value`` show is exact at every step and every state.

    The actor maximises :math:`\mathbb{E}_\pi[Q - \alpha \log \pi]` (equation 8).  Over
    discrete actions that has the closed form :math:`\mathrm{softmax}(Q / \alpha)`, which
    ``sample_action`` draws from by default; a network that learns it is the paper's.

    References:
        * Baheri, Implicit Constraint-Aware Off-Policy Correction for Offline
          Reinforcement Learning, 2025.

    Args:
        observation_scaler (d3rlpy.preprocessing.ObservationScaler): Observation
            preprocessor.
        action_scaler (d3rlpy.preprocessing.ActionScaler): Action preprocessor, for
            continuous actions.
        reward_scaler (d3rlpy.preprocessing.RewardScaler): Reward preprocessor.
        critic_learning_rate (float): Learning rate of the critic.
        actor_learning_rate (float): Learning rate of the actor network, if there is one.
        critic_optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of the
            critic.
        actor_optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of the actor
            network, if there is one.
        critic_encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of the
            critic.
        actor_encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of the
            actor network, if there is one.
        batch_size (int): Mini-batch size.
        gamma (float): Discount factor; 1 only for episodes that terminate.
        n_critics (int): Number of critics.  Targets use their minimum, values their
            mean, which keeps every shape.
        share_encoder (bool): Whether several critics share one encoder.
        constraint (icac_algo.shapes.Constraint): The shape over actions, or words for it
            (``"monotone+concave"``); over a continuous action the ends of its
            ``actions`` (by default 0 and 1) are its range.  By default
            :class:`~icac_algo.Concave`; beside outcomes the shape of *what follows*,
            by default none.
        outcomes (list[icac_algo.Outcome]): The parts of the reward, or words for them
            (``"click: monotone; link=logit"``), each with the shape that is true of it;
            known weights make Q of them.  The dataset is then a
            :class:`~icac_algo.ColumnarReplayBuffer` with a column for each.
        state_constraints (list[icac_algo.shapes.StateConstraint]): Shapes over features
            of the observation, with ``critic=Functional()``.
        critic (icac_algo.critics.Critic): How the critic is made to have the shape:
            :class:`~icac_algo.Functional`, :class:`~icac_algo.Canonical`,
            :class:`~icac_algo.Euclidean` (the paper's) or
            :class:`~icac_algo.Afterstates`; continuous actions have the first, and so
            have outcomes.
        tau (float): Polyak factor of the target critic.
        average_window (float): The deployed critic is an average of the iterates of
            about this last share of training so far (polynomial-decay averaging); 0
            deploys the last iterate.
        actor (str): ``"softmax"`` is the closed form, without a network;
            ``"network"`` learns by the exact sum over actions and ``"network-sampled"``
            by the paper's score function.  Over continuous actions there is always a
            network, which learns by reparametrisation; ``"network-sampled"`` is not for
            them.
        greedy (str): What ``predict`` is greedy for: the ``"critic"`` or the ``"actor"``.
        entropy_temperature (float): :math:`\alpha`, in units of the reward spread; 0 is
            greedy.
        weight_decay (float | None): Decoupled weight decay of the critic's layers, not of
            their biases: each step takes ``learning rate * weight_decay`` of every
            weight.  ``None`` is 0; with outcomes, but for afterstates, it is
            :math:`3\, (4000 / N)^{0.7}` for N transitions, at most 10, which let the
            layers say as much as a log of that size supports; ``fit`` without a step
            count chooses it.  Where weights decay, what is linear in the features passes
            the layers (but for a critic ``Euclidean()``); it decays likewise, at a tenth
            of the rate for links logit and log.
        support (str): Where policies take their actions: ``"logged"`` between the lowest
            and the highest action of the log, ``"any"`` also beyond.
        check_prior (str): What ``fit`` does before it imposes the shape over
            actions: ``"off"`` trusts it, ``"warn"`` and ``"error"`` test it against the
            log (:func:`icac_algo.check_prior`) and say so where it is rejected; beside
            outcomes the shape of each (:func:`icac_algo.check_outcomes`).
        compile_graph (bool): Not supported.

    Raises:
        ValueError: a field is out of bounds, unknown or does not fit another.
    """

    critic_learning_rate: float = 1e-3
    actor_learning_rate: float = 1e-3
    critic_optim_factory: OptimizerFactory = make_optimizer_field()
    actor_optim_factory: OptimizerFactory = make_optimizer_field()
    critic_encoder_factory: EncoderFactory = make_encoder_field()
    actor_encoder_factory: EncoderFactory = make_encoder_field()
    batch_size: int = 256
    gamma: float = 0.99
    n_critics: int = 1
    share_encoder: bool = False
    constraint: Constraint = dataclasses.field(
        # Which shape is the default depends on the outcomes.
        default=cast(Constraint, None),
        metadata=make_constraint_field().metadata,
    )
    outcomes: list[Outcome] = make_outcomes_field()
    state_constraints: list[StateConstraint] = make_state_constraints_field()
    critic: Critic = make_critic_field()
    tau: float = 0.005
    average_window: float = 0.2
    actor: str = "softmax"
    greedy: str = "critic"
    entropy_temperature: float = 0.01
    weight_decay: float | None = None
    support: str = "logged"
    check_prior: str = "off"

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Checks all fields; also called by ``create``.

        Raises:
            ValueError: a field is out of bounds, unknown or does not fit another.
        """
        self.outcomes = as_outcomes(self.outcomes)
        if self.constraint is None:
            self.constraint = Unconstrained() if self.outcomes else Concave()
        self.constraint = as_shape(self.constraint)
        actions = shared_actions(self.constraint, self.outcomes)
        if actions != self.constraint.actions:
            self.constraint = dataclasses.replace(self.constraint, actions=actions)
        cast_fields(self)
        for name in ("critic_learning_rate", "actor_learning_rate"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("batch_size", "n_critics"):
            check_count(name, getattr(self, name))
        check_number("gamma", self.gamma, at_least=0.0, at_most=1.0)
        check_number("tau", self.tau, above=0.0, at_most=1.0)
        check_number("average_window", self.average_window, at_least=0.0, at_most=1.0)
        check_number("entropy_temperature", self.entropy_temperature, at_least=0.0)
        check_choice("actor", self.actor, ("softmax", "network", "network-sampled"))
        check_choice("greedy", self.greedy, ("critic", "actor"))
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, at_least=0.0)
        check_choice("support", self.support, ("logged", "any"))
        check_choice("check_prior", self.check_prior, ("off", "warn", "error"))
        # Its fields may have been set since it was made.
        dataclasses.replace(self.critic)
        self.critic.check(
            Prior(
                self.constraint,
                self.state_constraints,
                self.observation_scaler,
                self.action_scaler,
                self.reward_scaler,
                self.outcomes,
            )
        )
        if self.outcomes and self.constraint.known_cost is not None:
            raise ValueError(
                "constraint must have no known_cost beside outcomes: it is an outcome of "
                f"its own, such as '-x1 * action', got {self.constraint!r}"
            )
        if self.check_prior != "off" and isinstance(self.critic, Afterstates):
            raise ValueError(
                "check_prior must be 'off' beside critic=Afterstates(...): the log's own "
                "rewards do not show what is earned later, got "
                f"{self.check_prior!r}"
            )
        if self.compile_graph:
            raise ValueError(
                "compile_graph=True is not supported: the conjugate-gradient solve and "
                "the update of the multiplier branch on values, which a CUDA graph "
                "cannot record"
            )

    def validate_continuous(self, action_size: int) -> None:
        """Checks what continuous actions ask of the fields.

        Raises:
            ValueError: there are several, or a field is for discrete ones.
        """
        if action_size != 1:
            raise ValueError(
                f"a shape is over one action, the action space has {action_size} of them"
            )
        if not isinstance(self.critic, Functional):
            raise ValueError(
                "continuous actions need critic=Functional(), got "
                f"{self.critic!r}: there is no finite list of values"
            )
        if self.actor == "network-sampled":
            raise ValueError(
                "continuous actions need actor='network', whose gradient is "
                "reparametrised, got 'network-sampled'"
            )

    def create(
        self, device: DeviceArg = False, enable_ddp: bool = False
    ) -> ConstraintAwareQ:
        self.validate()
        return ConstraintAwareQ(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        return "constraint_aware_q"


class ConstraintAwareQ(DiscreteAlgorithm[ConstraintAwareQImpl, ConstraintAwareQConfig]):
    """See :class:`ConstraintAwareQConfig`."""

    _standardisation: Standardisation | None = None
    _support: tuple[float, float] | None = None
    _decay: float | None = None

    def __init__(
        self,
        config: ConstraintAwareQConfig,
        device: DeviceArg,
        enable_ddp: bool = False,
    ):
        # Both kinds of action are learned from; which one, the data or the environment
        # will say, and an action scaler says it before.
        scaled = config.action_scaler is not None
        self._action_type = ActionSpace.CONTINUOUS if scaled else ActionSpace.DISCRETE
        super().__init__(config, device, enable_ddp)

    def inner_create_impl(self, observation_shape: Shape, action_size: int) -> None:
        config = self._config
        # No shape is over one discrete action, so one action is a continuous one.
        if action_size == 1:
            self._action_type = ActionSpace.CONTINUOUS
        continuous = self._action_type == ActionSpace.CONTINUOUS
        self._check_sizes(observation_shape, action_size)
        if (
            config.outcomes
            or config.constraint.known_cost is not None
            or (not config.constraint.shape_set().is_cone)
        ):
            reward_slope(config.reward_scaler)
        factory = ShapedQFunctionFactory.with_outcomes(
            config.outcomes,
            bool(config.weight_decay) and not isinstance(config.critic, Euclidean),
            constraint=config.constraint,
            critic=config.critic,
            state_constraints=config.state_constraints,
            observation_scaler=config.observation_scaler,
            action_scaler=config.action_scaler,
            reward_scaler=config.reward_scaler,
            share_encoder=config.share_encoder,
        )
        q_funcs, targ_q_funcs, average_q_funcs = (
            (create_continuous_q_function if continuous else create_discrete_q_function)(
                observation_shape,
                action_size,
                config.critic_encoder_factory,
                factory,
                n_ensembles=config.n_critics,
                device=self._device,
                # Only what is trained needs its gradients reduced over processes.
                enable_ddp=self._enable_ddp and trained,
            )[0]
            for trained in (True, False, False)
        )
        policy, actor_optim = None, None
        if continuous or config.actor != "softmax":
            policy = (_create_normal_policy if continuous else create_policy)(
                observation_shape,
                action_size,
                config.actor_encoder_factory,
                device=self._device,
                enable_ddp=self._enable_ddp,
            )
            actor_optim = create_optimizer(
                config.actor_optim_factory, config.actor_learning_rate, policy
            )
        is_euclidean = isinstance(config.critic, Euclidean)
        state = TrainingState(
            config.critic.multiplier if is_euclidean else 0.0,
            config.constraint.actions or [0.0, 1.0],
        )
        modules = ConstraintAwareQModules(
            q_funcs=q_funcs,
            targ_q_funcs=targ_q_funcs,
            average_q_funcs=average_q_funcs,
            state=state.to(self._device),
            critic_optim=create_optimizer(
                config.critic_optim_factory, config.critic_learning_rate, q_funcs
            ),
            policy=policy,
            actor_optim=actor_optim,
        )
        arguments: dict[str, Any] = {
            "observation_shape": observation_shape,
            "action_size": action_size,
            "modules": modules,
            # A sum of outcomes has no shape of its own.
            "constraint": Unconstrained(actions=config.constraint.actions)
            if config.outcomes
            else config.constraint,
            "gamma": config.gamma,
            "tau": config.tau,
            "average_window": config.average_window,
            "actor": config.actor,
            "greedy": config.greedy,
            "entropy_temperature": config.entropy_temperature,
            "device": self._device,
        }
        if config.outcomes:
            arguments |= {
                "outcomes": config.outcomes,
                "reward_scaler": config.reward_scaler,
                "observation_scaler": config.observation_scaler,
            }
            if continuous:
                arguments["action_scaler"] = config.action_scaler
            kind = ContinuousOutcomeImpl if continuous else OutcomeConstraintAwareQImpl
            self._impl = kind(**arguments)
        elif continuous:
            self._impl = ContinuousConstraintAwareQImpl(
                action_scaler=config.action_scaler, **arguments
            )
        elif is_euclidean:
            switches = dataclasses.asdict(config.critic)
            for built in ("multiplier", "spectral_norm"):
                del switches[built]
            self._impl = self.euclidean_impl()(
                reward_scaler=config.reward_scaler, **switches, **arguments
            )
        else:
            self._impl = ConstraintAwareQImpl(**arguments)
        if self._standardisation is not None:
            self._impl.standardise(self._standardisation)
        if self._support is not None:
            self._impl.restrict(*self._support)
        modules.state.decay.fill_(self._decay or config.weight_decay or 0.0)

    def euclidean_impl(self) -> type[EuclideanConstraintAwareQImpl]:
        """What learns with ``critic=Euclidean()``; variants of the paper override it."""
        return EuclideanConstraintAwareQImpl

    def build_with_env(self, env: Any) -> None:
        self._set_action_type(_action_type_of(env))
        super().build_with_env(env)

    def fit_online(self, env: Any, *args: Any, **kwargs: Any) -> None:
        if self._config.outcomes:
            raise ValueError(
                "outcomes are learned from logs: what an environment says beside its "
                "rewards does not reach fit_online; log first, then fit"
            )
        self._set_action_type(_action_type_of(env))
        self._support = None
        if self._impl is not None:
            # Who explores sees what is outside the log.
            actions = self._config.constraint.actions or [0.0, 1.0]
            self._impl.restrict(actions[0], actions[-1])
        super().fit_online(env, *args, **kwargs)

    def collect(self, env: Any, *args: Any, **kwargs: Any) -> ReplayBufferBase:
        self._set_action_type(_action_type_of(env))
        return super().collect(env, *args, **kwargs)

    def build_with_dataset(self, dataset: ReplayBufferBase) -> None:
        self.prepare(dataset)
        super().build_with_dataset(dataset)

    def _set_action_type(self, action_type: ActionSpace) -> None:
        if action_type == ActionSpace.DISCRETE and self._config.action_scaler:
            raise ValueError(
                "action_scaler is for continuous actions, these are discrete"
            )
        if self._impl is not None and action_type != self._action_type:
            raise ValueError(
                f"this model was built for {self._action_type.name.lower()} actions, got "
                f"{action_type.name.lower()} ones"
            )
        self._action_type = action_type

    def prepare(self, dataset: ReplayBufferBase) -> None:
        config, info = self._config, dataset.dataset_info
        config.validate()
        self._set_action_type(info.action_space)
        self.check_dataset(dataset)
        signature = info.observation_signature.shape
        self._check_sizes(
            signature[0] if len(signature) == 1 else signature, info.action_size
        )
        if self._impl is None:
            # A model that is already trained has imposed its shape.
            self._check_prior(dataset)
        self.build_scalers(dataset)
        self._standardisation = Standardisation.of_dataset(
            dataset, self._config.gamma, self._config.reward_scaler
        )
        if config.outcomes:
            assert isinstance(dataset, ColumnarReplayBuffer)
            self._standardisation = self._outcome_units(dataset, self._standardisation)
        elif config.weight_decay and len(signature) == 1 and len(signature[0]) == 1:
            self._standardisation = self._standardisation.with_features(
                dataset, signature[0][0], config.observation_scaler
            )
        if config.support == "logged":
            self._support = self._logged_range(dataset)
        if self._impl is not None and not self._impl.standardised:
            self._impl.standardise(self._standardisation)
        if self._impl is not None and self._support is not None:
            self._impl.restrict(*self._support)
        # Of what is left of a budget, networks learn from targets, not from samples.
        from_log = config.outcomes and not isinstance(config.critic, Afterstates)
        if from_log and config.weight_decay is None:
            counts = [dataset.transition_count]
            if self._enable_ddp:
                counts = from_all_processes(dataset.transition_count)
            self._decay = decay_for(sum(counts))
            if self._impl is not None:
                self._impl.modules.state.decay.fill_(self._decay)

    def open_settings(
        self, dataset: ReplayBufferBase, share: float = 1.0
    ) -> dict[str, dict[str, Any]]:
        config, count = self._config, dataset.transition_count
        # Of a large log decay can only hide what critics without outcomes could learn.
        is_open = bool(config.outcomes) or count < _LARGE
        has_decay = isinstance(config.critic, (Functional, Canonical))
        if config.weight_decay is not None or not (is_open and has_decay):
            return super().open_settings(dataset, share)
        parts = (0.25, 0.5, 1.0) if count < _LARGE else (0.25, 1.0)
        return {
            f"weight_decay={part * decay_for(count):.3g}": {
                "weight_decay": part * decay_for(count * share)
            }
            for part in parts
        }

    def _logged_range(self, dataset: ReplayBufferBase) -> tuple[float, float]:
        """The lowest and the highest action that policies may take, by this log."""
        lowest, highest = action_range(dataset)
        config = self._config
        if self._action_type == ActionSpace.DISCRETE:
            positions = config.constraint.positions(dataset.dataset_info.action_size)
            lowest, highest = positions[int(lowest)], positions[int(highest)]
        ends = [(float(lowest), float(highest))]
        if self._impl is not None and int(self._impl.modules.state.updates) > 0:
            # What it was trained on before counts as well.
            ends.append(tuple(self._impl.modules.state.support.tolist()))
        if self._enable_ddp:
            ends = [one for some in from_all_processes(ends) for one in some]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _outcome_units(
        self, dataset: ColumnarReplayBuffer, total: Standardisation
    ) -> OutcomeStandardisation:
        """Checks a log's outcomes, and takes their levels and spreads from it."""
        config = self._config
        positions = None
        if self._action_type == ActionSpace.DISCRETE:
            positions = config.constraint.positions(dataset.dataset_info.action_size)

        index = dataset.columns.index
        return OutcomeStandardisation.of_log(
            total,
            config.gamma > 0.0 and index.terminals < index.transitions,
            config.outcomes,
            lambda: blocks_of(dataset, config.outcomes, positions),
            config.observation_scaler,
            config.reward_scaler,
        )

    def _check_sizes(self, observation_shape: Shape, action_size: int) -> None:
        config = self._config
        if self._action_type == ActionSpace.CONTINUOUS:
            config.validate_continuous(action_size)
        else:
            config.constraint.positions(action_size)
        config.constraint.check_observation_shape(observation_shape)
        check_state_constraints(config.state_constraints, observation_shape)
        check_outcome_features(config.outcomes, observation_shape)

    def _check_prior(self, dataset: ReplayBufferBase) -> None:
        config = self._config
        check_prior_at_fit(
            dataset, config.constraint, config.outcomes, config.check_prior
        )

    def predict_outcome(
        self, x: Observation, action: Any, column: str
    ) -> npt.NDArray[np.float64]:
        """The mean of an outcome, where what it is given happened.

        Args:
            x: observations, ``(N, ...)``, as for ``predict_value``.
            action: indices, ``(N,)``, or continuous actions, ``(N, 1)``.
            column: the outcome's.

        Returns:
            float64, ``(N,)``.

        Raises:
            ValueError: there is no learned outcome of this column.
        """
        columns = [one.column for one in self._config.outcomes if one.learned]
        if column not in columns:
            raise ValueError(f"column must be one of {columns}, got {column!r}")
        check_built(self)
        assert isinstance(self._impl, OutcomeConstraintAwareQImpl)
        observations = convert_to_torch_recursively(x, self._device)
        actions = convert_to_torch(np.reshape(action, (-1, 1)), self._device)
        count = len(x[0]) if isinstance(x, (list, tuple)) else len(x)
        if len(actions) != count:
            raise ValueError(
                f"action must have one for each of {count} observations, got shape "
                f"{np.shape(action)}"
            )
        with torch.no_grad():
            if self._config.observation_scaler:
                observations = self._config.observation_scaler.transform(observations)
            if self._config.action_scaler:
                actions = self._config.action_scaler.transform(actions)
            means = self._impl.outcome_means(observations, actions)
        return means[:, columns.index(column)].cpu().numpy()

    def check_dataset(self, dataset: ReplayBufferBase) -> None:
        if self._config.outcomes:
            if not isinstance(dataset, ColumnarReplayBuffer):
                raise ValueError(
                    "outcomes need a ColumnarReplayBuffer, whose extras hold their "
                    f"columns, got {type(dataset).__name__}; from_replay_buffer makes one"
                )
            check_log(dataset, self._config.outcomes)
            check_batches(dataset, self._config.outcomes)
        if self._action_type == ActionSpace.DISCRETE:
            super().check_dataset(dataset)
            return
        self._config.validate_continuous(dataset.dataset_info.action_size)
        actions = self._config.constraint.actions or [0.0, 1.0]
        check_continuous_dataset(type(self).__name__, dataset, actions[0], actions[-1])

    @property
    def multiplier(self) -> float:
        """The present multiplier of the penalty, of ``critic=Euclidean()``."""
        assert self._impl is not None, "the algorithm is not built yet"
        return float(self._impl.modules.state.multiplier)

    def get_action_type(self) -> ActionSpace:
        return self._action_type


_LARGE = 20_000


def decay_for(transitions: float) -> float:
    """Weight decay that lets layers say as much as a log of that size supports."""
    return min(3.0 * (4000.0 / transitions) ** 0.7, 10.0)


def _action_type_of(env: Any) -> ActionSpace:
    """Of Gymnasium's spaces, and of the older gym's, which d3rlpy takes as well."""
    space = env.action_space
    # By name: only d3rlpy needs the older package.
    kinds = {base.__name__ for base in type(space).__mro__}
    if kinds.isdisjoint({"Box", "Discrete"}):
        raise ValueError(f"env must have Discrete or Box actions, got {space}")
    return ActionSpace.CONTINUOUS if "Box" in kinds else ActionSpace.DISCRETE


def _create_normal_policy(*args: Any, **kwargs: Any) -> Any:
    return create_normal_policy(
        *args, min_logstd=-5.0, max_logstd=2.0, use_std_parameter=False, **kwargs
    )


register_learnable(ConstraintAwareQConfig)
