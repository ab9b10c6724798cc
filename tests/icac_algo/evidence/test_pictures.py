"""Pictures of algorithms whose values are known in closed form."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.algos import DQNConfig

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Outcome,
    feature_importance,
    plot_policy,
    plot_q,
)

BIDS = [0.5, 1.0, 2.0]


class Config:
    def __init__(self, outcomes: Any = (), constraint: Any = None):
        self.outcomes, self.constraint = list(outcomes), constraint


class Known:
    """Q is ``x0 a - a^2 / 2`` at the position of the action, three features are seen."""

    impl, gamma, observation_shape = True, 0.0, (3,)

    def __init__(self, continuous: bool = False, config: Any = None):
        self.config, self.continuous = config or Config(), continuous
        self.action_size = 1 if continuous else 3

    def get_action_type(self) -> Any:
        kinds = d3rlpy.ActionSpace
        return kinds.CONTINUOUS if self.continuous else kinds.DISCRETE

    def predict(self, x: Any) -> Any:
        best = np.clip(x[:, 0], 0.0, 2.0)
        return best[:, None] if self.continuous else np.rint(best).astype(int)

    def predict_value(self, x: Any, actions: Any) -> Any:
        a = np.reshape(actions, -1)
        return x[:, 0] * a - a**2 / 2.0

    def predict_outcome(self, x: Any, actions: Any, column: str) -> Any:
        return x[:, 1] + np.reshape(actions, -1) * (2.0 if column == "won" else 3.0)


def log(rows: int = 400, continuous: bool = False, **extras: Any) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 1.0, (rows, 3)).astype(np.float32)
    x[:, 2] = rng.integers(0, 2, rows)
    a: Any = rng.integers(0, 3, rows)
    if continuous:
        a = rng.uniform(0.0, 2.0, (rows, 1)).astype(np.float32)
    return ColumnarReplayBuffer.from_arrays(x, a, rng.normal(size=rows), extras=extras)


def drawn(figure: Any) -> list[Any]:
    return [panel for panel in figure.axes if panel.get_visible()]


def test_the_curve_and_the_greedy_action_are_where_they_are_known_to_be() -> None:
    figure = plot_q(Known(), [[2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], units="bid")
    first, second = drawn(figure)
    np.testing.assert_allclose(first.lines[0].get_xydata(), [[0, 0], [1, 1.5], [2, 2]])
    assert first.lines[2].get_xydata().tolist() == [[2.0, 2.0]]
    assert second.lines[2].get_xydata().tolist() == [[0.0, 0.0]]
    assert second.get_xlabel() == "bid"
    assert first.get_title() == "context 0"


def test_discrete_actions_are_at_their_positions() -> None:
    found = drawn(plot_q(Known(), np.ones((1, 3)), actions=BIDS))[0].lines
    assert found[0].get_xdata().tolist() == BIDS
    assert found[2].get_xdata().tolist() == [1.0]
    shaped = Known(config=Config(constraint=Concave(actions=BIDS)))
    panel = drawn(plot_q(shaped, np.ones((1, 3))))[0]
    assert panel.lines[0].get_xdata().tolist() == BIDS


def test_a_continuous_action_has_101_points_of_the_shapes_range() -> None:
    algo = Known(True, Config(constraint=Concave(actions=[0.0, 2.0])))
    curve, _, best = drawn(plot_q(algo, [[0.7, 0.0, 0.0]]))[0].lines
    assert len(curve.get_xdata()) == 101
    x = np.linspace(0.0, 2.0, 101)
    np.testing.assert_allclose(curve.get_ydata(), 0.7 * x - x**2 / 2.0, atol=1e-6)
    np.testing.assert_allclose(best.get_xydata(), [[0.7, 0.245]], atol=1e-6)
    with pytest.raises(ValueError, match="actions must be the ends of the range"):
        plot_q(Known(True), [[0.7, 0.0, 0.0]])


def nearest(buffer: Any, context: Any, count: int) -> Any:
    x = buffer.to_arrays()["observations"]
    gaps = ((x - context) / x.std(axis=0)) ** 2
    return np.argsort(gaps.sum(axis=1), kind="stable")[:count]


@pytest.mark.parametrize(("rows", "near"), [(400, 200), (6000, 300)])
def test_dots_are_means_of_the_nearest_rows(rows: int, near: int) -> None:
    buffer, context = log(rows), np.array([1.0, 0.5, 0.0])
    panel = drawn(plot_q(Known(), context[None], buffer))[0]
    _, _, (bars,) = panel.containers[0]
    columns, kept = buffer.to_arrays(), nearest(buffer, context, near)
    actions = columns["actions"].reshape(-1)[kept]
    rewards = columns["rewards"].reshape(-1)[kept].astype(np.float64)
    for action, segment in enumerate(bars.get_segments()):
        found = rewards[actions == action]
        half = found.std(ddof=1) / np.sqrt(len(found))
        assert segment[0, 0] == action
        assert segment[:, 1].mean() == pytest.approx(found.mean(), abs=1e-6)
        # Student's t of about 60 or 100 degrees of freedom.
        assert 1.97 < np.ptp(segment[:, 1]) / 2.0 / half < 2.01
        assert panel.texts[action].get_text() == str(len(found))


def test_outcomes_have_panels_and_count_only_where_what_they_are_given_happened() -> None:
    rng = np.random.default_rng(1)
    won, worth = rng.integers(0, 2, 400) * 1.0, rng.normal(size=400)
    outcomes = [
        Outcome("worth", given="won", depends_on_action=False),
        Outcome("won", "monotone", link="logit", weight="-action"),
    ]
    buffer = log(won=won, worth=worth * won)
    context = np.array([1.0, 0.5, 0.0])
    panels = drawn(plot_q(Known(config=Config(outcomes)), context[None], buffer))
    assert [panel.get_ylabel() for panel in panels] == ["Q", "worth", "won"]
    assert panels[2].lines[0].get_ydata().tolist() == [0.5, 2.5, 4.5]
    kept = nearest(buffer, context, 200)
    actions = buffer.to_arrays()["actions"].reshape(-1)[kept]
    for action in range(3):
        rows = (actions == action) & (won[kept] == 1.0)
        dots = panels[1].containers[0].lines[0].get_ydata()
        assert dots[action] == pytest.approx(worth[kept][rows].mean(), abs=1e-6)
        assert panels[1].texts[action].get_text() == str(rows.sum())


def test_shares_have_intervals_that_stay_within_0_and_1() -> None:
    x = np.zeros((30, 3), np.float32)
    actions, y = np.repeat([0, 1, 2], 10), np.repeat([0.0, 1.0, 1.0], 10)
    y[-5:] = 0.0
    buffer = ColumnarReplayBuffer.from_arrays(x, actions, y)
    panel = drawn(plot_q(Known(), np.zeros((1, 3)), buffer))[0]
    ends = [one[:, 1] for one in panel.containers[0].lines[2][0].get_segments()]
    # Wilson's of 0, 10 and 5 of 10.
    expected = [[0.0, 0.27754], [0.72246, 1.0], [0.23659, 0.76341]]
    np.testing.assert_allclose(ends, expected, atol=1e-5)


def test_groups_of_a_continuous_action_hold_equally_many() -> None:
    algo = Known(True, Config(constraint=Concave(actions=[0.0, 2.0])))
    panel = drawn(plot_q(algo, np.ones((1, 3)), log(continuous=True)))[0]
    assert [text.get_text() for text in panel.texts] == ["20"] * 10


def test_few_rows_are_not_drawn() -> None:
    x = np.zeros((44, 3), np.float32)
    actions = np.repeat([0, 1, 2], [20, 20, 4])
    buffer = ColumnarReplayBuffer.from_arrays(x, actions, np.arange(44.0))
    panel = drawn(plot_q(Known(), np.zeros((1, 3)), buffer))[0]
    assert [text.get_text() for text in panel.texts] == ["20", "20"]


def test_rewards_are_no_values_where_more_follows() -> None:
    buffer = log()
    columns = buffer.to_arrays()
    ends = np.arange(400) % 4 == 3
    longer = ColumnarReplayBuffer.from_arrays(
        columns["observations"], columns["actions"], columns["rewards"], ends
    )
    algo = Known()
    assert drawn(plot_q(algo, np.ones((1, 3)), longer))[0].texts
    algo.gamma = 0.9
    assert drawn(plot_q(algo, np.ones((1, 3)), buffer))[0].texts
    assert not drawn(plot_q(algo, np.ones((1, 3)), longer))[0].texts


def test_a_map_shows_the_greedy_action() -> None:
    buffer = log()
    figure = plot_policy(Known(), buffer, (0, 1), names=["a", "b"], actions=BIDS)
    panel, x = figure.axes[0], buffer.to_arrays()["observations"]
    image = panel.images[0].get_array()
    assert image.shape == (41, 41)
    axis = np.linspace(*np.quantile(x[:, 0], [0.01, 0.99]), 41)
    expected = np.array(BIDS)[np.rint(np.clip(axis, 0.0, 2.0)).astype(int)]
    np.testing.assert_array_equal(image, np.tile(expected, (41, 1)))
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("a", "b")
    assert figure.axes[1].get_ylabel() == "action"


def test_flags_have_two_values_and_one_feature_is_a_line() -> None:
    figure = plot_policy(Known(), log(), (0, 2))
    assert figure.axes[0].images[0].get_array().shape == (2, 41)
    assert figure.axes[0].get_yticks().tolist() == [0.0, 1.0]
    line = plot_policy(Known(), log(), [1]).axes[0].lines[0]
    # The first feature is that of the row nearest to the median, which is 1.
    assert line.get_ydata().tolist() == [1.0] * 41


def test_importance_by_hand() -> None:
    buffer = log(3000)
    found = feature_importance(Known(True), buffer, rows=3000)
    assert found[1:].tolist() == [0.0, 0.0]
    x = np.clip(buffer.to_arrays()["observations"][:, 0].astype(np.float64), 0.0, 2.0)
    seen = buffer.to_arrays()["observations"][:, 0]
    # Of independent x and y: E[Q(x, pi(x)) - Q(x, pi(y))].
    expected = (seen * x).mean() - seen.mean() * x.mean()
    assert found[0] == pytest.approx(expected, rel=0.05)
    grouped = feature_importance(Known(True), buffer, [[0, 1], [2]], rows=3000)
    assert grouped[0] == pytest.approx(expected, rel=0.05)
    assert grouped[1] == 0.0
    again = feature_importance(Known(True), buffer, seed=0, rows=50)
    assert again.tolist() == feature_importance(Known(True), buffer, rows=50).tolist()


def test_an_algorithm_of_d3rlpy() -> None:
    buffer, x = log(60), np.ones((3, 3), np.float32)
    dqn = DQNConfig().create(device="cpu:0")
    dqn.build_with_dataset(buffer)
    curve = drawn(plot_q(dqn, x, buffer))[0].lines[0]
    np.testing.assert_allclose(curve.get_ydata(), dqn.predict_value(x, np.arange(3)))


def test_an_algorithm_of_ours() -> None:
    buffer = log(60)
    algo = ConstraintAwareQConfig(gamma=0.0, outcomes=["reward: concave"]).create()
    algo.build_with_dataset(buffer)
    assert len(drawn(plot_q(algo, np.ones((2, 3)), buffer))) == 4
    assert len(drawn(plot_q(algo, np.ones((6, 3))))) == 12
    assert plot_policy(algo, buffer).axes
    assert feature_importance(algo, buffer, rows=20).shape == (3,)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda a: plot_q(a, np.ones(3)), r"contexts .* shape \('N', 3\), got \(3,\)"),
        (lambda a: plot_q(a, np.ones((1, 2))), r"contexts .* got \(1, 2\)"),
        (lambda a: plot_q(a, np.full((1, 3), np.nan)), "contexts must be finite"),
        (lambda a: plot_q(a, np.ones((1, 3)), titles=["a", "b"]), "titles must be one"),
        (lambda a: plot_q(a, np.ones((1, 3)), actions=[1, 0, 2]), "actions must be 3"),
        (lambda a: plot_q(a, np.ones((1, 3)), log(continuous=True)), "continuous of si"),
        (lambda a: plot_policy(a, log(), (0, 3)), "from 0 to 2, got .0, 3"),
        (lambda a: plot_policy(a, log(), (0, 0)), "features must be one or two"),
        (lambda a: plot_policy(a, log(), (0, 1), names=["a"]), "names must be one"),
        (lambda a: feature_importance(a, log(), [[]]), r"groups .* got \[\]"),
        (lambda a: feature_importance(a, log(), rows=0), "rows must be"),
    ],
)
def test_bad_input_is_named(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call(Known())


def test_other_objects_are_no_algorithms() -> None:
    with pytest.raises(TypeError, match="algo must be an algorithm"):
        plot_q(object(), np.ones((1, 3)))
    with pytest.raises(TypeError, match="dataset must be"):
        plot_q(Known(), np.ones((1, 3)), dataset=3)
