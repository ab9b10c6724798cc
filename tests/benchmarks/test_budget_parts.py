"""Contraction and safety of campaigns: verdicts that flip, cells, tiny runs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.campaigns import contraction, safety
from benchmarks.engine import Cell, Settings
from benchmarks.engine.rows import read_rows, write_rows
from bidclick_gym.campaigns import SpendCap, solve_spend_cap

SETTINGS = Settings(pathlib.Path("nowhere"), steps=20, options={"extra_seeds": 2})


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
        return next(iter(contraction.verdicts(rows)))

    assert "strays further: Concave minus Monotone" in said(0.5, 3.0)
    assert "strays less" in said(3.0, 0.5)
    assert "No difference" in said(1.0, 1.0)
    assert "Too few seeds" in said(0.5, 3.0, seeds=3)

    def targets(with_lag: float, without: float) -> str:
        rows = watched({("concave", 1.0): without, ("concave", 10.0): with_lag})
        return next(iter(contraction.verdicts(rows)))

    assert "a target network helps" in targets(0.5, 3.0)
    assert "a target network makes it worse" in targets(3.0, 0.5)


def test_what_runs_away_is_counted() -> None:
    rows = watched({("concave", 1.0): -30.0, ("none", 1.0): 2.0})
    text = contraction.contraction_section(rows)
    assert "| concave | **no** | euclidean | none |" in text
    assert "| 6 of 6 |" in text
    assert "| 0 of 6 |" in text


def test_contraction_cells_differ_in_what_they_train() -> None:
    cells = contraction.CONTRACTION.plan(SETTINGS)
    assert len(cells) == 2 * 10
    assert {cell["lag"] for cell in cells} == {1.0, 10.0}
    cell = next(cell for cell in cells if cell.learner == "concave")
    rows, again = (contraction.CONTRACTION.measured(cell) for _ in range(2))
    assert rows == again
    assert len(rows) == contraction.LOOKS
    assert set(rows[0]) == set(contraction.CONTRACTION.columns)
    assert np.isfinite([row["excess"] for row in rows]).all()


def test_contraction_is_drawn() -> None:
    rows = watched({("concave", 1.0): -30.0, ("none", 1.0): 2.0})
    figure = contraction.draw(rows)
    assert [axis.get_title() for axis in figure.axes] == [
        "concave, euclidean",
        "no shape",
    ]


# -- safety ------------------------------------------------------------------


def played(**changes: Any) -> list[dict[str, Any]]:
    base = {"log": "unpaced", "cap": "0.10 per click", "optimum": 30.54, "profit": 30.0}
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
        line
        for line in safety.safety_section(played()).splitlines()
        if "| masked |" in line
    )
    assert "| 30.00 | 0.54 | 0.0 % | -0.50 |" in line


@pytest.mark.slow
def test_one_masked_bidder(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    names = ("spend 0.6 per 10", "0.10 per click")
    caps = {name: safety.CAPS[name] for name in names}
    monkeypatch.setattr(safety, "CAPS", caps)
    monkeypatch.setattr(safety, "EPISODES", 200)
    monkeypatch.setattr(safety, "optimum", lambda cap: 30.0)
    cell = Cell.of("safety", safety.LEARNER, log="unpaced", fraction=1.0, steps=20)
    rows = safety.SAFETY.measured(cell)
    assert [(row["bidder"], row["cap"]) for row in rows] == [
        (bidder, cap) for cap in caps for bidder in ("free", "masked")
    ]
    assert all(row["violating"] == 0.0 for row in rows if row["bidder"] == "masked")
    assert any(row["violating"] > 0.0 for row in rows if row["bidder"] == "free")
    write_rows(tmp_path / "safety.csv", safety.SAFETY.columns, rows)
    read = read_rows(tmp_path / "safety.csv")
    assert set(read[0]) == set(safety.SAFETY.columns)
    assert "| masked | 2" in safety.safety_section(read)


@pytest.mark.slow
def test_a_multiplier_is_learned_for_one_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "EPISODES", 200)
    monkeypatch.setattr(safety, "ROUNDS", 1)
    cells = safety.SAFETY.plan(SETTINGS)
    cell = next(cell for cell in cells if cell.learner == "multiplier")
    (row,) = safety.SAFETY.measured(cell)
    assert set(row) == set(safety.SAFETY.columns)
    assert (row["bidder"], row["cap"]) == ("multiplier", "0.08 per click")
    assert np.isfinite([row["estimate"], row["cost"]]).all()


def test_constrained_optima_are_the_solver_s() -> None:
    cap = SpendCap(10, 0.6)
    assert safety.optimum(cap) == solve_spend_cap(cap).optimal_value


def test_safety_cells_and_picture() -> None:
    assert len(safety.SAFETY.plan(SETTINGS)) == 2 * 6
    figure = safety.draw(played())
    assert [axis.get_title()[:7] for axis in figure.axes] == ["unpaced"]
