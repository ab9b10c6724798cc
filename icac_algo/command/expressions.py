"""Arithmetic over the columns of a table, such as ``revenue - paid_eur``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Deeper ones would not fit Python's stack.
_MOST_NODES = 500
_ALLOWED = (
    "made of columns, numbers, + - * /, comparisons, min(,), max(,), abs(), log(), "
    "where(condition, then, else) and brackets; other names in backticks"
)
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "abs": (1, np.abs),
    "log": (1, np.log),
    "where": (3, lambda condition, a, b: _where(condition, a, b)),
}


def _where(condition: Any, a: Any, b: Any) -> Any:
    # Of what is unknown nothing follows.
    found = np.where(condition != 0.0, a, b)
    return np.where(np.isnan(condition), np.nan, found)


class Expression:
    """A number for each row, computed from columns; nothing in it is executed.

    ``words`` are such as ``"revenue - paid_eur"`` or ``"where(won, `bid (EUR)`, 0)"``;
    ``name`` is that of the argument, for errors.
    """

    def __init__(self, words: Any, name: str = "reward"):
        self.words, self._name = str(words), name
        self._quoted: dict[str, str] = {}
        refused = f"{name} must be {_ALLOWED}; got {words!r}"
        if isinstance(words, bool) or not isinstance(words, (str, int, float)):
            raise ValueError(refused)
        text = re.sub(r"`([^`]+)`", self._unquoted, self.words.strip())
        try:
            self._tree = ast.parse(text, mode="eval").body
            if "#" in text or sum(1 for _ in ast.walk(self._tree)) > _MOST_NODES:
                raise ValueError("a comment, or too long")
            self.columns = tuple(sorted(set(self._check(self._tree))))
        except (ValueError, SyntaxError, OverflowError, RecursionError, MemoryError):
            raise ValueError(refused) from None

    def __call__(self, columns: Mapping[str, FloatArray], rows: int) -> FloatArray:
        """Its values, ``(rows,)``; a row without a finite one is named, from 1."""
        with np.errstate(all="ignore"):
            found = np.asarray(self._value(self._tree, columns), np.float64)
        found = np.broadcast_to(found, (rows,)).copy()
        wrong = ~np.isfinite(found)
        if wrong.any():
            row = int(wrong.argmax())
            held = {name: float(columns[name][row]) for name in self.columns}
            raise ValueError(
                f"{self._name} {self.words!r} must be a finite number in every row, "
                f"{int(wrong.sum()):,} are not; the first is row {row + 1} with {held}"
            )
        return found

    def _unquoted(self, match: re.Match[str]) -> str:
        name = f"quoted_{len(self._quoted)}_"
        self._quoted[name] = match[1]
        return name

    def _check(self, node: ast.expr) -> list[str]:
        """The columns that it names.  Raises ``ValueError`` for what is not allowed."""
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            # OverflowError where float64 cannot hold it.
            np.float64(node.value)  # type: ignore[arg-type]
            return []
        if isinstance(node, ast.Name):
            return [self._quoted.get(node.id, node.id)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return self._check(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._check(node.left) + self._check(node.right)
        if isinstance(node, ast.Compare) and [
            type(one) in _BINARY for one in node.ops
        ] == [True]:
            return self._check(node.left) + self._check(node.comparators[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            count, _ = _FUNCTIONS.get(node.func.id, (0, None))
            if count == len(node.args) and count and not node.keywords:
                return [name for one in node.args for name in self._check(one)]
        raise ValueError("not allowed")

    def _value(self, node: Any, columns: Mapping[str, FloatArray]) -> Any:
        if isinstance(node, ast.Constant):
            return np.asarray(node.value, np.float64)
        if isinstance(node, ast.Name):
            return columns[self._quoted.get(node.id, node.id)]
        if isinstance(node, ast.UnaryOp):
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
            return sign * self._value(node.operand, columns)
        if isinstance(node, ast.BinOp):
            left, right = (self._value(one, columns) for one in (node.left, node.right))
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            pair = (node.left, node.comparators[0])
            left, right = (self._value(one, columns) for one in pair)
            # What is unknown compares with nothing.
            unknown = np.isnan(left) | np.isnan(right)
            found = _BINARY[type(node.ops[0])](left, right)
            return np.where(unknown, np.nan, found)
        _, function = _FUNCTIONS[node.func.id]
        return function(*(self._value(one, columns) for one in node.args))
