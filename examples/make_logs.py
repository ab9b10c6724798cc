"""Writes logs whose truth is known: ads at first price, prices, doses.

    python make_logs.py ads ads.csv                  # 20,000 auctions
    python make_logs.py prices prices.parquet --rows 4000
    python make_logs.py doses doses.csv --judge runs/doses/policy  # what a policy loses

A log has strings, numbers, times and values that are missing, as logs have.  The loggers
act by habit, with some chance: none of them knows the best decision.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

import numpy as np

Columns = dict[str, Any]
_DEVICES = np.array(["mobile", "desktop", "tablet"])


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


@dataclasses.dataclass(frozen=True)
class World:
    """Contexts, a logger, what comes of an action, and the mean reward of any action."""

    act: str
    grid: np.ndarray
    contexts: Callable[[np.random.Generator, int], Columns]
    logger: Callable[[np.random.Generator, Columns], np.ndarray]
    happens: Callable[[np.random.Generator, Columns, np.ndarray], Columns]
    mean: Callable[[Columns, np.ndarray], np.ndarray]


def _ads(rng: np.random.Generator, rows: int) -> Columns:
    start = datetime.datetime(2026, 1, 1)
    minutes = np.sort(rng.integers(0, 14 * 24 * 60, rows))
    return {
        "shown_at": [start + datetime.timedelta(minutes=int(m)) for m in minutes],
        "device": rng.choice(_DEVICES, rows, p=[0.6, 0.3, 0.1]),
        "campaign_id": rng.integers(100, 108, rows),
        "ctr": np.round(rng.beta(2.0, 30.0, rows), 5),
        "floor_price": np.round(rng.uniform(0.02, 0.2, rows), 3),
    }


def _win(c: Columns, bid: Any) -> Any:
    """Chance to win at first price: rivals bid more in the evening and for mobile."""
    hour = np.array([one.hour for one in c["shown_at"]])
    middle = 0.35 + 0.5 * c["floor_price"] + 0.15 * (hour >= 18)
    middle = middle + 0.1 * (c["device"] == "mobile")
    return np.where(bid >= c["floor_price"], _sigmoid((bid - middle) / 0.12), 0.0)


def _revenue(c: Columns) -> Any:
    """Expected revenue of a win, by what a click is worth to the campaign."""
    return c["ctr"] * (4.0 + 1.5 * (c["campaign_id"] - 100))


def _ads_happen(rng: np.random.Generator, c: Columns, bid: np.ndarray) -> Columns:
    won = rng.random(len(bid)) < _win(c, bid)
    clicked = won & (rng.random(len(bid)) < c["ctr"])
    worth = 4.0 + 1.5 * (c["campaign_id"] - 100)
    return {
        "won": won.astype(int),
        "paid_eur": np.where(won, bid, 0.0),
        "revenue": np.where(clicked, worth, 0.0),
    }


def _shoppers(rng: np.random.Generator, rows: int) -> Columns:
    age = np.round(rng.normal(42.0, 12.0, rows))
    return {
        "region": rng.choice(["north", "south", "east", "west"], rows),
        "loyal": rng.random(rows) < 0.3,
        "age": np.where(rng.random(rows) < 0.1, np.nan, age),
        "unit_cost": np.round(rng.uniform(2.0, 5.0, rows), 2),
    }


def _demand(c: Columns, price: Any) -> Any:
    taste = 1.8 + 0.5 * c["loyal"] + 0.3 * (c["region"] == "west")
    return np.exp(taste - 0.25 * price)


def _shoppers_happen(rng: np.random.Generator, c: Columns, price: np.ndarray) -> Columns:
    return {"units": rng.poisson(_demand(c, price))}


def _patients(rng: np.random.Generator, rows: int) -> Columns:
    return {
        "weight_kg": np.round(rng.normal(78.0, 14.0, rows), 1),
        "age": np.round(rng.uniform(20.0, 90.0, rows)),
        "genotype": rng.choice(["AA", "AG", "GG"], rows, p=[0.5, 0.35, 0.15]),
        "smoker": rng.choice(["yes", "no"], rows, p=[0.2, 0.8]),
    }


def _right_dose(c: Columns) -> Any:
    slow = 8.0 * (c["genotype"] == "AG") + 14.0 * (c["genotype"] == "GG")
    smoker = 4.0 * (c["smoker"] == "yes")
    return 32.0 + 0.2 * (c["weight_kg"] - 78.0) - 0.15 * (c["age"] - 55.0) - slow + smoker


def _health(c: Columns, dose: Any) -> Any:
    return -np.abs(dose - _right_dose(c)) / 10.0


WORLDS = {
    "ads": World(
        "bid_eur",
        np.round(np.linspace(0.05, 1.0, 20), 2),
        _ads,
        lambda rng, c: np.round(rng.choice(np.linspace(0.05, 1.0, 20), len(c["ctr"])), 2),
        _ads_happen,
        lambda c, bid: _win(c, bid) * (_revenue(c) - bid),
    ),
    "prices": World(
        "price",
        np.arange(4.0, 16.0),
        _shoppers,
        lambda rng, c: np.round(
            np.clip(c["unit_cost"] + rng.integers(1, 11, len(c["loyal"])), 4, 15)
        ),
        _shoppers_happen,
        lambda c, price: (price - c["unit_cost"]) * _demand(c, price),
    ),
    "doses": World(
        "dose_mg",
        np.linspace(10.0, 60.0, 251),
        _patients,
        lambda rng, c: np.clip(
            np.round(30.0 + rng.normal(0.0, 9.0, len(c["age"])), 1), 10.0, 60.0
        ),
        lambda rng, c, dose: {
            "benefit": np.round(_health(c, dose) + rng.normal(0.0, 0.5, len(dose)), 4)
        },
        _health,
    ),
}


def make(name: str, rows: int, seed: int) -> Columns:
    """A log by columns."""
    world, rng = WORLDS[name], np.random.default_rng(seed)
    contexts = world.contexts(rng, rows)
    actions = world.logger(rng, contexts)
    return {**contexts, world.act: actions, **world.happens(rng, contexts, actions)}


def regret(name: str, decide: Callable[[Columns], Any], rows: int = 5000) -> float:
    """What decisions lose per context, against the best of the world's grid."""
    world, rng = WORLDS[name], np.random.default_rng(10**6)
    contexts = world.contexts(rng, rows)
    each = [world.mean(contexts, np.full(rows, action)) for action in world.grid]
    earned = world.mean(contexts, np.asarray(decide(contexts)))
    return float((np.max(each, axis=0) - earned).mean())


def table_of(columns: Columns) -> Any:
    """A pyarrow table; NaN becomes what is missing."""
    import pyarrow

    return pyarrow.table(
        {
            name: pyarrow.array(values, from_pandas=True)
            for name, values in columns.items()
        }
    )


def main() -> None:
    import pyarrow.csv
    import pyarrow.parquet

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=WORLDS)
    parser.add_argument("file", help="ends with .csv or .parquet")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", metavar="POLICY", help="print its regret instead")
    given = parser.parse_args()
    if given.judge:
        from icac_algo.command.policy import Policy

        policy = Policy.load(given.judge)
        found = regret(
            given.name,
            lambda columns: policy(policy.preparation.observations(table_of(columns))),
        )
        print(f"{found:.4f}")
        return
    table = table_of(make(given.name, given.rows, given.seed))
    if given.file.endswith(".parquet"):
        pyarrow.parquet.write_table(table, given.file)
    else:
        pyarrow.csv.write_csv(table, given.file)


if __name__ == "__main__":
    main()
