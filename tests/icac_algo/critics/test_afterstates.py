"""Critics that know what an action takes out of a budget."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import onnxruntime
import pytest
import torch
from d3rlpy.models.encoders import DefaultEncoderFactory, PixelEncoderFactory
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    MinMaxObservationScaler,
    StandardRewardScaler,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    Afterstates,
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Outcome,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateMonotone,
    Unconstrained,
)
from icac_algo.critics import (
    AfterstateOutcomeQFunction,
    AfterstateQFunction,
    Prior,
    Units,
    reward_slope,
)
from icac_algo.decisions import MaskedGreedy
from icac_algo.export import load, save, save_graph

PAYMENT = KnownCost(feature=1)
K = 5


def afterstates(**changes: Any) -> Afterstates:
    fields = {
        "known_cost": PAYMENT,
        "context": [0],
        "budget_feature": 2,
        "clock_feature": 3,
        "spend": 0.25,
        "tick": 0.02,
        **changes,
    }
    return Afterstates(**fields)


OF_FACTORY = ("constraint", "level", "scale", "reward_scaler")


def factory(**changes: Any) -> ShapedQFunctionFactory:
    own = {name: changes.pop(name) for name in OF_FACTORY if name in changes}
    fields = {"constraint": MonotoneConcave(), **own}
    return ShapedQFunctionFactory(critic=afterstates(**changes), **fields)


def config_of(config: Any, **fields: Any) -> Any:
    """With the shape in the config, or in the factory of d3rlpy's algorithms."""
    if config is ConstraintAwareQConfig:
        fields = {"constraint": MonotoneConcave(), "critic": afterstates(), **fields}
        return config(**fields)
    return config(q_func_factory=factory(), **fields)


def critic(seed: int = 0, spread: float = 1.0, **changes: Any) -> AfterstateQFunction:
    torch.manual_seed(seed)
    encoder = DefaultEncoderFactory().create((4,))
    made, _ = factory(**changes).create_discrete(encoder, 256, K)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(spread)
    return made.eval()


def values(made: Any, observations: Any) -> Any:
    with torch.no_grad():
        x = torch.as_tensor(np.asarray(observations, dtype=np.float32))
        return made(x).q_value.double().numpy()


def states(seed: int, n: int = 200) -> Any:
    low, high = [0.0, 0.2, 0.0, 0.02], [1.0, 0.4, 1.0, 1.0]
    return np.random.default_rng(seed).uniform(low, high, (n, 4)).astype(np.float32)


def is_paid(observations: Any) -> Any:
    bids = np.linspace(0.0, 1.0, K)
    return observations[:, 2:3] >= 0.25 * observations[:, 1:2] * bids - 1e-6


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_shapes_hold_wherever_the_bid_is_paid(seed: int, spread: float) -> None:
    made, x = critic(seed, spread), states(seed)
    q, paid = values(made, x), is_paid(x)
    tolerance = 2e-6 * np.abs(q).max()
    second = np.diff(q, n=2, axis=1)
    assert (second[paid[:, 2:]] <= tolerance).all()
    richer, dearer = x.copy(), x.copy()
    richer[:, 2] += 0.1
    dearer[:, 1] += 0.05
    assert (values(made, richer)[paid] >= q[paid] - tolerance).all()
    both = paid & is_paid(dearer)
    assert (values(made, dearer)[both] <= q[both] + tolerance).all()


def test_a_bid_that_cannot_be_paid_is_worth_what_no_bid_is() -> None:
    x = states(1)
    x[:, 2] *= 0.08
    q, paid = values(critic(), x), is_paid(x)
    assert 0.1 < paid.mean() < 0.9
    free = np.broadcast_to(q[:, :1], q.shape)
    assert (q[~paid] == free[~paid]).all()
    assert (q[:, 1:][paid[:, 1:]] != free[:, 1:][paid[:, 1:]]).all()


def test_after_the_last_step_money_is_worth_nothing() -> None:
    made, x = critic(), states(2)
    x[:, 2] = 0.9
    last, before = x.copy(), x.copy()
    last[:, 3], before[:, 3] = 0.02, 0.04
    poorer = last.copy()
    poorer[:, 2] = 0.5
    assert np.array_equal(values(made, last), values(made, poorer))
    poorer[:, 3] = 0.04
    assert (values(made, poorer) < values(made, before)).all()


def test_without_shapes_the_value_still_depends_on_what_is_left_alone() -> None:
    made = critic(constraint=Unconstrained(), value_shape=Unconstrained())
    x = np.array([[0.3, 0.4, 0.5, 0.5], [0.3, 0.2, 0.45, 0.5]], dtype=np.float32)
    # A bid of .5 leaves .45 of the first; a free bid leaves .45 of the second.
    q = values(made, x) + x[:, 1:2] * np.linspace(0.0, 1.0, K)
    now = values(made, [[0.3, 0.4, 1.0, 0.02]]) + 0.4 * np.linspace(0.0, 1.0, K)
    later = q - now
    assert later[0, 2] == pytest.approx(later[1, 0], abs=1e-5)
    assert later[0, 0] != pytest.approx(later[1, 0], abs=1e-5)


def test_reward_scalers_scale_the_payment() -> None:
    scaler = d3rlpy.preprocessing.MultiplyRewardScaler(10.0)
    x = states(3)
    plain = values(critic(constraint=Unconstrained()), x)
    scaled = values(critic(constraint=Unconstrained(), reward_scaler=scaler), x)
    paid = is_paid(x)
    payment = x[:, 1:2] * np.linspace(0.0, 1.0, K)
    assert (plain - scaled)[paid] == pytest.approx(9.0 * payment[paid], abs=1e-4)


def test_level_and_scale_are_those_of_the_factory() -> None:
    x = states(3)
    payment, paid = x[:, 1:2] * np.linspace(0.0, 1.0, K), is_paid(x)
    plain = values(critic(), x) + payment
    moved = values(critic(level=3.0, scale=2.0), x) + payment
    assert moved[paid] == pytest.approx((3.0 + 2.0 * plain)[paid], abs=1e-4)


def campaigns() -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    return ColumnarReplayBuffer.from_arrays(
        states(4, 100),
        rng.integers(0, K, 100),
        rng.normal(size=100),
        terminals=np.arange(100) % 10 == 9,
        action_size=K,
    )


@pytest.mark.parametrize(
    "config",
    [
        d3rlpy.algos.DQNConfig,
        d3rlpy.algos.DoubleDQNConfig,
        d3rlpy.algos.DiscreteCQLConfig,
        ConstraintAwareQConfig,
    ],
)
def test_algorithms_train_save_and_load_it(config: Any, tmp_path: pathlib.Path) -> None:
    x, buffer = states(4, 100), campaigns()
    algo = config_of(config, batch_size=16).create()
    algo.build_with_dataset(buffer)
    before = [p.clone() for p in algo.impl.q_function.parameters()]
    algo.fit(buffer, n_steps=20, n_steps_per_epoch=20, show_progress=False)
    after = dict(zip(algo.impl.q_function.named_parameters(), before, strict=True))
    moved = {name for (name, p), old in after.items() if not torch.equal(p, old)}
    assert any("now" in name for name in moved)
    assert any("later" in name for name in moved)
    algo.save(str(tmp_path / "model.d3"))
    again = d3rlpy.load_learnable(str(tmp_path / "model.d3"))
    assert np.array_equal(again.predict(x), algo.predict(x))
    assert again.config == algo.config


def test_constraint_aware_q_measures_it_in_the_units_of_the_log() -> None:
    scaler = StandardRewardScaler(multiplier=0.5)
    algo = config_of(ConstraintAwareQConfig, reward_scaler=scaler).create()
    algo.fit(campaigns(), n_steps=5, n_steps_per_epoch=5, show_progress=False)
    assert algo.impl is not None
    x = states(4, 20)
    for q_funcs in (algo.impl.modules.q_funcs, algo.impl.modules.average_q_funcs):
        assert float(q_funcs[0].scale) == pytest.approx(0.5, rel=1e-2)
    # The payment is the reward scaler's: two bids whose rest is worth the same, at the
    # end of the clock, differ by it.
    last = x.copy()
    last[:, 2], last[:, 3] = 0.9, 0.02
    dearer = last.copy()
    dearer[:, 1] += 0.1
    q = [MaskedGreedy(algo, is_paid).values(each) for each in (last, dearer)]
    slope = reward_slope(scaler)
    expected = np.broadcast_to(slope * 0.1 * np.linspace(0.0, 1.0, K), q[0].shape)
    assert q[0] - q[1] == pytest.approx(expected, abs=1e-5)


def test_all_values_at_once_are_predict_value() -> None:
    x = states(5, 40)
    for config in (ConstraintAwareQConfig, d3rlpy.algos.DiscreteCQLConfig):
        algo: Any = config_of(config, n_critics=2).create()
        algo.fit(campaigns(), n_steps=5, n_steps_per_epoch=5, show_progress=False)
        single = [algo.predict_value(x, np.full(len(x), a)) for a in range(K)]
        at_once = MaskedGreedy(algo, is_paid).values(x)
        assert at_once == pytest.approx(np.stack(single, axis=1), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constraint": Monotone(known_cost=PAYMENT)}, "constraint must have no known"),
        ({"state_constraints": [StateMonotone(features=[0])]}, "state_constraints need"),
        ({"check_prior": "warn"}, "check_prior must be 'off'"),
        ({"observation_scaler": MinMaxObservationScaler()}, "observation_scaler must be"),
        ({"action_scaler": MinMaxActionScaler()}, "action_scaler must be"),
    ],
)
def test_constraint_aware_q_refuses_what_it_would_leave_out(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ConstraintAwareQConfig(critic=afterstates(), **changes)


def test_constraint_aware_q_refuses_it_for_continuous_actions() -> None:
    config = ConstraintAwareQConfig(critic=afterstates())
    buffer = ColumnarReplayBuffer.from_arrays(
        states(6, 20), np.zeros((20, 1), np.float32), np.ones(20), np.arange(20) % 5 == 4
    )
    with pytest.raises(
        ValueError, match=r"continuous actions need critic=Functional\(\)"
    ):
        config.create().build_with_dataset(buffer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"constraint": Monotone(known_cost=PAYMENT)},
            "constraint must have no known_cost",
        ),
        ({"known_cost": 0.5}, "known_cost must be a KnownCost"),
        ({"known_cost": KnownCost(7)}, "must be below the observation size 4"),
        (
            {"constraint": Concave(actions=[0.1, 0.2, 0.3, 0.4, 0.5])},
            "first action at 0",
        ),
        ({"constraint": "wavy"}, "constraint must be"),
        ({"value_shape": None}, "value_shape must be a shape"),
        ({"context": []}, "context must hold integers >= 0"),
        ({"context": [0.5]}, "context must hold integers >= 0"),
        ({"budget_feature": 2.5}, "budget_feature must hold integers >= 0"),
        ({"clock_feature": -1}, "clock_feature must hold integers >= 0"),
        ({"context": [4]}, "must be below the observation size 4"),
        ({"spend": 0.0}, "spend must be a number > 0"),
        ({"tick": float("nan")}, "tick must be a number > 0"),
        ({"largest_payment": 0.0}, "largest_payment must be a number > 0"),
        ({"n_pieces": 0}, "n_pieces must be an integer >= 1"),
        ({"scale": -1.0}, "scale must be a number > 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        critic(**changes)


def test_only_vectors_and_discrete_actions() -> None:
    encoder = PixelEncoderFactory().create((1, 84, 84))
    with pytest.raises(ValueError, match="vector observations"):
        factory().create_discrete(encoder, 512, K)
    with pytest.raises(ValueError, match="continuous actions need critic"):
        factory().create_continuous(encoder, 512)  # type: ignore[arg-type]


# -- outcomes ------------------------------------------------------------------

BIDS = np.linspace(0.0, 1.0, K)


def auction_outcomes() -> list[Outcome]:
    click = Outcome("click", MonotoneConcave(), link="logit")
    return [click, Outcome(weight="-x1 * action")]


def outcome_critic(
    seed: int = 0, spread: float = 1.0, outcomes: Any = None, **changes: Any
) -> AfterstateOutcomeQFunction:
    torch.manual_seed(seed)
    scaler = StandardRewardScaler(mean=0.3, std=0.5)
    prior = Prior(
        Unconstrained(),
        outcomes=outcomes or auction_outcomes(),
        reward_scaler=scaler,
    )
    encoder = DefaultEncoderFactory().create((4,))
    made = afterstates(**changes).create_discrete(encoder, 256, K, prior)
    assert isinstance(made, AfterstateOutcomeQFunction)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(spread)
    levels, ones, features = [0.5] * len(made.learned), [1.0] * len(made.learned), 4
    more = [*levels, *ones, *ones, *[0.0] * features, *[1.0] * features]
    made.standardise(0.2, 0.7, 1.0, *more)
    return made.eval()


def parts_of(made: AfterstateOutcomeQFunction, observations: Any) -> Any:
    """Predictors of every outcome and of what follows, ``(n + 1, B, K)``."""
    with torch.no_grad():
        return made.exact([made], torch.as_tensor(observations)).numpy()


SHARE = {"largest_payment": 0.1}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.sampled_from([{}, SHARE]))
def test_outcomes_have_their_shape_and_what_is_left_its_own(
    seed: int, spread: float, changes: dict[str, Any]
) -> None:
    made, x = outcome_critic(seed, spread, **changes), states(seed)
    eta, later = parts_of(made, x)
    paid = is_paid(x)
    slopes = np.diff(eta)
    assert (slopes >= 0.0).all()
    assert (np.diff(slopes) <= 1e-15 * np.abs(eta).max()).all()
    slack = 1e-12 * np.abs(later).max()
    assert (np.diff(later)[paid[:, 1:]] <= slack).all()
    assert (np.diff(later, n=2)[paid[:, 2:]] <= slack).all()
    richer, dearer = x.copy(), x.copy()
    richer[:, 2] += 0.1
    dearer[:, 1] += 0.05
    q = values(made, x)
    tolerance = 2e-6 * np.abs(q).max()
    assert (values(made, richer)[paid] >= q[paid] - tolerance).all()
    both = paid & is_paid(dearer)
    assert (values(made, dearer)[both] <= q[both] + tolerance).all()


def test_q_is_what_outcomes_add_up_to_and_what_follows() -> None:
    made, x = outcome_critic(), states(1)
    x[:, 2] *= 0.3
    eta, later = parts_of(made, x)
    q, paid = values(made, x), is_paid(x)
    reward = 1.0 / (1.0 + np.exp(-eta)) - x[:, 1:2] * BIDS
    scaler = made._prior.reward_scaler
    assert scaler is not None
    whole = scaler.transform_numpy(reward) + later
    assert 0.1 < paid.mean() < 0.9
    assert q[paid] == pytest.approx(whole[paid], abs=1e-6)
    free = np.broadcast_to(q[:, :1], q.shape)
    assert (q[~paid] == free[~paid]).all()


def test_outcomes_see_their_context_and_what_follows_the_rest() -> None:
    made, x = outcome_critic(), states(1)
    eta, later = parts_of(made, x)
    other = states(2)
    other[:, 0] = x[:, 0]
    assert np.array_equal(parts_of(made, other)[0], eta)
    other = x.copy()
    other[:, 0] = 0.5
    assert np.array_equal(parts_of(made, other)[1], later)
    assert not np.allclose(parts_of(made, other)[0], eta)
    click = Outcome("click", link="logit", ignores=[0])
    blind = outcome_critic(outcomes=[click, Outcome("sale", "monotone")], context=[0, 1])
    eta = parts_of(blind, x)
    assert np.array_equal(eta[0], parts_of(blind, other)[0])
    assert not np.allclose(eta[1], parts_of(blind, other)[1])


@pytest.mark.parametrize("make", [critic, outcome_critic])
def test_money_that_cannot_be_spent_is_worth_nothing(make: Any) -> None:
    made, x = make(**SHARE), states(2)
    x[:, 3] = np.repeat([0.02, 0.04, 0.1, 0.2], 50)
    x[:, 2] = 0.1
    richer = x.copy()
    richer[:, 2] = 0.9
    gain = values(made, richer)[:, 0] - values(made, x)[:, 0]
    # What is left of .1 lasts for the last two steps.
    assert (gain[:100] == 0.0).all()
    assert (gain[100:] > 0.0).all()


def outcome_log(actions: Any = None, **changes: Any) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    x = states(4, 400)
    x[:, 3] = np.tile(np.arange(10, 0, -1) / 50, 40)
    actions = rng.integers(0, K, 400) if actions is None else actions
    click = (rng.random(400) < 0.3 + 0.5 * BIDS[actions]).astype(np.float64)
    columns: dict[str, Any] = {
        "rewards": click - x[:, 1] * BIDS[actions],
        "extras": {"click": click},
        **changes,
    }
    return ColumnarReplayBuffer.from_arrays(
        x, actions, terminals=np.arange(400) % 10 == 9, action_size=K, **columns
    )


def outcome_config(**fields: Any) -> ConstraintAwareQConfig:
    fields = {
        "outcomes": auction_outcomes(),
        "critic": afterstates(**SHARE),
        "gamma": 0.999,
        "tau": 0.2,
        "reward_scaler": StandardRewardScaler(multiplier=0.5),
        "batch_size": 64,
        **fields,
    }
    return ConstraintAwareQConfig(**fields)


def trained(dataset: Any = None, steps: int = 20, **fields: Any) -> Any:
    d3rlpy.seed(1)
    algo = outcome_config(**fields).create(device="cpu:0")
    algo.fit(
        dataset or outcome_log(),
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


@pytest.mark.parametrize("file", ["graph.pt", "graph.onnx"])
def test_outcomes_are_learned_saved_and_exported(
    file: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    algo, x = trained(n_critics=2), states(6, 50)
    x[:, 2] *= 0.3
    again = load(save(algo, "model"), device="cpu:0")
    assert again.config == algo.config
    q = np.stack([algo.predict_value(x, np.full(50, a)) for a in range(K)], axis=1)
    assert np.array_equal(again.predict_value(x, np.full(50, 2)), q[:, 2])
    assert (q[~is_paid(x)] == np.broadcast_to(q[:, :1], q.shape)[~is_paid(x)]).all()
    clicks = [again.predict_outcome(x, np.full(50, a), "click") for a in range(K)]
    assert (np.diff(clicks, axis=0) >= 0.0).all()
    save_graph(algo, file)
    if file.endswith(".onnx"):
        session = onnxruntime.InferenceSession(file)
        found = dict(
            zip(
                [output.name for output in session.get_outputs()],
                session.run(None, {"input_0": x}),
                strict=True,
            )
        )["q_values"]
    else:
        found = torch.jit.load(file)(torch.as_tensor(x))[2].numpy()
    assert found == pytest.approx(q, abs=1e-5)


def test_the_same_seed_learns_the_same_under_other_budgets() -> None:
    picker = BudgetRelabellingTransitionPicker(
        budget_feature=2, clock_feature=3, tick=1 / 50, largest_payment=0.1
    )
    dataset = outcome_log().replace(transition_picker=picker)
    one, two = trained(dataset), trained(dataset)
    x = states(6, 50)
    assert np.array_equal(
        one.predict_value(x, np.zeros(50)), two.predict_value(x, np.zeros(50))
    )
    clicks = [one.predict_outcome(x, np.full(50, a), "click") for a in range(K)]
    assert np.isfinite(clicks).all()
    assert not np.array_equal(
        one.predict_value(x, np.zeros(50)), trained().predict_value(x, np.zeros(50))
    )


def test_the_click_is_learned() -> None:
    algo = trained(steps=100, critic_learning_rate=1e-2)
    x = states(6, 50)
    clicks = [algo.predict_outcome(x, np.full(50, a), "click").mean() for a in range(K)]
    assert clicks == pytest.approx(0.3 + 0.5 * BIDS, abs=0.1)


def test_a_log_whose_rewards_are_not_the_sum_of_outcomes_is_refused() -> None:
    with pytest.raises(ValueError, match="rewards must be what outcomes add up to"):
        trained(outcomes=auction_outcomes()[:1])
    bids = np.full(400, 4)
    with pytest.raises(ValueError, match="rewards must be what outcomes add up to"):
        # The bid of 1 was refused: it cost nothing, and so a bid of 0 was made.
        trained(outcome_log(bids, rewards=np.zeros(400), extras={"click": np.zeros(400)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constraint": Monotone()}, "constraint must be left out beside outcomes"),
        ({"state_constraints": [StateMonotone(features=[0])]}, "state_constraints need"),
        ({"observation_scaler": MinMaxObservationScaler()}, "observation_scaler must be"),
    ],
)
def test_outcomes_refuse_what_they_would_leave_out(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        outcome_config(**changes)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        (MonotoneConcave(), True),
        (Monotone(), True),
        (Unconstrained(), True),
        (Concave(), False),
        (Convex(), False),
        (SlopeBounds(0.0, 2.0), False),
    ],
)
def test_which_values_can_be_constant_from_somewhere_on(shape: Any, fits: bool) -> None:
    if fits:
        afterstates(value_shape=shape, **SHARE)
        return
    with pytest.raises(ValueError, match="value_shape must allow values"):
        afterstates(value_shape=shape, **SHARE)


# -- payments that an auction decides ---------------------------------------------


def second_price() -> list[Outcome]:
    return [
        Outcome("won", Monotone(), link="logit", weight="x0"),
        Outcome("payment", Monotone(), link="log", weight=0.0, given="won"),
    ]


AUCTION: dict[str, Any] = {"payment": "payment", "amounts": [0.02, 0.2, 2.0]}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_what_follows_is_worth_as_often_as_auctions_are_won(
    seed: int, spread: float
) -> None:
    made, x = outcome_critic(seed, spread, second_price(), **AUCTION), states(seed)
    eta_won, eta_paid, later = parts_of(made, x)
    won, paid = 1.0 / (1.0 + np.exp(-eta_won)), np.exp(eta_paid)

    def worth(left: Any) -> Any:
        """What is left is worth that, ``(B, K)``."""
        part = made.coordinates(torch.as_tensor(x))[:, -made._sizes[-1] :].double()
        unit = Units(made.level.double(), made.scale.double(), made._reward_units[0])
        with torch.no_grad():
            return made._worth(part, torch.as_tensor(left), unit).numpy()

    kept, left = worth(x[:, 2:3].astype(float)), worth(x[:, 2:3] - 0.25 * paid)
    expected = (1.0 - won) * kept + won * left
    assert later == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert (left <= kept + 1e-9).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_with_amounts_q_rises_in_budget_and_in_clock(seed: int, spread: float) -> None:
    made, x = outcome_critic(seed, spread, second_price(), **AUCTION), states(seed)
    richer, earlier = x.copy(), x.copy()
    richer[:, 2] += 0.1
    earlier[:, 3] += 0.1
    q = values(made, x)
    # Bids are at most what is left.
    paid = x[:, 2:3] >= 0.25 * BIDS
    for more in (richer, earlier):
        assert (values(made, more)[paid] >= q[paid] - 2e-6 * np.abs(q).max()).all()
    free = np.broadcast_to(q[:, :1], q.shape)
    assert (q[~paid] == free[~paid]).all()


def test_without_a_shape_amounts_leave_it_free() -> None:
    made = outcome_critic(0, 3.0, second_price(), value_shape=Unconstrained(), **AUCTION)
    x = states(0)
    richer = x.copy()
    richer[:, 2] += 0.1
    change = values(made, richer)[:, 0] - values(made, x)[:, 0]
    assert change.min() < 0.0 < change.max()


def test_what_follows_learns_from_what_was_left() -> None:
    made, x = outcome_critic(outcomes=second_price(), **AUCTION).train(), states(3)
    after = x.copy()
    after[:, 2] *= 0.3
    seen, actions = torch.as_tensor(x), torch.full((len(x), 1), 3)
    predictors, _ = made(seen, actions, torch.as_tensor(after))
    part = made.coordinates(seen)[:, -made._sizes[-1] :]
    unit = Units(made.level, made.scale, made._reward_units[0])
    left = torch.as_tensor(after[:, 2:3])
    assert torch.equal(predictors[-1], made._worth(part, left, unit))
    # Wins and payments have likelihoods of their own.
    made(seen, actions)[0][-1].sum().backward()
    *heads, later = made._heads
    assert not any(p.grad.any() for head in heads for p in head.parameters())
    assert any(p.grad.any() for p in later.parameters())


def test_a_second_price_bidder_is_learned_saved_and_exported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng, x, actions = np.random.default_rng(0), states(4, 400), np.arange(400) % K
    x[:, 3] = np.tile(np.arange(10, 0, -1) / 50, 40)
    price = rng.random(400)
    won = (price <= BIDS[actions]).astype(np.float64)
    log = ColumnarReplayBuffer.from_arrays(
        x,
        actions,
        won * x[:, 0],
        terminals=np.arange(400) % 10 == 9,
        action_size=K,
        extras={"won": won, "payment": price * won},
    )
    own = {"outcomes": second_price(), "reward_scaler": None, "gamma": 1.0}
    algo = trained(log, critic=afterstates(**AUCTION), **own)
    again = load(save(algo, "model"), device="cpu:0")
    assert again.config == algo.config
    q = np.stack([algo.predict_value(x, np.full(400, a)) for a in range(K)], axis=1)
    assert np.array_equal(again.predict_value(x, np.full(400, 2)), q[:, 2])
    save_graph(algo, "graph.onnx")
    session = onnxruntime.InferenceSession("graph.onnx")
    (found,) = session.run(["q_values"], {"input_0": x})
    assert found == pytest.approx(q, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"amounts": [0.1, 0.0]}, "amounts must be .* got 0.0"),
        ({"amounts": [0.1], "largest_payment": 0.1}, "largest_payment must be None"),
        (
            {"amounts": [0.1], "value_shape": Monotone()},
            "value_shape must be .* Monotone",
        ),
    ],
)
def test_amounts_are_above_0_and_have_few_shapes(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        afterstates(**fields)


def test_a_payment_is_an_outcome_that_is_learned() -> None:
    with pytest.raises(ValueError, match=r"payment must be .* \['click'\], got 'paid'"):
        outcome_config(critic=afterstates(payment="paid"))
    with pytest.raises(ValueError, match=r"payment must be .* \[\], got 'paid'"):
        critic(payment="paid")
