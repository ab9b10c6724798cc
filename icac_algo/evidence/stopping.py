"""When to stop training, and with which settings to train, from the log alone."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import ReplayBufferBase
from tqdm.auto import tqdm

from .._util.checks import check_count, check_number, check_seed, check_type
from .._util.random_numbers import own_random_numbers
from ..data import ColumnarReplayBuffer, fingerprint
from .held_out import Answers, HeldOut
from .journal import Journal

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Make = Callable[[], Any]

# A log of this many transitions is split once: what is held out says enough.
_MANY = 20_000
_FOLDS, _SHARE = 3, 0.2
# Judged by that many transitions of each fold.
_JUDGED = 20_000
# Networks that have hardly been trained can be right by chance alone: a search looks at
# none before an eighth of its steps, which is this many looks from the last.
_LOOKS = 7


@dataclasses.dataclass(frozen=True, eq=False)
class Stopping:
    """Held-out losses of C settings at T step counts on E episodes, and the choice.

    Args:
        names: of the settings, as they were listed.
        steps: at which trainings were looked at, ``(T,)``.
        losses: summed over each episode's steps, ``(C, T, E)``; in units of the rewards'
            spread, as :mod:`icac_algo.evidence.held_out` says.
        lengths: transitions of each episode, ``(E,)``.
        share: of all transitions, those that were trained on.
        dropped: settings that the first of several folds showed to be worse.
    """

    names: tuple[str, ...]
    steps: IntArray
    losses: FloatArray
    lengths: IntArray
    share: float = 1.0
    dropped: tuple[str, ...] = ()

    @property
    def means(self) -> FloatArray:
        """Mean loss over all transitions, ``(C, T)``."""
        return np.asarray(self.losses.sum(axis=2) / self.lengths.sum())

    @property
    def standard_errors(self) -> FloatArray:
        """Of the differences from the lowest mean, paired over episodes, ``(C, T)``."""
        c, t = self._lowest
        gaps = self.losses - self.losses[c, t]
        rate = gaps.sum(axis=2, keepdims=True) / self.lengths.sum()
        spread = (gaps - rate * self.lengths).std(axis=2)
        return np.asarray(np.sqrt(len(self.lengths)) * spread / self.lengths.sum())

    @property
    def _lowest(self) -> tuple[int, int]:
        c, t = np.unravel_index(int(self.means.argmin()), self.means.shape)
        return int(c), int(t)

    @property
    def near(self) -> tuple[str, ...]:
        """Settings whose lowest mean is within two standard errors of the lowest."""
        at = np.arange(len(self.names)), self.means.argmin(axis=1)
        near = self.means[at] - self.means.min() <= 2.0 * self.standard_errors[at]
        return tuple(np.array(self.names)[near].tolist())

    @property
    def name(self) -> str:
        """The setting of the lowest mean loss."""
        return self.names[self._lowest[0]]

    @property
    def n_steps(self) -> int:
        """How many steps to train it on all transitions: as many passes as were best."""
        return round(float(self.steps[self._lowest[1]]) / self.share)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes it as an ``.npz`` file of numbers and texts; losses as float32."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["losses"] = self.losses.astype(np.float32)
        np.savez_compressed(os.fspath(file), **fields)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Stopping:
        """From a file of :meth:`save`; nothing in it is executed.

        Raises:
            ValueError: it is none.
        """
        try:
            with np.load(file, allow_pickle=False) as opened:
                found = {f.name: opened[f.name] for f in dataclasses.fields(cls)}
            names, dropped = (tuple(found.pop(n).tolist()) for n in ("names", "dropped"))
            share, losses = float(found.pop("share")), found.pop("losses")
            return cls(
                names=names,
                dropped=dropped,
                share=share,
                losses=losses.astype(np.float64),
                **found,
            )
        except Exception as error:
            raise ValueError(f"{file} holds no held-out losses: {error!r}") from error

    def __str__(self) -> str:
        chosen = f"{self.n_steps:,} steps on all transitions, {self.name}"
        dropped = f"  Dropped: {', '.join(self.dropped)}." if self.dropped else ""
        return f"Chosen: {chosen}.{dropped}\n\n{self.table()}"

    def table(self) -> str:
        """A Markdown table: means, and standard errors of their gaps from the lowest."""
        means, errors = self.means, self.standard_errors
        lines = [
            f"| steps | {' | '.join(self.names)} |",
            f"| ---: |{' --- |' * len(self.names)}",
        ]
        for t, step in enumerate(self.steps.tolist()):
            cells = [
                f"{means[c, t]:.5f} (+{means[c, t] - means.min():.2g} ± "
                f"{errors[c, t]:.2g})"
                for c in range(len(self.names))
            ]
            lines.append(f"| {step:,} | {' | '.join(cells)} |")
        return "\n".join(lines)


def default_most(transitions: int) -> int:
    """The most steps to choose: 5,000 for 4,000 transitions, 18,100 for 100,000."""
    return 100 * max(1, round(50.0 * (transitions / 4000.0) ** 0.4))


def trained_share(
    transitions: int, validation: float | ReplayBufferBase | None = None
) -> float:
    """About what share of a log each training of :func:`choose_n_steps` sees."""
    if isinstance(validation, ReplayBufferBase):
        return 1.0
    if validation is None:
        validation = _SHARE if transitions >= _MANY else 1.0 / _FOLDS
    check_number("validation", validation, above=0.0, below=1.0)
    return 1.0 - validation


def choose_n_steps(
    dataset: ReplayBufferBase,
    make: Make | Mapping[str, Make],
    most: int | None = None,
    validation: float | ReplayBufferBase | None = None,
    *,
    seed: int = 0,
    show_progress: bool = True,
    journal: str | os.PathLike[str] | None = None,
) -> Stopping:
    """Chooses a step count, and one of several settings, by held-out losses.

    .. code-block:: python

        make = d3rlpy.algos.DiscreteCQLConfig().create
        n_steps = choose_n_steps(dataset, make).n_steps
        cql = make()
        cql.fit(dataset, n_steps=n_steps)

    Episodes are held out as wholes: a third of them, three times, or a fifth, once, of
    at least 20,000 transitions.  Each setting is trained on the others, and looked at
    after an eighth of the steps and whenever there are 1.4 times as many.  The loss is
    that of :mod:`icac_algo.evidence.held_out`; common in it, of each fold, is the mean of
    all settings and looks (of what follows, of the second half of looks).  A setting
    whose lowest mean on the first fold is two standard errors above another's is trained
    on no other.  Chosen is the lowest mean, and of all transitions as many passes as it
    had of those outside a fold.

    Args:
        dataset: a replay buffer.
        make: a function that makes a new d3rlpy algorithm with values, or several by
            name.
        most: the most steps to choose; by default 5,000 for 4,000 transitions, which
            grows with their number to the power 0.4.
        validation: a share of the episodes to hold out once, or a buffer to judge by.
        seed: of the folds and of every training.
        show_progress: whether to show a bar.
        journal: a file that keeps what is finished; the same call goes on from there.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: one is out of bounds, there are too few episodes, or the journal is of
            another search.
    """
    check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    makers = dict(make) if isinstance(make, Mapping) else {"as given": make}
    if not makers or not all(callable(one) for one in makers.values()):
        raise TypeError(f"make must be a function, or several by name, got {make!r}")
    log = _columns(dataset)
    most = default_most(log.transition_count) if most is None else most
    check_count("most", most)
    check_seed(seed)
    pairs = _pairs(log, validation, seed)
    samples = {name: one() for name, one in makers.items()}
    kept = Journal(journal, _identity(samples, log, validation, most, seed))
    gamma = _gamma(samples, pairs)
    trained_on = sum(training.transition_count for training, _ in pairs)
    share = trained_on / len(pairs) / log.transition_count
    at = looks(max(1, math.floor(share * most)))
    left, lengths = list(makers), []
    losses: dict[str, list[FloatArray]] = {name: [] for name in makers}
    total = len(makers) * len(pairs) * at[-1]
    with tqdm(total=total, disable=not show_progress, desc="Stopping") as bar:
        for number, (training, judged) in enumerate(pairs):
            answers = {}
            for name in left:
                bar.set_postfix({"fold": f"{number + 1}/{len(pairs)}", "setting": name})
                key = f"{number}/{name}"
                if key in kept:
                    bar.update(at[-1])
                else:
                    trained = _train(makers[name], training, judged, at, seed, bar)
                    kept.keep(key, trained)
                answers[name] = kept[key]
            each = _losses(answers, judged, gamma)
            for name, of_setting in zip(left, each, strict=True):
                losses[name].append(of_setting)
            lengths.append(judged.per_episode(np.ones(len(judged))))
            found = Stopping(
                tuple(left),
                np.array(at),
                np.stack([np.concatenate(losses[name], axis=1) for name in left]),
                np.concatenate(lengths).astype(np.int64),
                share,
                tuple(name for name in makers if name not in left),
            )
            if number == 0 and len(pairs) > 1:
                left = list(found.near)
                bar.total = (len(makers) + len(left) * (len(pairs) - 1)) * at[-1]
    return found


def looks(most: int) -> list[int]:
    """Steps at which a training is looked at, from an eighth on by the root of 2."""
    return sorted({max(1, round(most * 2.0 ** (-k / 2.0))) for k in range(_LOOKS)})


def _columns(dataset: ReplayBufferBase) -> ColumnarReplayBuffer:
    if isinstance(dataset, ColumnarReplayBuffer):
        return dataset
    return ColumnarReplayBuffer.from_replay_buffer(dataset)


def _pairs(
    log: ColumnarReplayBuffer, validation: Any, seed: int
) -> list[tuple[ColumnarReplayBuffer, HeldOut]]:
    """What is trained on, and what is judged by, of each fold."""
    if isinstance(validation, ReplayBufferBase):
        return [(log, _judged(_columns(validation), seed))]
    count, rng = log.columns.index.episodes, np.random.default_rng(seed)
    order, share = rng.permutation(count), validation
    if share is not None:
        check_number("validation", share, above=0.0, below=1.0)
    elif log.transition_count >= _MANY:
        share = _SHARE
    parts = np.array_split(order, _FOLDS)
    if share is not None:
        parts = [order[: round(share * count)]]
    if not all(0 < len(part) < count for part in parts):
        raise ValueError(
            f"dataset must have episodes to hold out and to train on, has {count}; "
            "validation may be a buffer of its own"
        )
    return [
        (
            log.replace(episodes=np.setdiff1d(order, part)),
            _judged(log.replace(episodes=np.sort(part)), seed),
        )
        for part in parts
    ]


def _judged(log: ColumnarReplayBuffer, seed: int) -> HeldOut:
    if not log.transition_count:
        raise ValueError("validation must hold transitions, has none")
    share = _JUDGED / log.transition_count
    return HeldOut(log if share >= 1.0 else log.split(share, seed)[0])


def _train(
    make: Make,
    training: ColumnarReplayBuffer,
    judged: HeldOut,
    at: list[int],
    seed: int,
    bar: Any,
) -> FloatArray:
    """What one training says of the judged transitions at each look, ``(T, 3, N)``."""
    found: list[FloatArray] = []

    def look(model: Any, epoch: int, step: int) -> None:
        bar.update(1)
        if step in at:
            found.append(np.stack(dataclasses.astuple(judged.answers(model))))

    with own_random_numbers(seed):
        make().fit(
            # Each sees the same batches.
            training.replace(seed=seed),
            n_steps=at[-1],
            n_steps_per_epoch=at[-1],
            callback=look,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
    return np.stack(found)


class HeldOutCallback:
    """Looks at a training that goes on, by transitions that it does not learn from.

    .. code-block:: python

        training, validation = dataset.split(0.8)
        watch = HeldOutCallback(validation)
        cql.fit(training, n_steps=5_000, callback=watch)
        print(watch.stopping)

    It is a ``callback`` of d3rlpy's ``fit`` and sees steps 100, 141, 200, ...; as an
    ``epoch_callback`` it sees the end of every epoch.

    Args:
        validation: a replay buffer.
        every_call: whether each call counts, as for an ``epoch_callback``.
        seed: of the transitions, where there are more than 20,000.
    """

    def __init__(
        self, validation: ReplayBufferBase, every_call: bool = False, seed: int = 0
    ):
        check_type("validation", validation, ReplayBufferBase, "be a replay buffer")
        self._judged = _judged(_columns(validation), seed)
        self._every_call, self._gamma = every_call, 0.0
        self._found: dict[int, FloatArray] = {}

    def __call__(self, algo: Any, epoch: int, step: int) -> None:
        power = round(2.0 * math.log2(max(step, 1) / 100.0))
        is_look = power >= 0 and step == round(100.0 * 2.0 ** (power / 2.0))
        if self._every_call or is_look:
            answers = self._judged.answers(algo)
            self._found[step] = np.stack(dataclasses.astuple(answers))
            self._gamma = float(algo.gamma)

    @property
    def stopping(self) -> Stopping:
        """What was seen so far.

        Raises:
            ValueError: nothing was.
        """
        if not self._found:
            raise ValueError("the callback has not seen a training of 100 steps yet")
        answers = {"as given": np.stack([*self._found.values()])}
        return Stopping(
            ("as given",),
            np.array([*self._found]),
            _losses(answers, self._judged, self._gamma),
            self._judged.per_episode(np.ones(len(self._judged))).astype(np.int64),
        )


def _gamma(samples: Mapping[str, Any], pairs: list[tuple[Any, HeldOut]]) -> float:
    """The discount of all settings; 0 where nothing follows any step."""
    if all(judged.is_one_step for _, judged in pairs):
        return 0.0
    gammas = {float(one.gamma) for one in samples.values()}
    if len(gammas) > 1:
        raise ValueError(f"make must give algorithms of one discount, got {gammas}")
    return gammas.pop()


def _losses(
    answers: Mapping[str, FloatArray], judged: HeldOut, gamma: float
) -> FloatArray:
    """Sums over each judged episode, ``(C, T, E)``."""
    every = np.stack([*answers.values()])
    baselines = every[:, :, 1].mean(axis=(0, 1))
    # Networks that have hardly been trained do not know what follows.
    following = every[:, every.shape[1] // 2 :, 2].mean(axis=(0, 1))
    return np.array(
        [
            [
                judged.per_episode(
                    judged.losses(Answers(*look), gamma, baselines, following)
                )
                for look in looks_of_one
            ]
            for looks_of_one in every
        ]
    )


def _identity(
    samples: Mapping[str, Any], log: Any, validation: Any, most: int, seed: int
) -> str:
    """What makes two searches the same one."""
    made = {name: str(getattr(one, "config", "")) for name, one in samples.items()}
    if isinstance(validation, ReplayBufferBase):
        validation = fingerprint(validation)
    return json.dumps([made, fingerprint(log), validation, most, seed])
