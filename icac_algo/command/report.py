"""The page of one learning."""

from __future__ import annotations

from typing import Any

from .learning import Learned


def report(learned: Learned, command: str) -> str:
    return learned.verdict


def results(learned: Learned) -> dict[str, Any]:
    return {"verdict": learned.verdict}
