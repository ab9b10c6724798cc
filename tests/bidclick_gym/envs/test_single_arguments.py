"""What ``BidClickEnv`` accepts, refuses and draws."""

from __future__ import annotations

import math
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bidclick_gym import BidClickEnv

CHOSEN = {"x": 0.25, "c": 0.375}


def reset_to_an_outcome(env: BidClickEnv, click: int) -> None:
    """Bids on one chosen context until the click is as asked for."""
    for seed in range(100):
        env.reset(seed=seed, options=CHOSEN)
        if env.step(2)[4]["click"] == click:
            return
    pytest.fail("no such outcome in 100 tries")


def test_reset_options_choose_the_context() -> None:
    env = BidClickEnv(horizon=3)
    drawn, _ = env.reset(seed=3)
    after = env.step(1)[0]
    for names in (("x",), ("c",), ("x", "c")):
        observation, _ = env.reset(seed=3, options={name: CHOSEN[name] for name in names})
        assert observation.dtype == np.float32
        for value, name, original in zip(observation, "xc", drawn, strict=True):
            assert value == (CHOSEN[name] if name in names else original)
        np.testing.assert_array_equal(env.step(1)[0], after)


@pytest.mark.parametrize(
    "action", [-0.01, 1.01, math.nan, math.inf, None, "high", {}, [0.1, 0.2], []]
)
def test_bad_continuous_bids_are_refused(action: Any) -> None:
    env = BidClickEnv(continuous=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action must be one bid in \[0, 1\]") as caught:
        env.step(action)
    assert f"got {action!r}" in str(caught.value)


@pytest.mark.parametrize(
    "action", [0.25, np.float32(0.25), np.array([0.25]), np.array([[0.25]], np.float32)]
)
def test_a_continuous_bid_may_come_in_any_form_that_policies_return(action: Any) -> None:
    env = BidClickEnv(continuous=True)
    env.reset(seed=0)
    assert env.step(action)[4]["bid"] == 0.25


def test_a_refused_action_changes_nothing() -> None:
    env = BidClickEnv(horizon=3)
    env.reset(seed=1)
    expected = env.step(2)
    env.reset(seed=1)
    with pytest.raises(ValueError, match="action"):
        env.step(9)
    assert env.step(2)[1:] == expected[1:]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, r"horizon must be an integer >= 1, got 0"),
        ({"horizon": 1.0}, r"horizon must be an integer >= 1, got 1\.0"),
        ({"horizon": True}, r"horizon must be an integer >= 1, got True"),
        ({"horizon": "1"}, r"horizon must be an integer >= 1, got '1'"),
        ({"bids": (0.0,)}, r"bids must be at least two .* \[0, 1\], got \(0\.0,\)"),
        ({"bids": (0.0, 2.0)}, r"bids must be .* \[0, 1\], got \(0\.0, 2\.0\)"),
        ({"bids": 3}, r"bids must be .* \[0, 1\], got 3"),
        ({"cost_range": (1, 0)}, r"cost_range must be \(lowest, .*, got \(1, 0\)"),
        ({"cost_range": 0.3}, r"cost_range must be \(lowest, .*, got 0\.3"),
        ({"render_mode": "human"}, r"render_mode must be None or .*ansi.*, got 'human'"),
    ],
)
def test_bad_arguments_are_refused_by_name(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BidClickEnv(**kwargs)


def test_stepping_or_rendering_before_reset_raises() -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before step"):
        BidClickEnv().step(0)
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before render"):
        BidClickEnv(render_mode="ansi").render()
    with pytest.raises(gym.error.ResetNeeded):
        gym.make("BidClick-v0").step(0)


def test_ansi_shows_the_context_the_curve_and_the_outcome() -> None:
    env = BidClickEnv(render_mode="ansi")
    env.reset(seed=0, options=CHOSEN)
    shown = env.render()
    assert isinstance(shown, str)
    assert shown.startswith("context x=0.250 c=0.375")
    assert shown.endswith("no bid yet")
    reset_to_an_outcome(env, click=1)
    clicked = env.render().splitlines()
    reset_to_an_outcome(env, click=0)
    missed = env.render().splitlines()
    assert clicked[0] == missed[0] == "context x=0.250 c=0.375"
    curve = clicked[1:6]
    bars = [line.count("#") for line in curve]
    for line, bid in zip(curve, env.auction.bids, strict=True):
        reward = 1.0 / (1.0 + math.exp(-2.0 * bid - 0.125)) - 0.375 * bid
        assert f"bid {bid:g}" in line
        assert f"E[r]={reward:.4f}" in line
        assert line.endswith("<- best") == (bid == 0.5)
    assert bars[2] == max(bars) > min(bars) > 0
    assert clicked[-1] == "bid 0.5: clicked, paid 0.188, reward 0.812"
    assert missed[-1] == "bid 0.5: not clicked, paid 0.188, reward -0.188"


def test_rgb_array_shows_the_outcome() -> None:
    pytest.importorskip("matplotlib")
    env = BidClickEnv(render_mode="rgb_array")
    pictures = []
    env.reset(seed=0, options=CHOSEN)
    pictures.append(env.render())
    for click in (0, 1):
        reset_to_an_outcome(env, click)
        pictures.append(env.render())
    for picture in pictures:
        assert picture.shape == (400, 600, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 0.0
    before, missed, clicked = pictures
    assert (before != missed).any()
    assert (missed != clicked).any()
    green, red = (44, 160, 44), (214, 39, 40)
    for picture, shown in ((before, ()), (missed, (red,)), (clicked, (green,))):
        for colour in (green, red):
            assert (picture == colour).all(axis=-1).any() == (colour in shown)
    np.testing.assert_array_equal(env.render(), clicked)


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_rendering_draws_no_random_number(mode: str) -> None:
    if mode == "rgb_array":
        pytest.importorskip("matplotlib")
    env = BidClickEnv(horizon=3, render_mode=mode)
    env.reset(seed=0)
    before = env.np_random.bit_generator.state
    env.render()
    assert env.np_random.bit_generator.state == before


def test_a_picture_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("figure", "backends.backend_agg"):
        monkeypatch.setitem(sys.modules, f"matplotlib.{name}", None)
    # An auction that no other test has drawn: what is drawn once is kept.
    env = BidClickEnv(render_mode="rgb_array", cost_range=(0.21, 0.39))
    env.reset(seed=0)
    with pytest.raises(
        gym.error.DependencyNotInstalled, match=r"bidclick-icac\[render\]"
    ):
        env.render()
