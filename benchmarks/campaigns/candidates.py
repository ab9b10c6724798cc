"""What the penalty or the shape may be: lists from the most constrained to the freest."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from d3rlpy.base import DeviceArg
from d3rlpy.types import TorchObservation

from icac_algo import ConstraintAwareQ, ConstraintAwareQConfig, shapes
from icac_algo.algos import EuclideanConstraintAwareQImpl

from ..learners.campaigns import COST, afterstates, ours
from ..paper.variants import VARIANTS

# -- the paper's deployed critic ---------------------------------------------


@dataclasses.dataclass()
class ProximalQConfig(ConstraintAwareQConfig):
    """The paper's critic, deployed as the paper's ablation of lambda deploys it.

    ``ConstraintAwareQ`` deploys the exact projection, to which lambda means little; this
    deploys what its inner solver makes of the network at the final lambda.
    """

    def create(self, device: DeviceArg = False, enable_ddp: bool = False) -> ProximalQ:
        self.validate()
        return ProximalQ(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        return "proximal_constraint_aware_q"


class ProximalQ(ConstraintAwareQ):
    def euclidean_impl(self) -> type[EuclideanConstraintAwareQImpl]:
        return _ProximalImpl


class _ProximalImpl(EuclideanConstraintAwareQImpl):
    def action_values(self, x: TorchObservation) -> torch.Tensor:
        q_func: Any = self._modules.average_q_funcs[0]
        raw = q_func.trained_values(x)
        # Only a step towards the target would read action and target.
        unused = raw.new_zeros((len(raw), 1))
        u, _, _ = self.proximal_layer(raw, q_func, x, unused.long(), unused)
        return u


# -- candidates --------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Candidate:
    make: Callable[[int], Any]  # gradient steps to a d3rlpy config
    shape: shapes.Constraint | None = None  # over bids, that the log is asked about
    is_false: bool = False  # whether the auction does not have the shape
    is_rival: bool = False  # whether it is only compared with, not chosen


@dataclasses.dataclass(frozen=True)
class Task:
    """Candidates, and the logs they are chosen on."""

    candidates: dict[str, Candidate]  # from the most constrained to the freest
    fractions: tuple[float, ...] = (0.25, 0.0625)  # shares of the logs
    is_campaign: bool = False  # whether impressions share a budget


def _proximal(steps: int, **switches: Any) -> ProximalQConfig:
    made = VARIANTS["full"].make(steps)
    copied = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    critic: Any = dataclasses.replace(made.critic, **switches)
    return ProximalQConfig(**{**copied, "constraint": shapes.Concave(), "critic": critic})


def _fixed(lam: float) -> Candidate:
    fields: dict[str, Any] = {"multiplier": lam, "multiplier_learning_rate": 0.0}
    return Candidate(functools.partial(_proximal, **fields))


def _shaped(shape: shapes.Constraint, is_false: bool = False) -> Candidate:
    return Candidate(ours(constraint=shape), shape, is_false)


def _pair(
    now: shapes.Constraint, later: shapes.Constraint, is_false: bool = False
) -> Candidate:
    return Candidate(ours(constraint=now, critic=afterstates(later)), None, is_false)


DUAL = "dual update"
TASKS: dict[str, Task] = {
    "lambda": Task(
        {
            **{f"lambda {lam:g}": _fixed(lam) for lam in (100.0, 10.0, 1.0, 0.1, 0.01)},
            DUAL: Candidate(_proximal, is_rival=True),
        }
    ),
    "shape": Task(
        {
            "MonotoneConcave + cost": _shaped(
                shapes.MonotoneConcave(known_cost=shapes.KnownCost(feature=COST))
            ),
            "Monotone": _shaped(shapes.Monotone(), True),
            "Monotone, falling": _shaped(shapes.Monotone(increasing=False), True),
            "Concave": _shaped(shapes.Concave()),
            "Convex": _shaped(shapes.Convex(), True),
            "Unconstrained": _shaped(shapes.Unconstrained()),
        }
    ),
    "campaign": Task(
        {
            "both MonotoneConcave": _pair(
                shapes.MonotoneConcave(), shapes.MonotoneConcave()
            ),
            "clicks Convex": _pair(shapes.Convex(), shapes.MonotoneConcave(), True),
            "budget Convex": _pair(shapes.MonotoneConcave(), shapes.Convex(), True),
            "both Unconstrained": _pair(shapes.Unconstrained(), shapes.Unconstrained()),
        },
        fractions=(0.25,),
        is_campaign=True,
    ),
}
