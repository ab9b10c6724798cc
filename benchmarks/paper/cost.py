"""What an update and a ``fit`` step cost, all algorithms in turn in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bidclick_gym import Auction, simulate_log
from bidclick_gym.logs.datasets import to_replay_buffer

from ..auction.table1 import tuned_config
from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Rows
from ..engine.timing import seconds_of
from ..learners import fit_quietly, trained
from .variants import VARIANTS

_VARIANT = "variant: "
#: Rows of Table I and, after a colon, variants of Table II.
TIMED = (
    *("BC", "DQN", "CQL", "IQL", "DiscreteIQL"),
    *("Ours-paper", "Ours-Monotone", "Ours-Concave", "Ours-KnownCost"),
    f"{_VARIANT}no warm start",
    f"{_VARIANT}5 inner iterations",
    f"{_VARIANT}soft penalty",
)
_WARM_UP = 200
_STEPS = 5000


def _cells(settings: Settings) -> Iterable[Cell]:
    rounds, updates = (2, 5) if settings.quick else (7, 100)
    yield Cell.of("cost", rounds=rounds, updates=updates)


def _measure(cell: Cell) -> Rows:
    updates = cell["updates"]
    timers = {name: _timers(name, updates) for name in TIMED}
    return [
        {
            "algorithm": name,
            "round": turn,
            "update_ms": 1e3 * seconds_of(update) / updates,
            "fit_step_ms": 1e3 * seconds_of(fit) / updates,
        }
        for turn in range(cell["rounds"])
        for name, (update, fit) in timers.items()
    ]


def _timers(name: str, updates: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Trained for a while, then: updates on one batch, and ``fit``."""
    variant = name.removeprefix(_VARIANT)
    is_row = variant == name
    config = tuned_config(name, _STEPS) if is_row else VARIANTS[variant].make(_STEPS)
    dataset = to_replay_buffer(simulate_log(Auction(), seed=0), continuous=name == "IQL")
    algo = trained(config, dataset, 0, _WARM_UP)
    batch = dataset.sample_transition_batch(algo.config.batch_size)

    def update() -> None:
        for _ in range(updates):
            algo.update(batch)

    return update, lambda: fit_quietly(algo, dataset, updates, epochs=1)


COST_PART = Part(
    "cost",
    ("algorithm", "round", "update_ms", "fit_step_ms"),
    _cells,
    _measure,
    lambda cell: TIMED,
    learner="algorithm",
    arrange=keys_of("algorithm", "round"),
    # Timing is worth nothing beside other work.
    alone=True,
)
