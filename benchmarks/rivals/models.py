"""What can be told that a response rises: ours and others', each trained on one log."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.metadata
import io
import itertools
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
#: Of the states of payments, the columns that are indicators of a category.
CATEGORIES = (slice(FIRST_DEVICE, FIRST_CAMPAIGN), slice(FIRST_CAMPAIGN, None))


@functools.lru_cache
def log_of(name: str) -> Log:
    """20,000 rows whose mean reward rises with the bid.

    Clicks in BidClick-v0, or what is paid in a second-price auction with categories.
    """
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
        """Of the library; empty if it is not installed."""
        try:
            package = "bidclick-icac" if self.name == OURS else self.name
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "of this checkout" if self.name == OURS else ""


def learners() -> list[Learner]:
    """All of them, ours first."""
    return [*_ours(), *_trees(), *_networks()]


def _ours() -> Iterator[Learner]:
    for log, any_bid in itertools.product((CLICKS, PAYMENTS), (False, True)):
        bids = np.unique(log_of(log).actions).tolist()
        bids = [bids[0], bids[-1]] if any_bid else bids
        shapes = {RISING: icac.Monotone(actions=bids)}
        if log == CLICKS:  # which rise ever less
            shapes[BOTH] = icac.MonotoneConcave(actions=bids)
        critics = ("Functional",) if any_bid else ("Functional", "Canonical", "Euclidean")
        fields: dict[tuple[str, str], dict[str, Any]] = {
            (said, critic): {"constraint": shape, "critic": getattr(icac, critic)()}
            for (said, shape), critic in itertools.product(shapes.items(), critics)
        }
        link: Any = "logit" if log == CLICKS else "log"
        parts = [icac.Outcome("reward", list(shapes.values())[-1], link=link)]
        fields[RISING, "Outcome"] = {"outcomes": parts, "reward_scaler": None}
        for (said, words), given in fields.items():
            words += ", any bid" if any_bid else ", listed bids"
            fit = functools.partial(_our_fit, given, any_bid)
            yield Learner(OURS, words, log, fit, said, not any_bid)


def _our_fit(fields: dict[str, Any], any_bid: bool, log: Log, steps: int) -> Predict:
    listed = np.unique(log.actions)

    def inputs(states: Array, bids: Array) -> tuple[Array, Array]:
        places = np.abs(bids[:, None] - listed).argmin(axis=1)
        shown = bids[:, None].astype(np.float32) if any_bid else places
        return states.astype(np.float32), shown

    buffer = icac.ColumnarReplayBuffer.from_arrays(
        *inputs(log.observations, log.actions),
        log.rewards,
        extras={"reward": log.rewards},
    )
    algo = trained(constraint_aware_q(**fields)(steps), buffer, seed=0, steps=steps)
    return lambda states, bids: algo.predict_value(*inputs(states, bids))


#: Name, class, arguments for trees and for the shape, and what else it is given.
_LIBRARIES = """
scikit-learn sklearn.ensemble.HistGradientBoostingRegressor max_iter monotonic_cst
lightgbm lightgbm.LGBMRegressor n_estimators monotone_constraints n_jobs=1 verbose=-1
xgboost xgboost.XGBRegressor n_estimators monotone_constraints n_jobs=1
catboost catboost.CatBoostRegressor iterations monotone_constraints silent=True
"""
#: With every choice of a slash; a star learns from both logs; ``categories`` as such.
_SETTINGS = """
scikit-learn * early_stopping=False
scikit-learn early_stopping=False categories
scikit-learn loss=absolute_error
scikit-learn loss=quantile quantile=0.8
scikit-learn monotonic_cst=None
lightgbm * monotone_constraints_method=basic/intermediate/advanced
lightgbm monotone_constraints_method=basic/intermediate/advanced categories
lightgbm monotone_constraints_method=advanced monotone_penalty=2.0
lightgbm linear_tree=True
xgboost * tree_method=hist/approx/exact
xgboost tree_method=hist/approx enable_categorical=True categories
xgboost tree_method=hist/approx/exact objective=reg:absoluteerror
xgboost tree_method=hist/approx/exact objective=reg:quantileerror quantile_alpha=0.8
catboost *
catboost categories
catboost max_ctr_complexity=1 categories
catboost first_feature_use_penalties={50:1.0}
catboost per_object_feature_penalties={50:0.1}
catboost loss_function=MAE/RMSEWithUncertainty/MultiQuantile:alpha=0.2,0.8
"""


def _trees() -> Iterator[Learner]:
    for log, line in itertools.product((CLICKS, PAYMENTS), _SETTINGS.split("\n")[1:-1]):
        name, *words = line.split()
        if log == PAYMENTS or "*" in words:
            parts = [word.partition("=") for word in words if word != "*"]
            several = [
                [key + sign + v for v in rest.split("/")] for key, sign, rest in parts
            ]
            for chosen in itertools.product(*several):
                fit = functools.partial(_tree_fit, name, chosen)
                yield Learner(name, " ".join(chosen), log, fit)


def _tree_fit(name: str, words: Sequence[str], log: Log, steps: int) -> Predict:
    lines = {line.split()[0]: line.split()[1:] for line in _LIBRARIES.split("\n")[1:-1]}
    path, trees, shape, *given = lines[name]
    coded = "categories" in words

    def table(states: Array, bids: Array) -> Any:
        if not coded:
            return np.column_stack([states, bids])
        pandas = importlib.import_module("pandas")
        frame = pandas.DataFrame(np.column_stack([states[:, :FIRST_DEVICE], bids]))
        frame.columns = frame.columns.astype(str)
        for place, columns in enumerate(CATEGORIES):
            codes, size = states[:, columns].argmax(1), states[:, columns].shape[1]
            kind = pandas.CategoricalDtype(range(size))
            frame.insert(0, f"category {place}", pandas.Series(codes, dtype=kind))
        return frame

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
    module, _, made = path.rpartition(".")
    model = getattr(importlib.import_module(module), made)(**options)
    model.fit(seen, log.rewards)

    def predict(states: Array, bids: Array) -> Array:
        found = np.asarray(model.predict(table(states, bids)))
        return found[:, 0] if found.ndim > 1 else found  # the mean, or a quantile

    return predict


def _networks() -> Iterator[Learner]:
    for kind in ("LinearConfig", "LatticeConfig"):
        yield Learner("pytorch-lattice", kind, CLICKS, functools.partial(_lattice, kind))
    for log in (CLICKS, PAYMENTS):
        yield Learner("monotonicnetworks", "MonotonicWrapper", log, _lipschitz)


def _lattice(kind: str, log: Log, steps: int) -> Predict:
    library = importlib.import_module("pytorch_lattice")
    frame = importlib.import_module("pandas").DataFrame
    table = lambda *parts: frame(np.column_stack(parts), columns=["x", "c", "bid"])  # noqa: E731
    model = library.Classifier(["x", "c", "bid"], getattr(library.model_configs, kind)())
    model.configure("bid").num_keypoints(20).monotonicity("increasing")
    epochs, seen = max(1, steps * 256 // len(log)), table(log.observations, log.actions)
    torch.manual_seed(0)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
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

    rng, y = (
        np.random.default_rng(0),
        (log.rewards - log.rewards.mean()) / log.rewards.std(),
    )
    optimizer, target = (
        torch.optim.Adam(model.parameters(), 3e-3),
        torch.from_numpy(y).float(),
    )
    for _ in range(steps):
        rows = rng.integers(len(log), size=256)
        optimizer.zero_grad()
        found = ask(log.observations[rows], log.actions[rows])
        torch.nn.functional.mse_loss(found, target[rows]).backward()
        optimizer.step()
    return lambda states, bids: ask(states, bids).detach().numpy()
