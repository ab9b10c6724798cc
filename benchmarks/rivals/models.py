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
import numpy.typing as npt
import torch

import icac_algo as icac
from bidclick_gym import Auction
from bidclick_gym.logs import simulate_log

from ..learners import constraint_aware_q, trained
from ..realistic.worlds import FIRST_CAMPAIGN, FIRST_DEVICE, SecondPrice

FloatArray = npt.NDArray[np.float64]
#: From states ``(B, d)`` and bids ``(B,)`` to predictions ``(B,)``.
Predict = Callable[[FloatArray, FloatArray], npt.NDArray[Any]]

CLICKS, PAYMENTS = "clicks", "payments"
OURS, CONTROL = "ConstraintAwareQ", "monotonic_cst=None"
RISING, BOTH = "rising", "rising and concave"
ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Log:
    """What all learners of one table see; the mean of the target rises with the bid."""

    states: FloatArray  # (N, d)
    bids: FloatArray  # (N,)
    target: FloatArray  # (N,)
    listed: FloatArray  # bids that were logged, ascending, (K,)
    categories: tuple[int, ...] = ()  # sizes of the last states, which are codes

    @property
    def codes(self) -> range:
        """The columns of ``states`` that are codes."""
        return range(self.states.shape[1])[self.states.shape[1] - len(self.categories) :]

    def numbers(self, states: FloatArray) -> FloatArray:
        """Codes as indicators, for networks."""
        sizes = zip(self.codes, self.categories, strict=True)
        shown = [np.eye(size)[states[:, code].astype(np.int64)] for code, size in sizes]
        return np.column_stack([states[:, : self.codes.start], *shown])


@functools.lru_cache
def log_of(name: str) -> Log:
    """Clicks in BidClick-v0, or payments in a second-price auction with categories."""
    if name == CLICKS:
        log = simulate_log(Auction(), campaigns=ROWS // 1000, seed=0)
        states = log.observations[:, :-1].reshape(-1, 2).astype(np.float64)
        listed = np.asarray(log.bids, dtype=np.float64)
        clicks = log.clicks.ravel().astype(np.float64)
        return Log(states, listed[log.actions.ravel()], clicks, listed)
    found = SecondPrice().log(ROWS, seed=0)
    ends = [FIRST_DEVICE, FIRST_CAMPAIGN]
    numbers, device, campaign = np.split(found.observations, ends, axis=1)
    states = np.column_stack([numbers, device.argmax(1), campaign.argmax(1)])
    listed, sizes = SecondPrice.actions, (device.shape[1], campaign.shape[1])
    return Log(states, found.actions, found.outcomes["paid"], listed, sizes)


@dataclasses.dataclass(frozen=True)
class Learner:
    """One row of the table: a library with settings, trained on a log."""

    name: str  # the library as it is installed, ``OURS`` for ours
    settings: str
    log: str
    #: From the log and gradient steps; trees are a fifth of these.
    fit: Callable[[Log, int], Predict]
    shape: str = RISING
    listed: bool = False  # whether it knows the logged bids only

    @property
    def version(self) -> str:
        """Of the library; empty if it is not installed."""
        try:
            return importlib.metadata.version(
                "bidclick-icac" if self.name == OURS else self.name
            )
        except importlib.metadata.PackageNotFoundError:
            return "checkout" if self.name == OURS else ""


def learners() -> list[Learner]:
    """All of them, ours first."""
    return [*_ours(), *_trees(), *_networks()]


def _ours() -> Iterator[Learner]:
    for log, any_bid in itertools.product((CLICKS, PAYMENTS), (False, True)):
        bids = log_of(log).listed.tolist()
        bids = [bids[0], bids[-1]] if any_bid else bids
        shapes = {RISING: icac.Monotone(actions=bids)}
        kinds = [icac.Functional()]
        fields: list[tuple[str, str, dict[str, Any]]] = []
        if log == CLICKS:  # they rise ever less
            shapes[BOTH] = icac.MonotoneConcave(actions=bids)
            kinds += [] if any_bid else [icac.Canonical(), icac.Euclidean()]
            parts = [icac.Outcome("target", shapes[BOTH], link="logit")]
            fields = [(RISING, "Outcome", {"outcomes": parts, "reward_scaler": None})]
        for (said, shape), kind in itertools.product(shapes.items(), kinds):
            fields.append(
                (said, type(kind).__name__, {"constraint": shape, "critic": kind})
            )
        for said, words, made in fields:
            words = f"{words}, {'any bid' if any_bid else 'listed bids'}"
            fit = functools.partial(_our_fit, made, any_bid)
            yield Learner(OURS, words, log, fit, said, not any_bid)


def _our_fit(fields: dict[str, Any], any_bid: bool, log: Log, steps: int) -> Predict:
    def actions(bids: FloatArray) -> npt.NDArray[Any]:
        if any_bid:
            return bids[:, None].astype(np.float32)
        return np.abs(bids[:, None] - log.listed).argmin(axis=1)

    def states(found: FloatArray) -> npt.NDArray[np.float32]:
        return log.numbers(found).astype(np.float32)

    buffer = icac.ColumnarReplayBuffer.from_arrays(
        states(log.states), actions(log.bids), log.target, extras={"target": log.target}
    )
    algo = trained(constraint_aware_q(**fields)(steps), buffer, seed=0, steps=steps)
    return lambda found, bids: algo.predict_value(states(found), actions(bids))


#: Name, class, arguments for trees and for the shape, and what else it is given.
_LIBRARIES = """
scikit-learn sklearn.ensemble.HistGradientBoostingRegressor max_iter monotonic_cst
lightgbm lightgbm.LGBMRegressor n_estimators monotone_constraints n_jobs=1 verbose=-1
xgboost xgboost.XGBRegressor n_estimators monotone_constraints n_jobs=1
catboost catboost.CatBoostRegressor iterations monotone_constraints silent=True
"""
#: Each with every choice of a slash; a star learns from both logs; with ``categories``
#: codes are given as such.
_SETTINGS = """
scikit-learn * early_stopping=False
scikit-learn early_stopping=False categories
scikit-learn loss=absolute_error
scikit-learn loss=quantile quantile=0.8
scikit-learn monotonic_cst=None
lightgbm * monotone_constraints_method=basic/intermediate/advanced
lightgbm monotone_constraints_method=basic/intermediate/advanced categories
lightgbm monotone_constraints_method=advanced colsample_bytree=0.8
lightgbm monotone_constraints_method=advanced monotone_penalty=2.0
lightgbm linear_tree=True
xgboost * tree_method=hist/approx/exact
xgboost tree_method=hist/approx enable_categorical=True categories
xgboost tree_method=hist/approx/exact objective=reg:absoluteerror
xgboost tree_method=hist/approx/exact objective=reg:quantileerror quantile_alpha=0.8
catboost *
catboost categories
catboost max_ctr_complexity=1 categories
catboost first_feature_use_penalties={9:1.0}
catboost per_object_feature_penalties={9:0.1}
catboost loss_function=MAE/RMSEWithUncertainty/MultiQuantile:alpha=0.2,0.8
"""


def _trees() -> Iterator[Learner]:
    for log, line in itertools.product((CLICKS, PAYMENTS), _SETTINGS.split("\n")[1:-1]):
        name, *words = line.split()
        if log == CLICKS and "*" not in words:
            continue
        split = [word.partition("=") for word in words if word != "*"]
        several = [
            [key + is_ + one for one in rest.split("/")] for key, is_, rest in split
        ]
        for chosen in itertools.product(*several):
            fit = functools.partial(_tree_fit, name, chosen)
            yield Learner(name, " ".join(chosen), log, fit)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _tree_fit(name: str, words: Sequence[str], log: Log, steps: int) -> Predict:
    lines = {line.split()[0]: line.split()[1:] for line in _LIBRARIES.split("\n")[1:-1]}
    path, trees, shape, *given = lines[name]
    rising = [*([0] * log.states.shape[1]), 1]
    options: dict[str, Any] = {shape: tuple(rising) if name == "xgboost" else rising}
    pairs = [word.split("=", 1) for word in (*given, *words) if "=" in word]
    options |= {trees: max(1, steps // 5), **{key: _value(text) for key, text in pairs}}
    if name == "catboost":
        codes = list(log.codes) if "categories" in words else None
        options |= {"allow_writing_files": False, "cat_features": codes}

    def table(states: FloatArray, bids: FloatArray) -> Any:
        numbers = np.column_stack([states, bids])
        if "categories" not in words:
            return numbers
        pandas = importlib.import_module("pandas")
        frame = pandas.DataFrame(numbers)
        for code, size in zip(log.codes, log.categories, strict=True):
            kind = pandas.CategoricalDtype(range(size))
            frame[code] = frame[code].astype(int).astype(kind)
        return frame

    module, _, made = path.rpartition(".")
    model = getattr(importlib.import_module(module), made)(**options)
    model.fit(table(log.states, log.bids), log.target)

    def predict(states: FloatArray, bids: FloatArray) -> npt.NDArray[Any]:
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
    pandas = importlib.import_module("pandas")
    names = [*(f"x{i}" for i in range(log.states.shape[1])), "bid"]
    model = library.Classifier(names, getattr(library.model_configs, kind)())
    model.configure("bid").num_keypoints(20).monotonicity("increasing")

    def table(states: FloatArray, bids: FloatArray) -> Any:
        return pandas.DataFrame(np.column_stack([states, bids]), columns=names)

    torch.manual_seed(0)
    epochs = max(1, steps * 256 // len(log.bids))
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        model.fit(table(log.states, log.bids), log.target, epochs, 256, 1e-2, True)
    return lambda states, bids: model.predict(table(states, bids))[:, 0]


def _lipschitz(log: Log, steps: int) -> Predict:
    """A network of bounded slope plus a line in the bid that is as steep."""
    library = importlib.import_module("monotonicnetworks")
    inputs = np.column_stack([log.numbers(log.states), log.bids])
    middle, scale = inputs.mean(axis=0), inputs.std(axis=0)
    width, size, steep = 64, inputs.shape[1], 2.0
    layer = functools.partial(library.LipschitzLinear, lipschitz_const=steep ** (1 / 3))
    torch.manual_seed(0)
    core = torch.nn.Sequential(
        *(layer(size, width, kind="one-inf"), library.GroupSort(width // 2)),
        *(layer(width, width, kind="inf"), library.GroupSort(width // 2)),
        layer(width, 1, kind="inf"),
    )
    model = library.MonotonicWrapper(core, steep, [0.0] * (size - 1) + [1.0])

    def scaled(states: FloatArray, bids: FloatArray) -> torch.Tensor:
        found = np.column_stack([log.numbers(states), bids])
        return torch.from_numpy(((found - middle) / scale).astype(np.float32))

    x, y = scaled(log.states, log.bids), torch.from_numpy(log.target).float()[:, None]
    optimizer, y = torch.optim.Adam(model.parameters(), lr=3e-3), (y - y.mean()) / y.std()
    for _ in range(steps):
        rows = torch.randint(len(x), (256,))
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return lambda states, bids: model(scaled(states, bids)).detach().numpy()[:, 0]
