"""Contraction and safety of campaigns: verdicts that flip, cells, tiny runs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.campaigns import contraction, safety
from benchmarks.engine import read_rows
from bidclick_gym.campaigns import SpendCap, solve_spend_cap

# -- contraction -------------------------------------------------------------


def watched(ends: dict[tuple[str, float], float], seeds: int = 6) -> list[dict[str, Any]]:
    """Excesses that grow linearly to their end."""
    return [
        {
            "shape": shape,
            "projection": "euclidean",
            "lag": lag,
            "fraction": 0.0625,
            "seed": seed,
            "step": float(step),
            "value": 30.0,
            "excess": end * step / 10.0 + 0.01 * seed,
        }
        for (shape, lag), end in ends.items()
        for seed in range(seeds)
        for step in range(1, 11)
    ]


def test_contraction_verdicts_flip() -> None:
    def said(safe: float, unsafe: float, **changes: Any) -> str:
        rows = watched({("monotone", 10.0): safe, ("concave", 10.0): unsafe}, **changes)
        return contraction.verdicts(rows)[0]

    assert "strays further: Concave minus Monotone" in said(0.5, 3.0)
    assert "strays less" in said(3.0, 0.5)
    assert "No difference" in said(1.0, 1.0)
    assert "Too few seeds" in said(0.5, 3.0, seeds=3)

    def targets(with_lag: float, without: float) -> str:
        rows = watched({("concave", 1.0): without, ("concave", 10.0): with_lag})
        return contraction.verdicts(rows)[0]

    assert "a target network helps" in targets(0.5, 3.0)
    assert "a target network makes it worse" in targets(3.0, 0.5)


def test_what_runs_away_is_counted() -> None:
    rows = watched({("concave", 1.0): -30.0, ("none", 1.0): 2.0})
    text = contraction.section(rows)
    assert "| concave | **no** | euclidean | none |" in text
    assert "| 6 of 6 |" in text
    assert "| 0 of 6 |" in text


def test_contraction_cells_differ_in_what_they_train(tmp_path: pathlib.Path) -> None:
    cells = contraction.planned(1, 20)
    assert len({cell.digest for cell in cells}) == len(cells) == 10
    assert {cell.config().tau for cell in cells} == {1.0, 0.1}
    cell = next(cell for cell in cells if cell.shape == "concave")
    rows, again = contraction.measure(cell), contraction.measure(cell)
    assert rows == again
    assert len(rows) == contraction.LOOKS
    assert np.isfinite([row["excess"] for row in rows]).all()


# -- safety ------------------------------------------------------------------


def played(**changes: Any) -> list[dict[str, Any]]:
    base = {"log": "unpaced", "cap": ".10 per click", "optimum": 30.54, "profit": 30.0}
    rows: list[dict[str, Any]] = []
    for seed in range(6):
        rows += [
            {**base, "bidder": "free", "cost": 0.5, "violating": 1.0, "estimate": None},
            {
                **base,
                "bidder": "masked",
                "cost": -0.5,
                "violating": 0.0,
                "estimate": None,
            },
            {
                **base,
                "bidder": "multiplier",
                "cost": 0.2,
                "violating": 0.6,
                "estimate": 0,
            },
        ]
        for row in rows[-3:]:
            row.update({"seed": seed, **changes.get(row["bidder"], {})})
    return rows


def test_safety_verdicts_flip() -> None:
    masks, multiplier = safety.verdicts(played())
    assert "Masks hold: at most 0 %" in masks
    assert "the cap **is broken** (0.20 beyond it; kept by 0 of 6)" in multiplier
    assert "off by up to 0.20" in multiplier
    masks, multiplier = safety.verdicts(
        played(masked={"violating": 0.01}, multiplier={"cost": -0.1})
    )
    assert "Masks **do not hold**: at most 1 %" in masks
    assert "the cap is kept" in multiplier


def test_prices_are_against_the_constrained_optimum() -> None:
    line = next(
        line for line in safety.section(played()).splitlines() if "| masked |" in line
    )
    assert "| 30.00 | 0.54 | 0.0 % | -0.50 |" in line


def test_one_masked_bidder(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    caps = {name: safety.CAPS[name] for name in ("spend .6 per 10", ".10 per click")}
    monkeypatch.setattr(safety, "CAPS", caps)
    monkeypatch.setattr(safety, "EPISODES", 200)
    monkeypatch.setattr(safety, "optimum", lambda cap: 30.0)
    cell = safety.SafetyCell("masked", "unpaced", seed=0, steps=20)
    rows = safety.measure(cell)
    assert [(row["bidder"], row["cap"]) for row in rows] == [
        (bidder, cap) for cap in caps for bidder in ("free", "masked")
    ]
    assert all(set(row) == set(safety.COLUMNS) for row in rows)
    assert all(row["violating"] == 0.0 for row in rows if row["bidder"] == "masked")
    assert any(row["violating"] > 0.0 for row in rows if row["bidder"] == "free")
    safety.write_rows(tmp_path / "safety.csv", safety.COLUMNS, rows)
    read = read_rows(tmp_path / "safety.csv")
    assert safety.section(read) == safety.section(rows)


def test_constrained_optima_are_the_solver_s() -> None:
    cap = SpendCap(10, 0.6)
    assert safety.optimum(cap) == solve_spend_cap(cap).optimal_value


def test_safety_cells() -> None:
    cells = safety.planned(2, 20)
    assert len({cell.digest for cell in cells}) == len(cells) == 12
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
