"""Every outcome has its shape on its own scale, and its mean what is said of it."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    Outcome,
    ShapedQFunctionFactory,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.critics import OutcomeQFunction
from icac_algo.shapes import LINKS, Constraint, ShapeSet

from .strategies import MODEST, seeds

# Every shape under every link.
FEW = settings(MODEST, max_examples=5)

SHAPES: list[Constraint] = [
    Unconstrained(),
    Monotone(),
    Monotone(increasing=False),
    Concave(),
    Convex(),
    MonotoneConcave(),
    MonotoneConcave(increasing=False),
    SlopeBounds(-0.5, 1.0),
    SlopeBounds(upper=-0.2),
    Bounded(-1.0, 1.0),
    Bounded(lower=0.5),
    Intersection([Monotone(), Bounded(-2.0, 0.5)]),
    Intersection([Convex(), SlopeBounds(lower=0.0)]),
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=repr)
every_link = pytest.mark.parametrize("link", LINKS)
DIMENSIONS = 3


def critics_of(
    outcomes: list[Outcome], actions: list[float], size: int | None, seed: int, count: int
) -> list[Any]:
    """Networks with large random weights, in evaluation mode."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    learned = len(outcomes)
    factory = ShapedQFunctionFactory.with_outcomes(
        outcomes, constraint=Unconstrained(actions=actions)
    )
    units = [
        0.0,
        1.0,
        1.0,
        *rng.normal(0, 2, learned),
        *np.where(
            [one.link == "identity" for one in outcomes],
            10.0 ** rng.integers(-9, 10, learned),
            1.0,
        ),
        *np.ones(learned),
        *np.zeros(DIMENSIONS),
        *np.ones(DIMENSIONS),
    ]
    found = []
    for _ in range(count):
        encoders = VectorEncoderFactory([8])
        if size is None:
            encoder: Any = encoders.create_with_action((DIMENSIONS,), 1)
            critic, _ = factory.create_continuous(encoder, 8)
        else:
            critic, _ = factory.create_discrete(encoders.create((DIMENSIONS,)), 8, size)
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.mul_(float(rng.choice([0.3, 1.0, 10.0])))
        critic.standardise(*units)
        found.append(critic.eval())
    return found


def shortfall(values: torch.Tensor, stated: ShapeSet, actions: np.ndarray) -> float:
    """By how much rows miss inequalities, relative to the size of their parts."""
    matrix, bounds = stated.inequalities(actions)
    rows = values.detach().numpy()
    sizes = np.abs(rows) @ np.abs(matrix).T + np.abs(bounds)
    missed = bounds - rows @ matrix.T
    return float((missed - 1e-9 * sizes).max(initial=0.0))


def check_order(values: torch.Tensor, stated: ShapeSet) -> None:
    """To the last bit."""
    if stated.slope_lower >= 0.0:
        assert (values.diff(dim=1) >= 0.0).all()
    if stated.slope_upper <= 0.0:
        assert (values.diff(dim=1) <= 0.0).all()


@every_shape
@every_link
@FEW
@given(
    seed=seeds,
    size=st.sampled_from([2, 3, 5, 21, 1001]),
    count=st.sampled_from([1, 3]),
)
def test_discrete_means_have_what_is_said_of_them(
    shape: Constraint, link: str, seed: int, size: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    positions = np.cumsum(rng.uniform(0.01, 1.0, size)) - 1.0
    outcomes = [
        Outcome("y", shape, link=link, ignores=[1]),
        Outcome("z", link="log", depends_on_action=False),
    ]
    critics = critics_of(outcomes, positions.tolist(), size, seed, count)
    x = torch.as_tensor(rng.normal(0, 2, (6, DIMENSIONS)), dtype=torch.float32)
    with torch.no_grad():
        predictors = OutcomeQFunction.exact(critics, x)
        means = critics[0].exact_means(predictors)
    assert predictors.dtype == torch.float64
    for one, eta, mean in zip(outcomes, predictors, means, strict=False):
        assert torch.isfinite(mean).all()
        stated = one.shape.shape_set()
        check_order(eta, stated)
        assert shortfall(eta, stated, positions) == 0.0
        of_mean = one.mean_set()
        if of_mean is not None:
            check_order(mean, of_mean)
            assert shortfall(mean, of_mean, positions) == 0.0
    low, high = {"identity": (-np.inf, np.inf), "logit": (0, 1), "log": (0, np.inf)}[link]
    assert (means[0] >= low).all()
    assert (means[0] <= high).all()


@every_shape
@every_link
@FEW
@given(seed=seeds, count=st.sampled_from([1, 2]))
def test_continuous_means_have_it_at_every_real_action(
    shape: Constraint, link: str, seed: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    outcomes = [Outcome("y", shape, link=link)]
    critics = critics_of(outcomes, [-1.0, 2.0], None, seed, count)
    x = torch.as_tensor(rng.normal(0, 2, (6, DIMENSIONS)), dtype=torch.float32)
    actions = np.unique(np.round(rng.uniform(-1.0, 2.0, 40), 3))
    grid = torch.as_tensor(np.tile(actions, (6, 1)))
    with torch.no_grad():
        found = [q.predictors(q.coordinates(x).double(), grid) for q in critics]
        predictors = torch.stack(found).mean(dim=0)
        (mean,) = critics[0].means(predictors)
    assert shortfall(predictors[0], shape.shape_set(), actions) == 0.0
    of_mean = outcomes[0].mean_set()
    if of_mean is not None:
        assert shortfall(mean, of_mean, actions) == 0.0


@pytest.mark.parametrize("continuous", [False, True])
def test_shapes_hold_at_every_step_of_training(continuous: bool) -> None:
    rng = np.random.default_rng(0)
    rows, actions = 300, np.linspace(0.0, 1.0, 6)
    index = rng.integers(0, 6, rows)
    # Nothing that is stated is true.
    logged = {
        "up": 2.0 - 5.0 * actions[index] + rng.normal(size=rows),
        "share": (rng.random(rows) < 0.9 - 0.8 * actions[index]).astype(float),
        "count": rng.poisson(5.0 * actions[index]).astype(float),
    }
    log = ColumnarReplayBuffer.from_arrays(
        rng.random((rows, 2)),
        actions[index, None] if continuous else index,
        sum(logged.values()),
        extras=logged,
    )
    outcomes = [
        Outcome("up", MonotoneConcave(), link="identity"),
        Outcome("share", "monotone", link="logit"),
        Outcome("count", Monotone(increasing=False), link="log"),
    ]
    config = ConstraintAwareQConfig(
        outcomes=outcomes,
        batch_size=16,
        critic_learning_rate=0.02,
        gamma=0.0,
        n_critics=2,
    )
    x = np.repeat(rng.normal(0, 3, (5, 2)).astype(np.float32), 6, axis=0)
    asked: Any = np.tile(actions[:, None], (5, 1)) if continuous else np.tile(range(6), 5)

    def check(algo: Any, _: int, __: int) -> None:
        for one in outcomes:
            assert one.column is not None
            mean = torch.as_tensor(algo.predict_outcome(x, asked, one.column))
            stated = one.mean_set()
            assert stated is not None
            assert shortfall(mean.reshape(5, 6), stated, actions) == 0.0
            if not continuous:
                check_order(mean.reshape(5, 6), stated)

    algo = config.create(device="cpu:0")
    algo.fit(
        log,
        n_steps=40,
        n_steps_per_epoch=40,
        callback=check,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )


@every_shape
@every_link
def test_what_is_said_of_a_mean_is_true_of_its_shape(
    shape: Constraint, link: str
) -> None:
    """Any curve with the shape on the link's scale has it on the mean's."""
    rng = np.random.default_rng(0)
    positions = np.cumsum(rng.uniform(0.1, 1.0, 7))
    over = type(shape)(**{**vars(shape), "actions": positions.tolist()})
    eta = over.project(torch.as_tensor(rng.normal(0, 1, (50, 7)).cumsum(axis=1)))
    mean = {"identity": eta, "logit": eta.sigmoid(), "log": eta.exp()}[link]
    stated = Outcome("y", shape, link=link).mean_set()
    assert stated is None or shortfall(mean, stated, positions) == 0.0
