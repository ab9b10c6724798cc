"""Shapes as words, such as ``monotone:increasing=false+concave``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from .actions import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
)
from .base import Constraint

_SHAPES: dict[str, type[Constraint]] = {
    shape.get_type(): shape
    for shape in (Monotone, Concave, Convex, MonotoneConcave, SlopeBounds, Bounded)
}
SHAPE_NAMES = tuple(_SHAPES)
_BOOLEANS = {"true": True, "false": False}


def parse_shape(text: str, of: str = "constraint") -> Constraint:
    """A shape from words: ``name[:field=value,...]``, several joined by ``+``.

    ``concave``, ``monotone:increasing=false``, ``slope_bounds:lower=0,upper=2+concave``,
    ``concave:curvature=-0.45..0`` (and ``-inf..-0.1`` without a lower bound).
    ``of`` is what errors call the words.

    Raises:
        ValueError: a name or field is unknown, or a value is not allowed.
    """
    if not isinstance(text, str):
        raise ValueError(f"{of} must be words such as 'concave', got {text!r}")
    # A plus sign may also begin a number's exponent or the number itself.
    parts = [part.strip() for part in re.split(r"\+(?=[^\W\d_]|[ +]|\Z)", text)]
    if len(parts) == 1:
        return _shape(parts[0], text, of)
    return Intersection([_shape(part, text, of) for part in parts])


def as_shape(given: Any, name: str = "constraint") -> Constraint:
    """A shape that is given as one or in words; its fields may have been set since."""
    if isinstance(given, str):
        return parse_shape(given, of=name)
    if not isinstance(given, Constraint):
        raise ValueError(
            f"{name} must be a shape such as Concave(), or words such as 'concave', "
            f"got {given!r}"
        )
    dataclasses.replace(given)
    return given


def _shape(part: str, text: str, of: str) -> Constraint:
    name, colon, rest = part.partition(":")
    shape = _SHAPES.get(name.strip())
    if shape is None:
        raise ValueError(
            f"{of} must be made of {', '.join(SHAPE_NAMES)}, joined by +; "
            f"got {name.strip()!r} in {text!r}"
        )
    fields = {
        field.name: field
        for field in dataclasses.fields(shape)
        if field.name not in ("actions", "known_cost")
    }
    given: dict[str, Any] = {}
    for assignment in rest.split(",") if colon else []:
        key, equals, value = (word.strip() for word in assignment.partition("="))
        if key not in fields or not equals or key in given:
            allowed = ", ".join(f"{field}=..." for field in fields) or "no fields"
            raise ValueError(
                f"{of} {name} takes {allowed}, each once; got {assignment!r} in {text!r}"
            )
        # A field is a boolean where its default is one.
        is_flag = isinstance(fields[key].default, bool)
        allowed = "true or false" if is_flag else "a number"
        try:
            if key == "curvature":
                allowed = "two numbers such as -0.5..0"
                lower, _, upper = value.partition("..")
                given[key] = float(lower), float(upper)
            else:
                given[key] = _BOOLEANS[value] if is_flag else float(value)
        except (KeyError, ValueError):
            raise ValueError(
                f"{of} field {key} must be {allowed}, got {value!r} in {text!r}"
            ) from None
    return shape(**given)
