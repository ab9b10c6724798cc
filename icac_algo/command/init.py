"""A first TOML file from a look at a log."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._util.files import write_whole
from .spec import field_help, toml_value
from .tables import open_tables, pyarrow, read_columns

_ROWS = 10_000
_ACTS = ("bid", "price", "dose", "discount", "action", "amount")
_REWARDS = ("reward", "profit", "revenue", "benefit", "margin", "value", "sales")
_AFTER = ("click", "won", "win", "paid", "cost_paid", "units", "conversion", "purchase")
_CHANCES = ("propensity", "prob", "pscore")


def write_spec(log: Sequence[str], out: pathlib.Path) -> None:
    """Guesses what is observed, done and earned, and says what else may be stated."""
    if out.exists():
        raise ValueError(f"out must be a new file, {out} is there already")
    names = open_tables(log).schema.names
    table = read_columns(log, names, _ROWS)
    act = _first(table, names, _ACTS)
    chance = _first(table, names, _CHANCES)
    rewards = [n for n in names if _is_like(n, _REWARDS) and _is_number(table, n)]
    paid = [n for n in names if n.lower().startswith("paid")]
    after = [n for n in names if _is_like(n, (*_AFTER, *_REWARDS))]
    times = [n for n in names if pyarrow().types.is_timestamp(table[n].type)]
    observe = [n for n in names if n not in (act, chance, *after)]
    parts = [*rewards[:1], *paid[:1]]
    reward = " - ".join(n if n.isidentifier() else f"`{n}`" for n in parts)
    folder = out.absolute().parent
    where = [_relative(pathlib.Path(one).absolute(), folder) for one in log]
    words = field_help()
    lines = [
        "# What icac learns from; every line may be changed.",
        f"# The log's first {table.num_rows:,} rows:",
        *(f"#   {_one_line(f'{name}: {_look(table, name)}')}" for name in names),
        "",
    ]

    def line(name: str, value: Any, sure: bool = True) -> None:
        lines.append(f"# {words[name][1]}")
        lines.append(f"{'' if sure else '# '}{name} = {toml_value(value)}")
        lines.append("")

    line("log", where)
    line("observe", observe)
    line("act", act or "")
    line("reward", reward)
    line("shape", ["concave"])
    given = [n for n in after if _is_like(n, ("won", "win", "click", "conversion"))]
    first = given[0] if given else "won"
    line("outcomes", [f"{first}: monotone; link=logit; weight=2.0"], sure=False)
    line("time", times[0] if times else "shown_at", sure=bool(times))
    line("episode", "customer_id", sure=False)
    line("propensity", chance or "propensity", sure=chance is not None)
    for name, value in (("levels", 10), ("held_out", 0.2), ("steps", 2000)):
        line(name, value, sure=False)
    write_whole(out, "\n".join(lines).encode())


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    inside = path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else str(path)


def _is_like(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)


def _is_number(table: Any, name: str) -> bool:
    types, kind = pyarrow().types, table[name].type
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _first(table: Any, names: Sequence[str], words: Sequence[str]) -> str | None:
    found = (n for word in words for n in names if word in n.lower())
    return next((n for n in found if _is_number(table, n)), None)


def _look(table: Any, name: str) -> str:
    column = table[name]
    parts = [str(column.type)]
    present = column.drop_null()
    if _is_number(table, name) and len(present):
        values = np.asarray(present.to_numpy(), np.float64)
        parts.append(f"from {values.min():g} to {values.max():g}")
    else:
        first = [str(one)[:30] for one in present.slice(0, 3).to_pylist()]
        parts.append("such as " + ", ".join(first))
    types = pyarrow().types
    if not types.is_nested(column.type):
        parts.append(f"{len(column.unique()):,} different")
    if column.null_count:
        parts.append(f"{column.null_count:,} missing")
    return "; ".join(parts)


def _one_line(text: str) -> str:
    """As a comment of TOML may be."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
