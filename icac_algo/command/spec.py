"""What a user says of a log: columns, shapes and where; a TOML file or options."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from .._util.checks import check_count, check_number, check_seed
from ..shapes import (
    Outcome,
    Unconstrained,
    Weight,
    as_outcomes,
    as_shape,
    check_outcome_features,
)
from .expressions import Expression
from .preparation import Preparation

#: What is tried where nothing is said of the shape.
NONE = "none"
#: A network has an output for each level.
MOST_LEVELS = 1000


@dataclasses.dataclass(frozen=True)
class Spec:
    """One table of decisions and what is known of it.

    Args:
        log: files or folders: CSV, Parquet or Arrow.
        observe: columns that are known when a decision is made.
        act: the column of the decision, a number.
        reward: what came of it: arithmetic over columns.
        shape: of the mean reward over actions, in words (``"monotone+concave"``,
            ``"none"``); of several the one with the least held-out loss is taken.
        outcomes: parts of the reward with shapes of their own, in words, instead of
            ``shape``; weights name ``action`` and observed columns.
        derive: columns for the reward and for outcomes that the log lacks, such as
            ``"won = paid_eur > 0"``; arithmetic over its columns.
        categories: observed whole numbers that are names.
        levels: 0 takes up to 20 different actions for levels and more for any number
            between; N makes N levels of them.
        time: a column; the last part of it is held out.
        episode: a column; rows of one value are held out together.
        propensity: a column: the logger's probability of its action.
        held_out: share that nothing learns from.
        steps: of training; 0 finds them from the log.
        seed: of splits and trainings.

    Raises:
        ValueError: a field is out of bounds or does not fit another.
    """

    log: tuple[str, ...] = ()
    observe: tuple[str, ...] = ()
    act: str = ""
    reward: str = ""
    shape: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    derive: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    levels: int = 0
    time: str = ""
    episode: str = ""
    propensity: str = ""
    held_out: float = 0.2
    steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _cast(field, getattr(self, field.name)))
        for name in ("log", "observe", "act", "reward"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be given")
        for name in ("observe", "shape", "categories"):
            given = getattr(self, name)
            twice = [one for one in given if given.count(one) > 1]
            if twice:
                raise ValueError(f"{name} must name each once, got {twice[0]!r} twice")
        if self.act in self.observe:
            raise ValueError(f"observe must not name the action {self.act!r}")
        if unknown := [one for one in self.categories if one not in self.observe]:
            raise ValueError(f"categories must be observed, got {unknown[0]!r}")
        if self.shape and self.outcomes:
            raise ValueError("shape must not be given beside outcomes, which have theirs")
        if self.levels != 0 and not 2 <= self.levels <= MOST_LEVELS:
            raise ValueError(
                f"levels must be 0 or from 2 to {MOST_LEVELS}, got {self.levels}"
            )
        check_number("held_out", self.held_out, at_least=0.05, at_most=0.5)
        if self.steps != 0:
            check_count("steps", self.steps)
        check_seed(self.seed)
        for shape in self.shape:
            if shape != NONE:
                try:
                    as_shape(shape, "shape")
                except ValueError as error:
                    raise ValueError(f"shape {shape!r}: {error}") from None
        for name in self.derived:
            if name == self.act or name in self.observe:
                raise ValueError(f"derive must not name {name!r}, which the log has")
        columns = self.reward_columns
        if not columns:
            raise ValueError(f"reward must name a column, got {self.reward!r}")
        if len(columns) == 1 and columns[0] in self.observe:
            raise ValueError(f"observe must not name the reward {columns[0]!r}")
        for what, names in (
            ("outcome", self.outcome_columns),
            ("propensity", [self.propensity]),
        ):
            if leaks := [name for name in names if name in self.observe]:
                raise ValueError(
                    f"observe must not name the {what} {leaks[0]!r}, which is known later"
                )
        if self.outcomes and "action" in self.observe:
            raise ValueError(
                "observe must not name 'action' beside outcomes: their weights call the "
                "decision so"
            )
        if self.act in self.outcome_columns:
            raise ValueError(f"outcomes must not name the action {self.act!r}")

    @classmethod
    def read(cls, path: str, **given: Any) -> Spec:
        """From a TOML file, whose folder a log's path starts at; or as ``given``."""
        try:
            fields = _toml().loads(pathlib.Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        if isinstance(log := fields.get("log"), (str, list)):
            logs = [log] if isinstance(log, str) else log
            if all(isinstance(one, str) for one in logs):
                parent = pathlib.Path(path).parent
                fields["log"] = [one and str(parent / one) for one in logs]
        try:
            return cls.of({**fields, **given})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Spec:
        """From names and values."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{name} is unknown{meant} Allowed: {', '.join(names)}")
        return cls(**fields)

    @property
    def reward_columns(self) -> tuple[str, ...]:
        return Expression(self.reward).columns

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """Columns of outcomes that the log must have."""
        named = [one.split(";")[0].partition(":")[0].strip() for one in self.outcomes]
        return tuple(name for name in named if "=" not in name and name)

    @property
    def derived(self) -> dict[str, Expression]:
        """Columns that are computed, by name."""
        found: dict[str, Expression] = {}
        for words in self.derive:
            match = re.fullmatch(r"\s*(?:`([^`]+)`|(\w+))\s*=(?!=)(.+)", words, re.S)
            if match is None:
                raise ValueError(f"derive must be 'name = arithmetic', got {words!r}")
            name = match[1] or match[2]
            if name in found:
                raise ValueError(f"derive must name each once, got {name!r} twice")
            found[name] = Expression(match[3].strip(), f"derive {name!r}")
        return found

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns of the log that must hold numbers."""
        derived = self.derived
        named = [self.act, *self.reward_columns, *self.outcome_columns]
        named += [name for one in derived.values() for name in one.columns]
        return tuple(name for name in dict.fromkeys(named) if name not in derived)

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are read."""
        others = [one for one in (self.time, self.episode, self.propensity) if one]
        return tuple(dict.fromkeys([*self.observe, *self.numbers, *others]))

    def shapes(self, actions: list[float]) -> dict[str, Any]:
        """What is stated of the mean reward, by its words; concave if nothing is."""
        found = {}
        for words in self.shape or ("concave",):
            shape = Unconstrained() if words == NONE else as_shape(words)
            found[words] = dataclasses.replace(shape, actions=actions)
        return found

    def stated_outcomes(
        self, preparation: Preparation, actions: list[float]
    ) -> list[Outcome]:
        """Outcomes whose weights are in terms of features."""
        found = []
        for words in self.outcomes:
            parts = words.split(";")
            for i, part in enumerate(parts):
                name, equals, formula = part.partition("=")
                if equals and name.strip() == "weight":
                    parts[i] = f" weight={_in_features(formula, preparation)}"
            found.append(";".join(parts))
        stated = as_outcomes(found)
        check_outcome_features(stated, (len(preparation.features),))
        return [
            dataclasses.replace(
                one, shape=dataclasses.replace(one.shape, actions=actions)
            )
            if one.learned and one.depends_on_action
            else one
            for one in stated
        ]

    def to_toml(self) -> str:
        """As a file that :meth:`read` reads."""
        lines = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                lines.append(f"{field.name} = {toml_value(value)}")
        return "\n".join(lines) + "\n"


def field_help() -> dict[str, tuple[str, str]]:
    """What each field is, in words, after its kind: ``"tuple"``, ``"str"``, ..."""
    found = {}
    words = str(Spec.__doc__).partition("Args:")[2].partition("Raises:")[0]
    for match in re.finditer(r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |\Z)", words, re.M | re.S):
        found[match[1]] = " ".join(match[2].replace("``", "").split())
    kinds = {f.name: str(f.type).partition("[")[0] for f in dataclasses.fields(Spec)}
    return {name: (kinds[name], found[name]) for name in kinds}


def toml_value(value: Any) -> str:
    """A text, number or list of texts as TOML writes it."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        escaped = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
        return f'"{escaped}"'
    return str(value)


def _in_features(formula: str, preparation: Preparation) -> str:
    """Columns replaced by what they are in terms of features."""
    Expression(formula.strip(), "weight")

    def named(match: re.Match[str]) -> str:
        name = match[1] or match[0]
        return name if name == "action" else preparation.formula(name)

    found = re.sub(r"`([^`]+)`|(?<![\w.])[^\W\d]\w*", named, formula.strip())
    try:
        Weight(found)
    except ValueError:
        raise ValueError(
            "a weight must be made of action, observed columns, numbers, + - * and "
            f"brackets, and divide by numbers only, got {formula.strip()!r}"
        ) from None
    return found


def _cast(field: Any, value: Any) -> Any:
    """A value of the field's kind; a text alone is a list of one."""
    if str(field.type).startswith("tuple"):
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, (list, tuple)) or not all(
            isinstance(one, str) and one and _is_text(one) for one in given
        ):
            raise ValueError(f"{field.name} must be texts, got {value!r}")
        return tuple(given)
    kind = {"str": str, "int": int, "float": (int, float)}[str(field.type)]
    right = isinstance(value, kind) and not isinstance(value, bool)  # type: ignore[arg-type]
    if not right or not _is_text(value):
        raise ValueError(f"{field.name} must be of type {field.type}, got {value!r}")
    return value


def _is_text(value: Any) -> bool:
    """Whether a file in UTF-8 can hold it, which bytes of another encoding are not."""
    return not (isinstance(value, str) and re.search("[\ud800-\udfff]", value))


def _toml() -> Any:
    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
