"""Serves bids from an ONNX file with numpy and onnxruntime alone.

    python serve_bids.py policy.onnx '{"x": 0.5, "cost": 0.3}'   # one record: its bid
    python serve_bids.py policy.onnx < records.jsonl            # a bid for each line
    python serve_bids.py policy.onnx --features                 # what a record must hold
    python serve_bids.py policy.onnx --latency                  # milliseconds a decision

The file is one that ``icac_algo.export.save_graph(algo, "policy.onnx", features=["x",
"cost"])`` wrote.  Names of features, their order and the units of the answer are in it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any

import numpy as np
import onnxruntime


class Policy:
    """An exported policy that is asked by the names of its features.

    Args:
        file: an ONNX file of ``save_graph``.

    Raises:
        ValueError: the file does not say what its features are.
    """

    def __init__(self, file: str):
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
        if not isinstance(record, dict):
            raise ValueError(f"record must be an object of {self.features}, got {record}")
        missing = [name for name in self.features if name not in record]
        unknown = [name for name in record if name not in self.features]
        if missing or unknown:
            raise ValueError(
                f"record must hold {self.features}, missing: {missing}, "
                f"unknown: {unknown}"
            )
        largest = float(np.finfo(np.float32).max)
        for name in self.features:
            value = record[name]
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # Not above, rather than below: NaN is neither.
            if not is_number or not abs(value) <= largest:
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        return np.array([[record[name] for name in self.features]], np.float32)

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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON that names nothing twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"record must name each feature once, got {pairs}")
    return found


def latency(policy: Policy, count: int) -> float:
    """Median milliseconds of a decision."""
    assert policy.features is not None
    drawn = np.random.default_rng(0).random((count, len(policy.features)))
    times = []
    for row in drawn.tolist():
        record = dict(zip(policy.features, row, strict=True))
        started = time.perf_counter()
        policy.choose(record)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="an ONNX file of save_graph")
    parser.add_argument("record", nargs="?", help="a JSON object; else lines of them")
    parser.add_argument("--features", action="store_true", help="print their names")
    parser.add_argument("--latency", action="store_true", help="time 2,000 decisions")
    given = parser.parse_args()
    try:
        policy = Policy(given.file)
    except Exception as error:
        # onnxruntime's own errors have no common type.
        parser.error(str(error))
    if given.features:
        print(json.dumps(policy.features))
        return
    if given.latency:
        print(f"{latency(policy, 2000):.3f} ms a decision, median of 2,000")
        return
    for text in [given.record] if given.record is not None else sys.stdin:
        try:
            print(policy.choose(json.loads(text, object_pairs_hook=_unique)), flush=True)
        except ValueError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
