"""From a log to a policy: check, train, compare, say what came of it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import d3rlpy
import numpy as np

from ..algos import ConstraintAwareQ, ConstraintAwareQConfig
from ..data import fingerprint, logged_steps
from ..evidence import (
    Comparison,
    PriorCheck,
    Stopping,
    SupportWarning,
    check_outcomes,
    check_prior,
    choose_n_steps,
    compare,
    default_most,
    trained_share,
)
from ..shapes import Unconstrained
from .log import Log, Part
from .policy import Policy
from .rivals import TREES, Greedy, Rule, estimated_propensities, rivals
from .spec import Spec

#: Rows that shapes are checked on and policies judged by, at most.
CHECKED_ROWS, JUDGED_ROWS = 50_000, 50_000
#: Steps that are tried at most, of logs that are judged by folds and of larger ones: a
#: search then takes two minutes or three.
MOST_STEPS = (4_000, 8_000)
_LARGE = 20_000
#: Steps after which a training that is interrupted goes on.
EPOCH = 1000
OURS = "learned"


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned from a log, and what its held-out part says of it.

    Args:
        log: what it was learned from.
        shape: the words of the shape that was taken; empty with outcomes.
        checks: of each stated shape, by its words, or of each outcome, by its column;
            ``None`` where nothing could be tested.
        policy: what was learned.
        stopping: how the steps were found; ``None`` where they were given.
        rivals: what a practitioner would use instead, by name.
        comparison: of all on the held-out part.
    """

    log: Log
    shape: str
    checks: dict[str, PriorCheck | None]
    policy: Policy
    stopping: Stopping | None
    rivals: dict[str, Rule]
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """One sentence."""
        ours = self.comparison[OURS]
        unit = " per decision"
        rejected = [n for n, c in self.checks.items() if c is not None and c.rejected]
        false = ""
        if rejected:
            false = f" The log contradicts what was stated of {', '.join(rejected)}."
        best = max(
            (one for one in self.comparison.policies if one.name in self.rivals),
            key=lambda one: np.nan_to_num(one.estimate.value, nan=-np.inf),
        )
        gap, interval = self.comparison.difference(best.name, OURS)
        if interval.lower > 0.0 and best.better:
            name = "the tree" if best.name == TREES else f"the {best.name}"
            return (
                f"Use {name}: better than what was learned by {gap:.4g} "
                f"[{interval.lower:.4g}, {interval.upper:.4g}]{unit}.{false}"
            )
        if ours.better:
            return (
                f"Better than the logger by {ours.lift:.4g} [{ours.lift_lower:.4g}, "
                f"{ours.lift_upper:.4g}]{unit}.{false}"
            )
        if ours.lift_upper < 0.0:
            return (
                f"Worse than the logger by {-ours.lift:.4g} [{-ours.lift_upper:.4g}, "
                f"{-ours.lift_lower:.4g}]{unit}: keep the logger.{false}"
            )
        if ours.bounds is not None and ours.bounds.safe:
            return (
                "No worse than the logger, as the shape proves: better by at least "
                f"{ours.least_lift:.4g}{unit}.{false}"
            )
        why = "; ".join(ours.problems) or (
            f"the difference to the logger is {ours.lift:.4g} [{ours.lift_lower:.4g}, "
            f"{ours.lift_upper:.4g}]{unit}"
        )
        return f"Cannot tell: {why}.{false}"


def learn(
    spec: Spec,
    work: pathlib.Path | None = None,
    say: Callable[[str], None] = lambda words: None,
    show_progress: bool = True,
) -> Learned:
    """All of it.

    Args:
        spec: the log and what is known of it.
        work: a folder that keeps trainings that are finished, to go on from.
        say: told what is being done.
        show_progress: whether to show bars.

    Raises:
        ValueError: the log cannot be learned from.
    """
    say("reading the log")
    log = Log.read(spec)
    for word, what in log.describe():
        say(f"  {word}: {what}")
    checks = _checked(log, say, show_progress)
    say("training")
    policy, shape, stopping = train(log, work, show_progress)
    if stopping is not None:
        say(f"  {stopping.name}: {stopping.n_steps:,} steps")
    return _judged(log, shape, checks, policy, stopping, say, show_progress)


def assess(
    spec: Spec,
    policy: Policy,
    stopping: Stopping | None = None,
    say: Callable[[str], None] = lambda words: None,
    show_progress: bool = True,
) -> Learned:
    """The same of a policy that is there already, on its log."""
    say("reading the log")
    log = Log.read(spec, policy.preparation)
    checks = _checked(log, say, show_progress)
    return _judged(log, "", checks, policy, stopping, say, show_progress)


def _checked(
    log: Log, say: Callable[[str], None], show_progress: bool
) -> dict[str, PriorCheck | None]:
    say("checking what is stated")
    checks = check(log, show_progress)
    for name, found in checks.items():
        say(f"  {name}: {found.verdict if found is not None else 'nothing to test'}")
    return checks


def _judged(
    log: Log,
    shape: str,
    checks: dict[str, PriorCheck | None],
    policy: Policy,
    stopping: Stopping | None,
    say: Callable[[str], None],
    show_progress: bool,
) -> Learned:
    say("fitting rivals")
    others = rivals(log.training, log.spec.seed)
    say("judging by the held-out part")
    asked: dict[str, Rule] = {OURS: policy, **others}
    prior = _known(log, shape, checks)
    found = judge(log, asked, show_progress, prior)
    return Learned(log, shape, checks, policy, stopping, others, found)


def check(log: Log, show_progress: bool = True) -> dict[str, PriorCheck | None]:
    """Each stated shape against the part to learn from."""
    spec = log.spec
    part = log.training.some(CHECKED_ROWS, spec.seed)
    steps, positions = part.steps(), part.space.positions
    options: dict[str, Any] = {
        "feature_names": log.preparation.features,
        "seed": spec.seed,
        "show_progress": show_progress,
    }
    if spec.outcomes:
        stated = spec.stated_outcomes(log.preparation, positions)
        return check_outcomes(steps, stated, actions=positions, **options)
    return {
        words: None
        if isinstance(shape, Unconstrained)
        else check_prior(steps, shape, **options)
        for words, shape in spec.shapes(positions).items()
    }


def train(
    log: Log, work: pathlib.Path | None = None, show_progress: bool = True
) -> tuple[Policy, str, Stopping | None]:
    """The policy, the words of its shape, and how its steps were found."""
    spec, dataset = log.spec, log.training.dataset()
    positions = log.training.space.positions
    priors: dict[str, dict[str, Any]] = {}
    if spec.outcomes:
        stated = spec.stated_outcomes(log.preparation, positions)
        priors[""] = {"outcomes": stated}
    else:
        for words, shape in spec.shapes(positions).items():
            priors[words] = {"constraint": shape}

    def make(prior: dict[str, Any], fields: dict[str, Any]) -> ConstraintAwareQ:
        return ConstraintAwareQConfig(gamma=0.0, **prior, **fields).create(device="cpu")

    share = trained_share(dataset.transition_count)
    tried, kept = {}, {}
    for words, prior in priors.items():
        sample = make(prior, {})
        partly = sample.open_settings(dataset, share)
        for name, fields in sample.open_settings(dataset).items():
            title = f"{words}, {name}" if words else name
            tried[title] = functools.partial(make, prior, partly[name])
            kept[title] = (words, fields)
    title, stopping, steps = next(iter(tried)), None, spec.steps
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    # What another spec has left there is not gone on from.
    key = hashlib.sha256(f"{spec}{fingerprint(dataset)}".encode()).hexdigest()[:16]
    journal = None if work is None else work / f"stopping-{key}"
    if not steps or len(priors) > 1:
        count = dataset.transition_count
        most = steps or min(MOST_STEPS[count >= _LARGE], default_most(count))
        stopping = choose_n_steps(
            dataset,
            tried,
            most,
            seed=spec.seed,
            show_progress=show_progress,
            journal=journal,
        )
        title, steps = stopping.name, stopping.n_steps
    words, fields = kept[title] if stopping is not None else (next(iter(priors)), {})
    d3rlpy.seed(spec.seed)
    algo = make(priors[words], fields)
    algo.fit(
        dataset,
        n_steps=steps,
        n_steps_per_epoch=min(EPOCH, steps),
        show_progress=show_progress,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        checkpoint=None if work is None else work / f"training-{key}",
    )
    return Policy(algo, log.preparation, log.training.space), words, stopping


def _known(log: Log, words: str, checks: Mapping[str, PriorCheck | None]) -> Any:
    """What may be proven by: what is stated, if the log does not contradict it."""
    spec, positions = log.spec, log.training.space.positions
    if any(found is not None and found.rejected for found in checks.values()):
        shapes = {name: checks.get(name) for name in spec.shapes(positions)}
        chosen = shapes.get(words)
        if spec.outcomes or chosen is None or chosen.rejected:
            return None
    if spec.outcomes:
        return spec.stated_outcomes(log.preparation, positions)
    shapes = spec.shapes(positions)
    shape = shapes.get(words, next(iter(shapes.values())))
    return None if isinstance(shape, Unconstrained) else shape


def judge(
    log: Log,
    policies: Mapping[str, Rule],
    show_progress: bool = True,
    prior: Any = None,
) -> Comparison:
    """Doubly robust estimates on rows that nothing was learned from, and bounds.

    Rewards are predicted by the boosted trees among the policies, and propensities, where
    the log has none, by a logit; both have learned from the other rows.  Bounds are what
    a prior proves.
    """
    seed = log.spec.seed
    some = log.held_out.some(JUDGED_ROWS, seed)
    asked = {name: _chosen(rule, some) for name, rule in policies.items()}
    steps = some.steps()
    if steps.propensities is None:
        found = estimated_propensities(log.training, some, seed)
        steps = logged_steps(steps, found[some.by_group])
        steps = dataclasses.replace(steps, source="estimated")
    trees = policies[TREES]
    assert isinstance(trees, Greedy)
    middles = None
    if steps.edges is not None:
        middles = (steps.edges[1:] + steps.edges[:-1]) / 2.0
    with warnings.catch_warnings():
        # The table says so too.
        warnings.simplefilter("ignore", SupportWarning)
        return compare(
            steps,
            asked,
            predicted=trees.means(some.observations, middles)[some.by_group],
            prior=prior,
            as_bandit=True,
            seed=seed,
            show_progress=show_progress,
        )


def _chosen(rule: Rule, part: Part) -> Callable[[Any], Any]:
    """What is chosen in each decision; policies look at columns in their own way."""
    x = part.observations
    if isinstance(rule, Policy):
        x = rule.preparation.observations(part.table)
    chosen = np.asarray(rule(x), np.float64)[part.by_group]
    if part.space.levels is None:
        return lambda observations: chosen
    levels = part.space.nearest(chosen)
    return lambda observations: levels
