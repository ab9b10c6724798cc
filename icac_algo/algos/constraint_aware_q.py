"""ConstraintAwareQ: config and algorithm.

The update itself is in ``constraint_aware_q_impl``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
from d3rlpy.base import DeviceArg, LearnableConfig, register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.models.builders import (
    create_continuous_q_function,
    create_discrete_q_function,
    create_normal_policy,
)
from d3rlpy.models.encoders import EncoderFactory, make_encoder_field
from d3rlpy.models.q_functions import (
    MeanQFunctionFactory,
    QFunctionFactory,
    make_q_func_field,
)
from d3rlpy.optimizers.optimizers import OptimizerFactory, make_optimizer_field
from d3rlpy.preprocessing import ActionScaler, ObservationScaler, RewardScaler
from d3rlpy.types import Shape

from .._util.checks import check_choice, check_count, check_flag, check_number, check_part
from ..critics import (
    PROJECTIONS,
    AfterstateQFunctionFactory,
    ContinuousShapedQFunction,
    ShapedQFunction,
    Standardisation,
    reward_slope,
)
from ..data import check_continuous_dataset
from ..evidence import check_prior_at_fit
from ..shapes import (
    Constraint,
    StateConstraint,
    check_state_constraints,
    make_constraint_field,
    make_state_constraints_field,
)
from .base import DiscreteAlgorithm
from .constraint_aware_q_continuous import (
    ContinuousConstraintAwareQImpl,
    check_continuous_config,
)
from .constraint_aware_q_impl import (
    ConstraintAwareQImpl,
    ConstraintAwareQModules,
    TrainingState,
)
from .optimizers import create_optimizer
from .policies import create_policy

__all__ = ["ConstraintAwareQ", "ConstraintAwareQConfig"]

_PARTS = {
    "observation_scaler": ObservationScaler,
    "action_scaler": ActionScaler,
    "reward_scaler": RewardScaler,
    "optim_factory": OptimizerFactory,
    "actor_optim_factory": OptimizerFactory,
    "encoder_factory": EncoderFactory,
}


@dataclasses.dataclass()
class ConstraintAwareQConfig(LearnableConfig):
    r"""Q-learning with a critic that obeys a stated shape exactly.

    Algorithm 1 of Baheri, "Implicit Constraint-Aware Off-Policy Correction for Offline
    Reinforcement Learning" (2025), and two parametrizations of ours that reach the same
    guarantee with less regret.  The critic minimises

    .. math:: L(\theta) = \frac12 \mathbb{E}_{(s, a, r, s')} \left[
        (u_\theta(s, a) - r - \gamma \max_{a'} \bar u(s', a'))^2 \right]

    where :math:`u_\theta(s, \cdot)` has the shape for every :math:`\theta` and
    :math:`\bar u` is a Polyak-averaged target critic with the same shape.  What
    ``predict`` and ``predict_value`` show is exact at every step and every state.

    ``projection="functional"`` (default)
        the network emits a small sum of shaped pieces of a continuous action.
    ``projection="canonical"``
        the network emits the coordinates in which the shape is a sign.
    ``projection="euclidean"``
        the paper's way: a free critic :math:`f`, a proximal layer
        :math:`u = \arg\min \frac12 |u - f|^2 + \lambda C(u)` with its implicit gradient
        by conjugate gradient, a dual update of :math:`\lambda`, and the exact
        projection of :math:`f` as the deployed critic.  The fields marked (euclidean)
        act here only.

    References:
        * Baheri, Implicit Constraint-Aware Off-Policy Correction for Offline
          Reinforcement Learning, 2025.

    Args:
        observation_scaler (d3rlpy.preprocessing.ObservationScaler): Observation
            preprocessor.
        reward_scaler (d3rlpy.preprocessing.RewardScaler): Reward preprocessor.
        learning_rate (float): Learning rate of the critic.
        actor_learning_rate (float): Learning rate of the actor.
        optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of the critic.
        actor_optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of the actor.
        encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of critic and
            actor.
        q_func_factory (d3rlpy.models.q_functions.QFunctionFactory):
            ``MeanQFunctionFactory``, whose ``share_encoder`` is respected, or
            :class:`~icac_algo.AfterstateQFunctionFactory`, which brings shapes of its own
            instead of ``constraint``; it is given this config's reward scaler.
        batch_size (int): Mini-batch size.
        gamma (float): Discount factor; 1 only for episodes that terminate.
        n_critics (int): Number of critics.  Targets use their minimum, values their
            mean, which keeps every shape.
        constraint (icac_algo.shapes.base.Constraint): The shape over actions; over a
            continuous action the ends of its ``actions`` (by default 0 and 1) are its
            range.
        state_constraints (list[icac_algo.StateConstraint]): Shapes over features of the
            observation, with ``projection="functional"``.
        projection (str): ``"functional"``, ``"canonical"`` or ``"euclidean"``; continuous
            actions have the first.
        n_pieces (int): Pieces of a functional critic.
        tau (float): Polyak factor of the target critic.
        average_window (float): The deployed critic is an average of the iterates of
            about this last share of training so far (polynomial-decay averaging); 0
            deploys the last iterate.
        greedy (str): What ``predict`` is greedy for: the ``"critic"`` or the ``"actor"``.
        entropy_temperature (float): :math:`\alpha` of the actor objective
            :math:`\mathbb{E}[Q - \alpha \log \pi]`, in units of the reward spread.
        actor_gradient (str): ``"exact"`` sums over the actions, ``"sampled"`` is the
            paper's score function.
        spectral_norm (bool): Spectral normalization of the critic's linear layers.
        initial_lambda (float): :math:`\lambda_0` (euclidean).
        dual_learning_rate (float): :math:`\eta_\lambda`; 0 keeps :math:`\lambda` fixed
            (euclidean).
        max_lambda (float): Cap of :math:`\lambda`, which otherwise only grows
            (euclidean).
        inner_iterations (int): Proximal-gradient steps of the inner solver (euclidean).
        warm_start (bool): Start the inner solver at the critic's output, else at zero
            (euclidean).
        inner_step (str): ``"lipschitz"`` is ``1 / (1 + lambda L)``; ``"unit"`` is the
            literal reading, which diverges for larger lambda (euclidean).
        inner_anchor (str): What the inner solver stays near: the ``"critic"``'s output,
            or, literally, the ``"target"``, where actions that were not logged keep the
            critic's output (euclidean).
        implicit_gradient (bool): Differentiate the solution by the implicit function
            theorem, else through the inner steps (euclidean).
        pull (float): Weight :math:`\rho` of :math:`\rho/2 |f - u|^2`, the gradient of
            the Moreau envelope, which keeps the free critic near the set; 0 is the
            paper (euclidean).
        check_prior (str): What ``fit`` does before it imposes the shape over discrete
            actions: ``"off"`` trusts it, ``"warn"`` and ``"error"`` test it against the
            log (:func:`icac_algo.check_prior`) and say so where it is rejected.
        compile_graph (bool): Not supported; refused.

    Raises:
        ValueError: a field is out of bounds, unknown or does not fit another.
    """

    learning_rate: float = 1e-3
    actor_learning_rate: float = 1e-3
    optim_factory: OptimizerFactory = make_optimizer_field()
    actor_optim_factory: OptimizerFactory = make_optimizer_field()
    encoder_factory: EncoderFactory = make_encoder_field()
    q_func_factory: QFunctionFactory = make_q_func_field()
    batch_size: int = 256
    gamma: float = 0.99
    n_critics: int = 1
    constraint: Constraint = make_constraint_field()
    state_constraints: list[StateConstraint] = make_state_constraints_field()
    projection: str = "functional"
    n_pieces: int = 4
    tau: float = 0.005
    average_window: float = 0.2
    greedy: str = "critic"
    entropy_temperature: float = 0.01
    actor_gradient: str = "exact"
    spectral_norm: bool = False
    initial_lambda: float = 0.1
    dual_learning_rate: float = 0.1
    max_lambda: float = 1000.0
    inner_iterations: int = 1
    warm_start: bool = True
    inner_step: str = "lipschitz"
    inner_anchor: str = "critic"
    implicit_gradient: bool = True
    pull: float = 10.0
    check_prior: str = "off"

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Checks all fields; also called by ``create``.

        Raises:
            ValueError: a field is out of bounds, unknown or does not fit another.
        """
        for name in ("learning_rate", "actor_learning_rate"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("batch_size", "n_critics", "n_pieces", "inner_iterations"):
            check_count(name, getattr(self, name))
        check_number("gamma", self.gamma, at_least=0.0, at_most=1.0)
        check_number("tau", self.tau, above=0.0, at_most=1.0)
        check_number("average_window", self.average_window, at_least=0.0, at_most=1.0)
        for name in ("entropy_temperature", "dual_learning_rate", "pull"):
            check_number(name, getattr(self, name), at_least=0.0)
        check_number("max_lambda", self.max_lambda, at_least=0.0)
        check_number(
            "initial_lambda", self.initial_lambda, at_least=0.0, at_most=self.max_lambda
        )
        check_choice("projection", self.projection, PROJECTIONS)
        check_choice("greedy", self.greedy, ("critic", "actor"))
        check_choice("actor_gradient", self.actor_gradient, ("exact", "sampled"))
        check_choice("inner_step", self.inner_step, ("lipschitz", "unit"))
        check_choice("check_prior", self.check_prior, ("off", "warn", "error"))
        check_choice("inner_anchor", self.inner_anchor, ("critic", "target"))
        if not isinstance(self.constraint, Constraint):
            raise ValueError(
                f"constraint must be a shape such as Concave(), got {self.constraint!r}"
            )
        for name in ("spectral_norm", "warm_start", "implicit_gradient", "compile_graph"):
            check_flag(name, getattr(self, name))
        if not isinstance(self.state_constraints, (list, tuple)):
            raise ValueError(
                "state_constraints must be a list of StateMonotone and StateLipschitz, "
                f"got {self.state_constraints!r}"
            )
        for name, kind in _PARTS.items():
            check_part(name, getattr(self, name), kind)
        if self.state_constraints and self.projection != "functional":
            raise ValueError(
                f"state_constraints need projection='functional', got {self.projection!r}"
            )
        if isinstance(self.q_func_factory, AfterstateQFunctionFactory):
            self._check_afterstates()
        elif type(self.q_func_factory) is not MeanQFunctionFactory:
            raise ValueError(
                "q_func_factory must be a MeanQFunctionFactory (the shape itself is "
                "`constraint`) or an AfterstateQFunctionFactory, got "
                f"{type(self.q_func_factory).__name__}"
            )
        if self.compile_graph:
            raise ValueError(
                "compile_graph=True is not supported: the conjugate-gradient solve and "
                "the dual update branch on values, which a CUDA graph cannot record"
            )

    def _check_afterstates(self) -> None:
        """Refuses what such a critic would silently leave out."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in ("constraint", "state_constraints", "projection", "spectral_norm"):
            field, given = fields[name], getattr(self, name)
            made = field.default_factory
            default = field.default if made is dataclasses.MISSING else made()
            if given != default:
                raise ValueError(
                    f"{name} must be left at its default beside an "
                    "AfterstateQFunctionFactory, whose own fields say the shapes, got "
                    f"{given!r}"
                )
        for name, allowed in (
            ("check_prior", "off"),
            ("observation_scaler", None),
            ("action_scaler", None),
        ):
            if getattr(self, name) != allowed:
                raise ValueError(
                    f"{name} must be {allowed!r} beside an AfterstateQFunctionFactory, "
                    f"got {getattr(self, name)!r}"
                )

    @property
    def shape(self) -> Constraint:
        """The shape over actions, wherever it was said."""
        if isinstance(self.q_func_factory, AfterstateQFunctionFactory):
            return self.q_func_factory.constraint
        return self.constraint

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
        continuous = action_size == 1 or self._action_type == ActionSpace.CONTINUOUS
        if continuous:
            self._action_type = ActionSpace.CONTINUOUS
            check_continuous_config(config, action_size)
        config.constraint.check_observation_shape(observation_shape)
        check_state_constraints(config.state_constraints, observation_shape)
        if config.constraint.known_cost is not None or (
            not config.constraint.shape_set().is_cone
        ):
            reward_slope(config.reward_scaler)
        q_funcs, targ_q_funcs, average_q_funcs = (
            (create_continuous_q_function if continuous else create_discrete_q_function)(
                observation_shape,
                action_size,
                config.encoder_factory,
                _FromConfig(config),
                n_ensembles=config.n_critics,
                device=self._device,
                # Only what is trained needs its gradients reduced over processes.
                enable_ddp=self._enable_ddp and trained,
            )[0]
            for trained in (True, False, False)
        )
        create = _create_normal_policy if continuous else create_policy
        policy = create(
            observation_shape,
            action_size,
            config.encoder_factory,
            device=self._device,
            enable_ddp=self._enable_ddp,
        )
        modules = ConstraintAwareQModules(
            q_funcs=q_funcs,
            targ_q_funcs=targ_q_funcs,
            average_q_funcs=average_q_funcs,
            policy=policy,
            state=TrainingState(config.initial_lambda).to(self._device),
            critic_optim=create_optimizer(
                config.optim_factory, config.learning_rate, q_funcs
            ),
            actor_optim=create_optimizer(
                config.actor_optim_factory, config.actor_learning_rate, policy
            ),
        )
        make_impl = ContinuousConstraintAwareQImpl if continuous else ConstraintAwareQImpl
        self._impl = make_impl(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=modules,
            config=config,
            device=self._device,
        )
        if self._standardisation is not None:
            self._impl.standardise(self._standardisation)

    def build_with_env(self, env: Any) -> None:
        self._set_action_type(_action_type_of(env))
        super().build_with_env(env)

    def fit_online(self, env: Any, *args: Any, **kwargs: Any) -> None:
        self._set_action_type(_action_type_of(env))
        super().fit_online(env, *args, **kwargs)

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

    def check_exportable(self) -> None:
        config = self._config
        assert self._impl is not None
        if config.projection != "euclidean" or config.greedy == "actor":
            return
        if not config.constraint.has_closed_form(self._impl.action_size):
            raise ValueError(
                f"projection='euclidean' onto {type(config.constraint).__name__} over "
                f"{self._impl.action_size} actions has no closed form to export; "
                "projection='functional' and 'canonical' export at any size"
            )

    def prepare(self, dataset: ReplayBufferBase) -> None:
        config, info = self._config, dataset.dataset_info
        config.validate()
        self._set_action_type(info.action_space)
        if info.action_space == ActionSpace.CONTINUOUS:
            check_continuous_config(config, info.action_size)
        self.check_dataset(dataset)
        signature = info.observation_signature.shape
        shape = signature[0] if len(signature) == 1 else signature
        config.constraint.check_observation_shape(shape)
        check_state_constraints(config.state_constraints, shape)
        if info.action_space == ActionSpace.DISCRETE:
            config.shape.positions(info.action_size)
        if self._impl is None:
            # A model that is already trained has imposed its shape.
            self._check_prior(dataset)
        self.build_scalers(dataset)
        self._standardisation = Standardisation.of_dataset(
            dataset, self._config.gamma, self._config.reward_scaler
        )
        if self._impl is not None and not self._impl.standardised:
            self._impl.standardise(self._standardisation)

    def _check_prior(self, dataset: ReplayBufferBase) -> None:
        mode = self._config.check_prior
        if mode == "off":
            return
        if dataset.dataset_info.action_space == ActionSpace.CONTINUOUS:
            raise ValueError(
                f"check_prior={mode!r} needs discrete actions, the dataset has "
                "continuous ones; check_prior='off' trusts the shape"
            )
        check_prior_at_fit(dataset, self._config.constraint, mode)

    def check_dataset(self, dataset: ReplayBufferBase) -> None:
        if dataset.dataset_info.action_space == ActionSpace.DISCRETE:
            super().check_dataset(dataset)
            return
        actions = self._config.constraint.actions or [0.0, 1.0]
        check_continuous_dataset(type(self).__name__, dataset, actions[0], actions[-1])

    @property
    def lagrange_multiplier(self) -> float:
        """The current penalty weight lambda."""
        assert self._impl is not None, "the algorithm is not built yet"
        return float(self._impl.modules.state.multiplier)

    def get_action_type(self) -> ActionSpace:
        return self._action_type


def _action_type_of(env: Any) -> ActionSpace:
    continuous = isinstance(env.action_space, gymnasium.spaces.Box)
    return ActionSpace.CONTINUOUS if continuous else ActionSpace.DISCRETE


def _create_normal_policy(*args: Any, **kwargs: Any) -> Any:
    return create_normal_policy(
        *args, min_logstd=-5.0, max_logstd=2.0, use_std_parameter=False, **kwargs
    )


class _FromConfig(MeanQFunctionFactory):
    """Builds the config's critic where d3rlpy's builder asks for a q-function."""

    def __init__(self, config: ConstraintAwareQConfig):
        super().__init__(share_encoder=config.q_func_factory.share_encoder)
        self._config = config

    def create_discrete(self, encoder: Any, hidden_size: int, action_size: int) -> Any:
        config = self._config
        if isinstance(config.q_func_factory, AfterstateQFunctionFactory):
            factory = dataclasses.replace(
                config.q_func_factory, reward_scaler=config.reward_scaler
            )
            return factory.create_discrete(encoder, hidden_size, action_size)
        q_func = ShapedQFunction(
            encoder,
            hidden_size,
            action_size,
            config.constraint,
            config.projection,
            config.n_pieces,
            config.observation_scaler,
            config.reward_scaler,
            spectral_norm=config.spectral_norm,
            state_constraints=config.state_constraints,
        )
        return q_func, q_func.forwarder()

    def create_continuous(self, encoder: Any, hidden_size: int) -> Any:
        config = self._config
        q_func = ContinuousShapedQFunction(
            encoder,
            hidden_size,
            config.constraint,
            config.n_pieces,
            config.observation_scaler,
            config.action_scaler,
            config.reward_scaler,
            config.state_constraints,
            spectral_norm=config.spectral_norm,
        )
        return q_func, q_func.forwarder()


register_learnable(ConstraintAwareQConfig)
