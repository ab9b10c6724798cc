"""What trained critics and policies look like, as rows: pictures need no model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from icac_algo import Canonical, Concave, ConstraintAwareQConfig

from ..auction.cells import digest_of
from ..auction.tuning import best_settings
from ..learners import (
    AUCTION_LEARNERS,
    fit_quietly,
    reward_scaler,
    shared_settings,
)
from .critic_views import CriticView
from .variants import VARIANTS

__all__ = ["COLUMNS", "CONTEXTS", "MODELS", "PolicyCell", "train_and_draw"]

COLUMNS = ("kind", "model", "seed", "x", "c", "bid", "value")
#: Contexts whose Q is drawn over the bid: ``(x, c)``.
CONTEXTS = ((0.1, 0.22), (0.5, 0.30), (0.9, 0.38))
#: What is trained; the paper's algorithm gives two critics.
MODELS = ("paper", "canonical", "IQL", "CQL")
#: Points of a policy map in each dimension.
MAP = 24
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class PolicyCell:
    """One model on the full log of ``BidClick-v0``.

    Args:
        variant: a name in ``MODELS``.
        seed: draws the log and the training.
        steps: gradient steps.
    """

    variant: str
    seed: int = 0
    steps: int = 5000

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        config = _config(self)
        made = {"type": config.get_type(), "params": config.serialize_to_dict()}
        return digest_of({"policies": FORMAT, "config": made, **dataclasses.asdict(self)})


def _config(cell: PolicyCell) -> Any:
    if cell.variant == "paper":
        return VARIANTS["full"].make(cell.steps)
    if cell.variant == "canonical":
        return ConstraintAwareQConfig(
            constraint=Concave(),
            critic=Canonical(),
            reward_scaler=reward_scaler(),
            **shared_settings(cell.steps, "critic", "actor"),
        )
    make = AUCTION_LEARNERS[cell.variant].make
    assert make is not None
    return make(cell.steps, **dict(best_settings().get(cell.variant, ())))


def train_and_draw(cell: PolicyCell) -> list[dict[str, Any]]:
    """Rows ``"q"`` (a value for each bid) and ``"map"`` (the bid in each context)."""
    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.evaluators import action_values, greedy_bids
    from bidclick_gym.logs.datasets import to_replay_buffer

    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(
        simulate_log(auction, seed=cell.seed), continuous=cell.variant == "IQL"
    )
    d3rlpy.seed(cell.seed)
    algo = _config(cell).create(device="cpu:0")
    fit_quietly(algo, dataset, cell.steps)
    models = {cell.variant: algo}
    if cell.variant == "paper":
        models = {"raw": CriticView(algo, "raw"), "projected": CriticView(algo, "exact")}
    contexts, grid = np.array(CONTEXTS), auction.contexts(MAP)
    rows = []
    for name, model in models.items():
        values = action_values(model, auction, contexts)
        bids = auction.bid_array[greedy_bids(model, auction, grid)]
        rows += _rows("q", name, cell.seed, contexts, auction.bid_array, values)
        rows += [
            {
                "kind": "map",
                "model": name,
                "seed": cell.seed,
                "x": float(x),
                "c": float(c),
                "bid": float(bid),
                "value": None,
            }
            for (x, c), bid in zip(grid, bids, strict=True)
        ]
    return rows


def _rows(
    kind: str, name: str, seed: int, contexts: Any, bids: Any, values: Any
) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "model": name,
            "seed": seed,
            "x": float(x),
            "c": float(c),
            "bid": float(bid),
            "value": float(value),
        }
        for (x, c), of_context in zip(contexts, values, strict=True)
        for bid, value in zip(bids, of_context, strict=True)
    ]
