"""The serving example answers as the policy that ``icac learn`` wrote."""

from __future__ import annotations

import importlib.util
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icac_algo.command.learning import train
from icac_algo.command.log import Log
from icac_algo.command.policy import Policy
from icac_algo.command.spec import Spec

ROWS = 700


def example(name: str) -> Any:
    file = pathlib.Path(__file__).parents[3] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table() -> pa.Table:
    """Columns of every kind, one of them with rows that lack it."""
    rng = np.random.default_rng(0)
    day = np.datetime64("2026-01-01", "s")
    age = rng.normal(40.0, 10.0, ROWS)
    return pa.table(
        {
            "at": day + rng.integers(0, 10**6, ROWS).astype("timedelta64[s]"),
            "device": rng.choice(["mobile", "desktop"], ROWS),
            "shop": [f"shop {i % 37}" for i in range(ROWS)],
            "customer_id": rng.integers(0, 7, ROWS),
            "loyal": rng.random(ROWS) < 0.5,
            "age": pa.array(
                np.where(rng.random(ROWS) < 0.2, np.nan, age), from_pandas=True
            ),
            "bid": rng.choice([0.1, 0.5, 2.0], ROWS),
            "reward": rng.normal(size=ROWS),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("serving")
    pq.write_table(table(), place / "log.parquet")
    observe = ["at", "device", "shop", "customer_id", "loyal", "age"]
    log = Log.read(
        Spec.of(
            {
                "log": [str(place / "log.parquet")],
                "observe": observe,
                "act": "bid",
                "reward": "reward",
                "steps": 20,
            }
        )
    )
    policy, _, _ = train(log, show_progress=False)
    (place / "policy").mkdir()
    policy.save(place / "policy")
    return place / "policy"


def records() -> list[dict[str, Any]]:
    rows = table().slice(0, 50).to_pylist()
    found = []
    for row in rows:
        kept = {name: row[name] for name in row if name not in ("bid", "reward")}
        found.append({**kept, "at": kept["at"].isoformat()})
    return [
        *found,
        {**found[0], "shop": "a new one", "age": None, "at": "2026-02-01T03:00"},
    ]


def test_the_example_decides_as_the_policy_does(folder: pathlib.Path) -> None:
    served = example("serve_bids").Policy(str(folder))
    policy = Policy.load(str(folder))
    for record in records()[:-1]:
        np.testing.assert_allclose(
            served.observation(record), policy.preparation.observation(record), atol=1e-6
        )
        assert served.choose(record) == policy.decide(record)["bid"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": float("nan")}, "age must be a finite"),
        ({"age": "old"}, "age must be a number"),
        ({"age": True}, "age must be a number"),
        ({"loyal": 2}, "loyal must be"),
        ({"device": None}, "device must have a value"),
        ({"device": 1.5}, "device must be a text"),
        ({"at": "soon"}, "at must be a time"),
        ({"more": 1}, "more"),
        ({"shop": ...}, "shop"),
    ],
)
def test_the_example_names_what_it_refuses(
    change: Any, words: str, folder: pathlib.Path
) -> None:
    served = example("serve_bids").Policy(str(folder))
    record = {k: v for k, v in {**records()[0], **change}.items() if v is not ...}
    with pytest.raises(ValueError, match=words):
        served.choose(record)


def test_explored_decisions_are_logged_with_their_chances(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    serving = example("serve_bids")
    explorer = serving.Explorer(serving.Policy(str(folder)), 0.3, seed=0)
    record = records()[0]
    drawn = [explorer.choose(record) for _ in range(2000)]
    explorer.write(str(tmp_path / "day.parquet"))
    log = pq.read_table(tmp_path / "day.parquet").to_pydict()
    assert log["action"] == drawn
    chances = dict(zip(log["action"], log["propensity"], strict=True))
    assert sum(chances.values()) == pytest.approx(1.0)
    for action, chance in chances.items():
        assert drawn.count(action) / 2000 == pytest.approx(chance, abs=0.04)
    with pytest.raises(ValueError, match="--explore must be from 0 to 1"):
        serving.Explorer(serving.Policy(str(folder)), 1.5, seed=0)


def test_a_record_is_json_that_names_nothing_twice(folder: pathlib.Path) -> None:
    serving = example("serve_bids")
    with pytest.raises(ValueError, match="once"):
        json.loads('{"age": 1, "age": 2}', object_pairs_hook=serving._unique)
