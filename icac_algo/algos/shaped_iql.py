"""d3rlpy's IQL with a q-function factory, which its own config has no field for."""

from __future__ import annotations

import dataclasses

from d3rlpy.algos import IQL, IQLConfig
from d3rlpy.algos.qlearning.torch.iql_impl import IQLImpl
from d3rlpy.base import DeviceArg, register_learnable
from d3rlpy.models.builders import create_continuous_q_function
from d3rlpy.models.q_functions import QFunctionFactory, make_q_func_field
from d3rlpy.types import Shape

from .._util.fields import cast_fields
from ..export import save_greedy_policy


@dataclasses.dataclass()
class ShapedIQLConfig(IQLConfig):
    """d3rlpy's ``IQLConfig`` and ``q_func_factory``; the updates are d3rlpy's own.

    d3rlpy 2.8 builds IQL's critics from a fixed factory.  Everything else about the
    algorithm is inherited unchanged, so with the default factory it is IQL.

    Args:
        q_func_factory (d3rlpy.models.q_functions.QFunctionFactory): critics, such as
            :class:`~icac_algo.ShapedQFunctionFactory`.
    """

    q_func_factory: QFunctionFactory = make_q_func_field()

    def create(self, device: DeviceArg = False, enable_ddp: bool = False) -> ShapedIQL:
        cast_fields(self)
        return ShapedIQL(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        return "shaped_iql"


class ShapedIQL(IQL):
    """See :class:`ShapedIQLConfig`."""

    _config: ShapedIQLConfig
    _impl: IQLImpl | None

    def inner_create_impl(self, observation_shape: Shape, action_size: int) -> None:
        super().inner_create_impl(observation_shape, action_size)
        config, impl = self._config, self._impl
        assert impl is not None
        (q_funcs, forwarder), (targ_q_funcs, targ_forwarder) = (
            create_continuous_q_function(
                observation_shape,
                action_size,
                config.critic_encoder_factory,
                config.q_func_factory,
                n_ensembles=config.n_critics,
                device=self._device,
                enable_ddp=self._enable_ddp,
            )
            for _ in range(2)
        )
        value_func = impl.modules.value_func
        optimizer = config.critic_optim_factory.create(
            [*q_funcs.named_modules(), *value_func.named_modules()],
            lr=config.critic_learning_rate,
            compiled=self.compiled,
        )
        self._impl = IQLImpl(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=dataclasses.replace(
                impl.modules,
                q_funcs=q_funcs,
                targ_q_funcs=targ_q_funcs,
                critic_optim=optimizer,
            ),
            q_func_forwarder=forwarder,
            targ_q_func_forwarder=targ_forwarder,
            gamma=config.gamma,
            tau=config.tau,
            expectile=config.expectile,
            weight_temp=config.weight_temp,
            max_weight=config.max_weight,
            compiled=self.compiled,
            device=self._device,
        )

    def save_policy(self, fname: str) -> None:
        """Saves the policy as TorchScript (``.pt``) or ONNX (``.onnx``)."""
        save_greedy_policy(self, fname)


register_learnable(ShapedIQLConfig)
