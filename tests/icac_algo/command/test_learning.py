"""What is learned from a table: the shape that is taken, the verdict, the comparison."""

from __future__ import annotations

import math
import pathlib
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet  # noqa: E402, F401

from icac_algo.command.learning import (  # noqa: E402
    OURS,
    Learned,
    _chosen,
    judge,
    learn,
    train,
)
from icac_algo.command.log import Actions, Log  # noqa: E402
from icac_algo.command.policy import Policy  # noqa: E402
from icac_algo.command.rivals import CONSTANT, TREES, rivals  # noqa: E402
from icac_algo.command.spec import Spec  # noqa: E402

LEVELS = np.array([0.0, 1.0, 2.0, 3.0])


def right(segment: Any) -> Any:
    """The best action of each segment; the reward falls by its squared distance."""
    return np.where(np.asarray(segment) == "high", 2.0, 1.0)


def log_of(folder: pathlib.Path, rows: int = 3000, **fields: Any) -> Log:
    rng = np.random.default_rng(0)
    segment = rng.choice(["high", "low"], rows)
    action = rng.choice(LEVELS, rows)
    reward = -((action - right(segment)) ** 2) + rng.normal(0.0, 0.3, rows)
    table = pa.table({"segment": segment, "act": action, "reward": reward})
    pa.parquet.write_table(table, folder / "log.parquet")
    given = {"observe": "segment", "act": "act", "reward": "reward", **fields}
    return Log.read(Spec.of({"log": str(folder / "log.parquet"), **given}))


def test_the_shape_of_the_least_held_out_loss_is_taken(tmp_path: pathlib.Path) -> None:
    log = log_of(tmp_path, 600, shape=["convex", "concave"], steps=150)
    policy, shape, stopping = train(log, show_progress=False)
    assert shape == "concave"
    assert stopping is not None
    assert stopping.name.startswith("concave, ")
    assert type(policy.algo.config.constraint).__name__ == "Concave"
    assert policy.algo.grad_step == stopping.n_steps


def test_policies_are_judged_by_what_they_earn(tmp_path: pathlib.Path) -> None:
    log = log_of(tmp_path)
    others = rivals(log.training, 0)
    names = log.preparation.features
    high = names.index("segment=high")

    def best(observations: Any) -> Any:
        return np.where(observations[:, high] == 1.0, 2.0, 1.0)

    policies = {"best": best, "worst": lambda x: 3.0 - 3.0 * (best(x) == 2.0), **others}
    found = judge(log, policies, show_progress=False)
    # The truth: 0; -4 where 2 is right, -4 where 1 is; half a unit for one action.
    truth = {"best": 0.0, "worst": -4.0, CONSTANT: -0.5, TREES: 0.0}
    for name, value in truth.items():
        estimate = found[name].estimate
        assert estimate.value == pytest.approx(value, abs=0.15)
        assert estimate.lower - 0.05 < value < estimate.upper + 0.05
        # Without the model of the rewards it is 1.09 for the worst, with it 0.09.
        assert estimate.upper - estimate.lower < 0.4
    assert found["best"].better
    assert not found["worst"].better
    gap, interval = found.difference("best", CONSTANT)
    assert interval.lower < 0.5 < interval.upper
    assert gap == pytest.approx(0.5, abs=0.15)


def learned(
    lift: tuple[float, float, float],
    rival: tuple[float, float],
    problems: tuple[str, ...] = (),
    rejected: bool = False,
    proven: float | None = None,
) -> Any:
    """With a lift over the logger, and what the trees earn more than ours."""
    value, lower, upper = lift
    ours = SimpleNamespace(
        name=OURS,
        lift=value,
        lift_lower=lower,
        lift_upper=upper,
        problems=problems,
        bounds=None if proven is None else SimpleNamespace(safe=proven >= 0.0),
        least_lift=proven,
        better=lower > 0.0 and not problems,
        estimate=SimpleNamespace(value=value),
    )
    trees = SimpleNamespace(
        name=TREES, better=True, estimate=SimpleNamespace(value=value + sum(rival) / 2.0)
    )
    interval = SimpleNamespace(lower=rival[0], upper=rival[1])

    class Compared:
        policies = (ours, trees)

        def __getitem__(self, name: str) -> Any:
            return ours if name == OURS else trees

        def difference(self, name: str, other: str) -> Any:
            assert (name, other) == (TREES, OURS)
            return sum(rival) / 2.0, interval

    checks = {"concave": SimpleNamespace(rejected=rejected), "none": None}
    of: Any = {"log": None, "shape": "concave", "policy": None, "stopping": None}
    return Learned(**of, checks=checks, rivals={TREES: None}, comparison=Compared())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            learned((0.3, 0.1, 0.5), (-0.2, 0.1)),
            r"Better than the logger by 0\.3 \[0\.1, ",
        ),
        (
            learned((0.3, 0.1, 0.5), (0.05, 0.15)),
            r"Use the tree: better .* by 0\.1 \[0\.05",
        ),
        (
            learned((-0.3, -0.5, -0.1), (-1.0, 0.1)),
            r"Worse than the logger by 0\.3 \[0\.1",
        ),
        (learned((0.3, -0.1, 0.7), (-1.0, 0.1)), r"Cannot tell: the difference .* 0\.3"),
        (
            learned((0.3, 0.1, 0.5), (-1.0, 0.1), ("too few rows",)),
            "Cannot tell: too few rows",
        ),
        (
            learned((0.3, -0.1, 0.7), (-1.0, 0.1), ("too few rows",), proven=0.02),
            r"No worse than the logger, as the shape proves: better by at least 0\.02",
        ),
        (
            learned((0.3, -0.1, 0.7), (-1.0, 0.1), ("too few rows",), proven=-0.02),
            "Cannot tell: too few rows",
        ),
        (
            learned((0.3, 0.1, 0.5), (-0.2, 0.1), rejected=True),
            "The log contradicts what was stated of concave",
        ),
        (
            learned((0.3, math.nan, math.nan), (-0.2, 0.1), ("no interval",)),
            "Cannot tell",
        ),
    ],
)
def test_verdicts(found: Learned, words: str) -> None:
    assert re.search(words, found.verdict)
    assert ("contradicts" in found.verdict) == ("contradicts" in words)


def test_any_number_is_judged_as_it_is() -> None:
    # 1.4 would count as 2, were it judged by levels.
    space = Actions("dose", None, 0.0, 4.0, (1.0, 2.0), (1.3,))

    class Asked(Policy):
        def __call__(self, observations: Any) -> Any:
            return np.full(len(observations), 1.4)

    preparation: Any = SimpleNamespace(observations=lambda table: np.zeros((3, 1)))
    part: Any = SimpleNamespace(
        observations=None, table=None, space=space, by_group=np.arange(3)
    )
    chosen = _chosen(Asked(None, preparation, space), part)(None)
    np.testing.assert_array_equal(chosen, [1.4, 1.4, 1.4])


@pytest.mark.parametrize(("shape", "is_true"), [("concave", True), ("convex", False)])
def test_what_a_shape_proves_is_shown_unless_the_log_contradicts_it(
    tmp_path: pathlib.Path, shape: str, is_true: bool
) -> None:
    spec = log_of(tmp_path, rows=1500, shape=(shape,), steps=10).spec
    found = learn(spec, show_progress=False)
    assert found.checks[shape].rejected != is_true  # type: ignore[union-attr]
    for policy in found.comparison.policies:
        assert (policy.bounds is not None) == is_true
