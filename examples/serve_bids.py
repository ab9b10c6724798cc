"""Serves bids from an ONNX file with numpy and onnxruntime alone.

    python serve_bids.py policy.onnx '{"x": 0.5, "cost": 0.3}'   # one record: its bid
    python serve_bids.py policy.onnx < records.jsonl            # a bid for each line
    python serve_bids.py policy.onnx --features                 # what a record must hold
    python serve_bids.py policy.onnx --latency                  # milliseconds a decision
    python serve_bids.py runs/ads/policy < records.jsonl        # what icac learn wrote
    python serve_bids.py runs/ads/policy --explore 0.1 --log day.parquet < records.jsonl

The file is one that ``icac_algo.export.save_graph(algo, "policy.onnx", features=["x",
"cost"])`` wrote.  Names of features, their order and the units of the answer are in it.
The folder is one of ``icac learn``: its records hold the columns of the log.

With ``--explore`` a share of the decisions is drawn evenly from all actions.  A log,
which needs pyarrow, holds each record, its action and the probability that it had: what
the next policy learns from.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import pathlib
import sys
import time
from typing import Any

import numpy as np
import onnxruntime


class Policy:
    """An exported policy that is asked by the names of its features.

    Args:
        file: an ONNX file of ``save_graph``, or a folder of ``icac learn``.

    Raises:
        ValueError: the file does not say what its features are.
    """

    def __init__(self, file: str):
        self.fields: list[dict[str, Any]] | None = None
        if pathlib.Path(file).is_dir():
            text = (pathlib.Path(file) / "policy.json").read_text("utf-8")
            self.fields = json.loads(text)["preparation"]
            file = str(pathlib.Path(file) / "policy.onnx")
        options = onnxruntime.SessionOptions()
        # One thread is fastest for one decision at a time.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        text = self.session.get_modelmeta().custom_metadata_map.get("icac_algo")
        if text is None:
            raise ValueError(f"{file} must be a file of icac_algo's save_graph")
        self.description: dict[str, Any] = json.loads(text)
        self.features: list[str] | None = self.description["features"]
        single = self.description["actions"].get("size", 1) == 1
        has_value = "action_value" in self.description["outputs"]
        if self.features is None or not single or not has_value:
            raise ValueError(
                f"{file} must be of save_graph, one action and vector observations"
            )

    def observation(self, record: Any) -> np.ndarray:
        """A record in the order of the features, ``(1, d)``.

        Raises:
            ValueError: a feature is missing, unknown or not a finite number of float32.
        """
        assert self.features is not None
        names, needed = self.features, self.features
        if self.fields is not None:
            names = [field["column"] for field in self.fields]
            needed = [f["column"] for f in self.fields if not f["may_miss"]]
        if not isinstance(record, dict):
            raise ValueError(f"record must be an object of {names}, got {record}")
        missing = [name for name in needed if name not in record]
        unknown = [name for name in record if name not in names]
        if missing or unknown:
            raise ValueError(
                f"record must hold {needed}, missing: {missing}, unknown: {unknown}"
            )
        if self.fields is not None:
            parts = [features_of(f, record.get(f["column"])) for f in self.fields]
            return np.concatenate(parts)[None].astype(np.float32)
        largest = float(np.finfo(np.float32).max)
        for name in self.features:
            value = record[name]
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # Not above, rather than below: NaN is neither.
            if not is_number or not abs(value) <= largest:
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        return np.array([[record[name] for name in self.features]], np.float32)

    @property
    def actions(self) -> list[float]:
        """All actions in their own units; none where any number between is one."""
        found: list[float] = self.description["actions"].get("positions") or []
        return found

    def choose(self, record: Any) -> float:
        """The greedy action for one record, in its own units."""
        return self.answer(self.observation(record))

    def answer(self, observation: np.ndarray) -> float:
        """The greedy action for one observation, ``(1, d)``."""
        feed = {self.description["inputs"][0]["name"]: observation}
        (values,) = self.session.run(["action_value"], feed)
        value = float(values[0])
        if not math.isfinite(value):
            raise ValueError(f"observation {observation} has no finite values")
        return value


def features_of(field: dict[str, Any], value: Any) -> np.ndarray:
    """The features of one column of a log, as ``icac learn`` made them, float64 ``(F,)``.

    Raises:
        ValueError: the value is missing or of another kind than in the log.
    """
    name, kind, missing = field["column"], field["kind"], value is None
    if missing and not field["may_miss"]:
        raise ValueError(f"{name} must have a value")
    if kind in ("number", "flag"):
        allowed = (int, float, bool) if kind == "flag" else (int, float)
        is_number = isinstance(value, allowed) and (kind == "flag" or value is not True)
        if not missing and (not is_number or (value is False and kind == "number")):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not missing and not abs(value) <= float(np.finfo(np.float32).max):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
        if kind == "flag" and not missing and value not in (0, 1):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        filled = field["mean"] if missing else float(value)
        found = np.array([(filled - field["mean"]) / field["std"]])
    elif kind == "time":
        found = np.zeros(9)
        if not missing:
            try:
                text = value[:-1] + "+00:00" if value.endswith("Z") else value
                at = datetime.datetime.fromisoformat(text)
                if (at.tzinfo is not None) != field["zoned"]:
                    raise ValueError("a zone that is guessed would move every hour")
                if field["zoned"]:
                    at = at.astimezone(datetime.timezone.utc)
            except (AttributeError, OverflowError, ValueError):
                zone = "with" if field["zoned"] else "without"
                raise ValueError(
                    f"{name} must be a time {zone} a zone, got {value!r}"
                ) from None
            angle = 2.0 * math.pi * (at.hour + at.minute / 60.0) / 24.0
            found[:2] = math.sin(angle), math.cos(angle)
            found[2 + at.weekday()] = 1.0
    else:
        values = field["values"]
        is_whole = isinstance(value, (int, float)) and value % 1 == 0
        is_flag = isinstance(value, bool) and not {"true", "false"} & {*values}
        if not missing and (not (isinstance(value, str) or is_whole) or is_flag):
            raise ValueError(f"{name} must be a text, got {value!r}")
        # 7 and 7.0 are one name.
        text = str(int(value) if isinstance(value, float) else value)
        text = text.lower() if isinstance(value, bool) else text
        if kind == "hashed":
            size = field["buckets"]
            digest = hashlib.sha256(text.encode()).digest()
            place = int.from_bytes(digest[:4], "big") % size
        else:
            size = len(values) + 1
            place = values.index(text) if text in values else len(values)
        found = np.zeros(size)
        found[place] = not missing
    return np.append(found, missing) if field["may_miss"] else found


class Explorer:
    """Decisions of which a share is drawn evenly from all actions, and their log.

    Args:
        policy: whose decisions the others are.
        share: from 0 to 1.
        seed: of what is drawn.
    """

    def __init__(self, policy: Policy, share: float, seed: int):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"--explore must be from 0 to 1, got {share}")
        if share and not policy.actions:
            raise ValueError("--explore needs a list of actions, this policy has none")
        self._policy, self._share = policy, share
        self._rng = np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []

    def choose(self, record: Any) -> float:
        best = action = self._policy.choose(record)
        actions = self._policy.actions or [best]
        if self._rng.random() < self._share:
            action = float(self._rng.choice(actions))
        chance = self._share / len(actions) + (1.0 - self._share) * (action == best)
        self.rows.append({**record, "action": action, "propensity": chance})
        return action

    def write(self, file: str) -> None:
        """All decisions so far as one Parquet file."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(self.rows)
        pyarrow.parquet.write_table(table, f"{file}.part")
        pathlib.Path(f"{file}.part").replace(file)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON that names nothing twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"record must name each feature once, got {pairs}")
    return found


def latency(policy: Policy, count: int, size: int = 1) -> float:
    """Median milliseconds of a decision on observations in batches of one size."""
    assert policy.features is not None
    name = policy.description["inputs"][0]["name"]
    drawn = np.random.default_rng(0).random((size, len(policy.features)))
    batch, times = drawn.astype(np.float32), []
    for _ in range(count):
        started = time.perf_counter()
        policy.session.run(["action_value"], {name: batch})
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times)) / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="an ONNX file of save_graph, or icac's folder")
    parser.add_argument("record", nargs="?", help="a JSON object; else lines of them")
    parser.add_argument("--features", action="store_true", help="print their names")
    parser.add_argument("--latency", action="store_true", help="time 2,000 decisions")
    parser.add_argument("--explore", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=None, help="of what is explored")
    parser.add_argument("--log", metavar="FILE", help="a new Parquet file of decisions")
    given = parser.parse_args()
    try:
        policy = Policy(given.file)
        explorer = Explorer(policy, given.explore, given.seed)
        if given.log is not None and pathlib.Path(given.log).exists():
            raise ValueError(f"--log must be a new file, {given.log} is there already")
    except Exception as error:
        # onnxruntime's own errors have no common type.
        parser.error(str(error))
    if given.features:
        columns = [field["column"] for field in policy.fields or []]
        print(json.dumps(columns or policy.features))
        return
    if given.latency:
        for size in (1, 256):
            print(f"{latency(policy, 2000, size):.4f} ms a decision, batch {size}")
        return
    try:
        for text in [given.record] if given.record is not None else sys.stdin:
            record = json.loads(text, object_pairs_hook=_unique)
            print(explorer.choose(record), flush=True)
    except ValueError as error:
        parser.error(str(error))
    finally:
        # Decisions that were given count, whatever came after them.
        if given.log is not None and explorer.rows:
            explorer.write(given.log)


if __name__ == "__main__":
    main()
