"""What can be told that a response rises: ours and others', each trained on one log."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.metadata
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

import icac_algo as icac
from bidclick_gym import Auction
from bidclick_gym.logs import simulate_log

from ..learners import constraint_aware_q, trained
from ..realistic.worlds import FIRST_CAMPAIGN, FIRST_DEVICE, Array, Log, SecondPrice

#: From states ``(B, d)`` and bids ``(B,)`` to predictions ``(B,)``.
Predict = Callable[[Array, Array], Array]
CLICKS, PAYMENTS = "clicks", "payments"
RISING, BOTH = "rising", "rising and concave"
OURS, CONTROL = "ConstraintAwareQ", "monotonic_cst=None"
_LINKS: dict[str, Any] = {CLICKS: "logit", PAYMENTS: "log"}
#: Paragraphs of words: libraries of trees, and their settings.
_LIBRARIES, _SETTINGS = (
    [line.split() for line in part.splitlines() if line[0] != "#"]
    for part in (pathlib.Path(__file__).parent / "trees.txt").read_text().split("\n\n")
)


@functools.lru_cache
def log_of(name: str) -> Log:
    """20,000 clicks in BidClick-v0, or payments in second-price auctions, as rewards."""
    if name == PAYMENTS:
        found = SecondPrice().log(20_000, seed=0)
        return dataclasses.replace(found, rewards=found.outcomes["paid"])
    log = simulate_log(Auction(), campaigns=20, seed=0)
    states = log.observations[:, :-1].reshape(-1, 2).astype(np.float64)
    bids = np.asarray(log.bids)[log.actions.ravel()]
    return Log(states, bids, {}, log.clicks.ravel(), log.propensities.ravel())


@dataclasses.dataclass(frozen=True)
class Learner:
    """One row of the table: a library with settings, trained on a log."""

    name: str  # the library as it is installed, ``OURS`` for ours
    settings: str
    log: str  # its name
    fit: Callable[[Log, int], Predict]  # given gradient steps; trees are a fifth of them
    shape: str = RISING
    listed: bool = False  # whether it knows the logged bids only

    @property
    def version(self) -> str:
        """Of the library; empty if it, or what it needs, is not installed."""
        tables = ["pandas"] * ("categories" in self.settings or "Config" in self.settings)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return [importlib.metadata.version(one) for one in (*tables, self.name)][-1]
        return "of this checkout" if self.name == OURS else ""


def learners() -> Iterator[Learner]:
    """All of them, ours first."""
    critics = [icac.Functional(), icac.Canonical(), icac.Euclidean()]
    for log, any_bid in itertools.product((CLICKS, PAYMENTS), (False, True)):
        listed = np.unique(log_of(log).actions)
        bids = (listed[[0, -1]] if any_bid else listed).tolist()
        shapes: dict[str, icac.shapes.Constraint] = {RISING: icac.Monotone(actions=bids)}
        if log == CLICKS:  # which rise ever less
            shapes[BOTH] = icac.MonotoneConcave(actions=bids)
        parts = [icac.Outcome("reward", [*shapes.values()][-1], link=_LINKS[log])]
        fields: dict[tuple[str, str], dict[str, Any]] = {
            (said, type(critic).__name__): {"constraint": shape, "critic": critic}
            for said, shape in shapes.items()
            for critic in critics[: 1 if any_bid else None]
        }
        fields[RISING, "Outcome"] = {"outcomes": parts, "reward_scaler": None}
        for (said, words), given in fields.items():
            words += ", any bid" if any_bid else ", listed bids"
            fit = functools.partial(_ours, given, any_bid)
            yield Learner(OURS, words, log, fit, said, not any_bid)
    for log, (name, *settings) in itertools.product((CLICKS, PAYMENTS), _SETTINGS):
        split = [word.partition("=") for word in settings if word != "*"]
        several = [[key + sign + v for v in rest.split("/")] for key, sign, rest in split]
        if log == PAYMENTS or "*" in settings:
            for chosen in itertools.product(*several):
                fit = functools.partial(_trees, name, chosen)
                yield Learner(name, " ".join(chosen), log, fit)
    for kind in ("LinearConfig", "LatticeConfig"):
        yield Learner("pytorch-lattice", kind, CLICKS, functools.partial(_lattice, kind))
    for log in (CLICKS, PAYMENTS):
        yield Learner("monotonicnetworks", "MonotonicWrapper", log, _lipschitz)


def _ours(fields: dict[str, Any], any_bid: bool, log: Log, steps: int) -> Predict:
    listed, extras = np.unique(log.actions), {"reward": log.rewards}

    def inputs(states: Array, bids: Array) -> tuple[Array, Array]:
        places = np.abs(bids[:, None] - listed).argmin(axis=1)
        return states.astype(np.float32), bids[:, None].astype(
            "f4"
        ) if any_bid else places

    seen = inputs(log.observations, log.actions)
    buffer = icac.ColumnarReplayBuffer.from_arrays(*seen, log.rewards, extras=extras)
    algo = trained(constraint_aware_q(**fields)(steps), buffer, seed=0, steps=steps)
    return lambda states, bids: algo.predict_value(*inputs(states, bids))


def _trees(name: str, words: Sequence[str], log: Log, steps: int) -> Predict:
    line = next(line[1:] for line in _LIBRARIES if line[0] == name)
    (module, made, trees, shape, *given), coded = line, "categories" in words

    def table(states: Array, bids: Array) -> Any:
        if not coded:
            return np.column_stack([states, bids])
        pandas = importlib.import_module("pandas")
        numbers, *parts = np.split(states, [FIRST_DEVICE, FIRST_CAMPAIGN], axis=1)
        codes = [pandas.Categorical(p.argmax(1), range(p.shape[1])) for p in parts]
        columns = [*codes, *numbers.T, bids]
        return pandas.DataFrame({f"x{i}": column for i, column in enumerate(columns)})

    seen = table(log.observations, log.actions)
    rising = [0] * (seen.shape[1] - 1) + [1]  # the bid is the last column
    options: dict[str, Any] = {shape: tuple(rising) if name == "xgboost" else rising}
    options[trees] = max(1, steps // 5)
    for key, _, text in (word.partition("=") for word in (*given, *words)):
        with contextlib.suppress(ValueError, SyntaxError):
            text = ast.literal_eval(text)
        options |= {key: text} if key != "categories" else {}
    if name == "catboost":
        options |= {"allow_writing_files": False, "cat_features": [0, 1] if coded else []}
    model = getattr(importlib.import_module(module), made)(**options)
    model.fit(seen, log.rewards)
    # Of two numbers the first is the mean, or the lower quantile.
    return lambda states, bids: np.c_[model.predict(table(states, bids))][:, 0]


def _lattice(kind: str, log: Log, steps: int) -> Predict:
    library, pandas = map(importlib.import_module, ("pytorch_lattice", "pandas"))
    names = ["x", "c", "bid"]
    table = lambda *parts: pandas.DataFrame(np.column_stack(parts), columns=names)  # noqa: E731
    model = library.Classifier(names, getattr(library.model_configs, kind)())
    model.configure("bid").num_keypoints(20).monotonicity("increasing")
    epochs, seen = max(1, steps * 256 // len(log)), table(log.observations, log.actions)
    torch.manual_seed(0)
    model.fit(seen, log.rewards.astype(np.float64), epochs, 256, 1e-2, True)
    return lambda states, bids: model.predict(table(states, bids))[:, 0]


def _lipschitz(log: Log, steps: int) -> Predict:
    """A network of bounded slope plus a line in the bid that is as steep."""
    library = importlib.import_module("monotonicnetworks")
    seen = np.column_stack([log.observations, log.actions])
    middle, scale, size = seen.mean(axis=0), seen.std(axis=0), seen.shape[1]
    layer = functools.partial(library.LipschitzLinear, lipschitz_const=2.0 ** (1 / 3))
    torch.manual_seed(0)
    core = torch.nn.Sequential(
        *(layer(size, 64, kind="one-inf"), library.GroupSort(32)),
        *(layer(64, 64, kind="inf"), library.GroupSort(32), layer(64, 1, kind="inf")),
    )
    model = library.MonotonicWrapper(core, 2.0, [0.0] * (size - 1) + [1.0])

    def ask(states: Array, bids: Array) -> torch.Tensor:
        inputs = (np.column_stack([states, bids]) - middle) / scale
        return model(torch.from_numpy(inputs.astype(np.float32)))[:, 0]

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    target = torch.from_numpy((log.rewards - log.rewards.mean()) / log.rewards.std())
    for rows in np.random.default_rng(0).integers(len(log), size=(steps, 256)):
        optimizer.zero_grad()
        found = ask(log.observations[rows], log.actions[rows])
        torch.nn.functional.mse_loss(found, target[rows].float()).backward()
        optimizer.step()
    return lambda states, bids: ask(states, bids).detach().numpy()
