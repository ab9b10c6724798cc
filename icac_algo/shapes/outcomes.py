r"""Outcomes: the parts of a reward, each with the shape that is true of it.

.. math:: r = \sum_k w_k(s, a)\, y_k, \qquad
    Q(s, a) = \sum_k w_k(s, a)\, \mu_k(s, a) + \gamma \cdot \text{what follows}

with known weights :math:`w_k` and means :math:`\mu_k = E[y_k | s, a]`, which a critic
learns on the scale of a link.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from d3rlpy.serializable_config import (
    generate_config_registration,
    generate_list_config_field,
)

from .._util.checks import check_choice, check_flag
from .._util.fields import cast_fields, plain
from .actions import Unconstrained, make_constraint_field
from .base import Constraint, NamedConfig
from .normal_form import ShapeSet
from .weights import Weight, check_features
from .words import as_shape

LINKS = ("identity", "logit", "log")


@dataclasses.dataclass()
class Outcome(NamedConfig):
    r"""One part of the reward, :math:`w(s, a)\, y`, and what is known of its mean.

    .. code-block:: python

        # The paper's auction: clicks rise with diminishing returns, the cost is known.
        [
            Outcome("click", MonotoneConcave(), link="logit"),
            Outcome(weight="-x1 * action"),
        ]
        # First price: what a win is worth does not depend on the bid.
        [
            Outcome("value", given="won", depends_on_action=False),
            Outcome("won", "monotone", link="logit", weight="-action"),
        ]

    The shape is imposed on the scale of the link, :math:`\eta = g(\mu)`; see
    :meth:`mean_set` for what then holds of the mean.

    Args:
        column: name of the logged column that holds ``y``, one number a row: an extra of
            the buffer, or an info of Minari's without its ``info/``; ``"reward"`` is the
            reward itself.  ``None`` for a part that is known and needs no learning:
            ``y`` is 1, so that the part is its weight.
        shape: of the mean over actions, on the link's scale, or words for it
            (``"monotone+concave"``).  Bounds are in units of the link's scale.
        link: ``"identity"`` (any number; Gaussian likelihood), ``"logit"`` (from 0 to 1,
            such as a click; Bernoulli) or ``"log"`` (at least 0, such as units sold;
            Poisson).
        weight: :math:`w`: a number, or words such as ``"action - x3"``; see
            :class:`~icac_algo.shapes.Weight`.
        given: column of another outcome, 0 or 1 in each row with ``link="logit"``.  This
            one is learned where that one is 1, and counts there only: its part of the
            reward is :math:`w\, y\, y_{given}`, its part of Q has the product of means.
        depends_on_action: whether the mean may depend on the action.
        ignores: features of a vector observation that the mean does not depend on.

    Raises:
        ValueError: an argument is of another kind, or does not fit another.
    """

    column: str | None = None
    shape: Constraint = dataclasses.field(
        default_factory=Unconstrained, metadata=make_constraint_field().metadata
    )
    link: str = dataclasses.field(default="identity", kw_only=True)
    weight: str = dataclasses.field(default="1", kw_only=True)
    given: str | None = dataclasses.field(default=None, kw_only=True)
    depends_on_action: bool = dataclasses.field(default=True, kw_only=True)
    ignores: list[int] = dataclasses.field(default_factory=list, kw_only=True)

    def __post_init__(self) -> None:
        self.shape = as_shape(self.shape, "shape")
        check_choice("link", self.link, LINKS)
        self.weight = str(plain(self.weight))
        Weight(self.weight)
        check_flag("depends_on_action", self.depends_on_action)
        cast_fields(self)
        for name in ("column", "given"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} must be a column's name or None, got ''")
        if min(self.ignores, default=0) < 0:
            raise ValueError(f"ignores must be integers >= 0, got {self.ignores}")
        if self.shape.known_cost is not None:
            raise ValueError(
                "shape must have no known_cost: a known cost is an outcome of its own, "
                f"such as Outcome(weight='-x1 * action'), got {self.shape!r}"
            )
        is_free = isinstance(self.shape, Unconstrained)
        if not self.depends_on_action and not is_free:
            raise ValueError(
                "depends_on_action=False leaves no shape over actions, got "
                f"shape={self.shape!r}"
            )
        if self.column is None:
            learned = not is_free or self.link != "identity" or self.ignores
            if learned or not self.depends_on_action:
                raise ValueError(
                    "column must be named where something is to be learned, got None "
                    "beside a shape, link, depends_on_action or ignores"
                )
        if self.column is not None and self.column == self.given:
            raise ValueError(f"given must be another column, got {self.given!r} for both")

    @property
    def learned(self) -> bool:
        """Whether it has a column to learn from."""
        return self.column is not None

    @property
    def name(self) -> str:
        """Its column, or its weight."""
        return self.weight if self.column is None else self.column

    def mean_set(self) -> ShapeSet | None:
        r"""The shape that holds of the mean, in its own units; ``None`` if none does.

        ========== =====================================================
        link       of the shape on :math:`\eta`, the mean has
        ========== =====================================================
        identity   all
        logit      its direction (rising, falling); bounds on values become
                   bounds on the mean
        log        the same, and convexity
        ========== =====================================================

        One that does not depend on the action has no slope.
        """
        kept = self.shape.shape_set()
        if not self.depends_on_action:
            kept = ShapeSet(slope_lower=0.0, slope_upper=0.0)
        elif self.link != "identity":
            kept = ShapeSet(
                slope_lower=0.0 if kept.slope_lower >= 0.0 else -math.inf,
                slope_upper=0.0 if kept.slope_upper <= 0.0 else math.inf,
                lower=_mean_at(self.link, kept.lower),
                upper=_mean_at(self.link, kept.upper),
                curvature_lower=0.0 if self.link == "log" and kept.convex else -math.inf,
            )
        return None if kept == ShapeSet() else kept


def _mean_at(link: str, eta: float) -> float:
    """A bound on the link's scale as one on the mean; infinite if there was none."""
    if math.isinf(eta):
        return eta
    # The mean of a log link is above 0, and that of a logit link within 0 and 1, anyway.
    if link == "log":
        return math.exp(min(eta, 700.0))
    return 0.5 + 0.5 * math.tanh(eta / 2.0)


register_outcome, _ = generate_config_registration(Outcome)
register_outcome(Outcome)
make_outcomes_field: Any = generate_list_config_field(Outcome)


def parse_outcome(text: str) -> Outcome:
    """An outcome from words: ``column[: shape][; field=value ...]``.

    ``click: monotone+concave; link=logit``, ``value; given=won``,
    ``weight=-x1 * action``, ``harm; ignores=1,2; depends_on_action=false``.

    Raises:
        ValueError: a field is unknown or a value not allowed.
    """
    parts = [part.strip() for part in text.split(";")]
    fields: dict[str, Any] = {}
    if not re.match(r"(link|weight|given|depends_on_action|ignores)\s*=", parts[0]):
        column, colon, shape = parts.pop(0).partition(":")
        fields["column"] = column.strip()
        if colon:
            fields["shape"] = shape.strip()
    for part in parts:
        name, equals, value = (word.strip() for word in part.partition("="))
        allowed = ("link", "weight", "given", "depends_on_action", "ignores")
        if name not in allowed or not equals or name in fields:
            raise ValueError(
                f"outcomes take {', '.join(allowed)}, each once, got {part!r} in {text!r}"
            )
        fields[name] = value
    if "depends_on_action" in fields:
        flags = {"true": True, "false": False}
        word = fields["depends_on_action"]
        fields["depends_on_action"] = flags.get(word.lower(), word)
    if "ignores" in fields:
        try:
            fields["ignores"] = [int(word) for word in fields["ignores"].split(",")]
        except ValueError:
            raise ValueError(
                f"ignores must be integers, got {fields['ignores']!r} in {text!r}"
            ) from None
    return Outcome(**fields)


def as_outcomes(given: Any) -> list[Outcome]:
    """Outcomes that are given as such or in words, once they fit each other."""
    if isinstance(given, (str, Outcome)) or not isinstance(given, Sequence):
        raise ValueError(f"outcomes must be a list of Outcome(...), got {given!r}")
    outcomes = [parse_outcome(one) if isinstance(one, str) else one for one in given]
    for one in outcomes:
        if not isinstance(one, Outcome):
            raise ValueError(
                "outcomes must be Outcome(...) or words such as 'click: monotone; "
                f"link=logit', got {one!r}"
            )
        # Its fields may have been set since it was made.
        dataclasses.replace(one)
    columns = [one.column for one in outcomes if one.learned]
    if outcomes and not columns:
        raise ValueError(
            "outcomes must name at least one column to learn from, got known ones only"
        )
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(
                f"outcomes must each have a column of their own, got {column!r} twice; "
                "add their weights up"
            )
    for one in outcomes:
        list(conditions(outcomes, one))
    return outcomes


def conditions(outcomes: Sequence[Outcome], outcome: Outcome) -> Iterator[int]:
    """Numbers of the outcomes that must happen for one to count."""
    by_column = {one.column: i for i, one in enumerate(outcomes) if one.learned}
    seen = {outcome.column}
    while outcome.given is not None:
        number = by_column.get(outcome.given)
        if number is None or outcomes[number].link != "logit":
            raise ValueError(
                f"given must be the column of an outcome with link='logit', one of "
                f"{[o.column for o in outcomes if o.link == 'logit']}, got "
                f"{outcome.given!r} for {outcome.name!r}"
            )
        if outcome.given in seen:
            raise ValueError(f"given must not lead back, got {outcome.given!r}")
        yield number
        outcome = outcomes[number]
        seen.add(outcome.column)


def shared_actions(
    constraint: Constraint, outcomes: Sequence[Outcome]
) -> list[float] | None:
    """The actions that shapes name, those of all of them."""
    shapes = [constraint, *(one.shape for one in outcomes)]
    named = [shape.actions for shape in shapes if shape.actions is not None]
    for other in named[1:]:
        if other != named[0]:
            raise ValueError(
                f"outcomes and constraint must name the same actions, got {named[0]} "
                f"and {other}"
            )
    return named[0] if named else None


def check_outcome_features(
    outcomes: Sequence[Outcome], observation_shape: Sequence[Any]
) -> None:
    """Checks that observations have the features that outcomes name."""
    for one in outcomes:
        for what, features in (
            ("weight", Weight(one.weight).features),
            ("ignores", one.ignores),
        ):
            check_features(f"{what} of outcome {one.name!r}", features, observation_shape)
