"""Serves bids from an ONNX file with numpy and onnxruntime alone.

    python serve_bids.py policy.onnx 0.5 0.3          # one context: its bid
    python serve_bids.py policy.onnx --latency        # milliseconds a decision

The file is one that ``icac_algo.export.save_graph(algo, "policy.onnx")`` wrote.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime


def open_policy(file: str) -> onnxruntime.InferenceSession:
    """A session on one thread, which is fastest for one decision at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def choose(session: onnxruntime.InferenceSession, context: np.ndarray) -> int:
    """The greedy action for one context, ``(d,)``."""
    feed = {"input_0": context[None].astype(np.float32)}
    return int(session.run(["action"], feed)[0][0])


def latency(session: onnxruntime.InferenceSession, features: int, count: int) -> float:
    """Median milliseconds of a decision."""
    contexts = np.random.default_rng(0).random((count, features), dtype=np.float32)
    times = []
    for context in contexts:
        started = time.perf_counter()
        choose(session, context)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="an ONNX file of save_graph")
    parser.add_argument("context", nargs="*", type=float, help="the observation")
    parser.add_argument("--latency", action="store_true", help="time 2,000 decisions")
    given = parser.parse_args()
    session = open_policy(given.file)
    features = int(session.get_inputs()[0].shape[1])
    if given.latency:
        print(f"{latency(session, features, 2000):.3f} ms a decision, median of 2,000")
        return
    if len(given.context) != features or not np.isfinite(given.context).all():
        parser.error(f"context must be {features} finite numbers, got {given.context}")
    print(choose(session, np.array(given.context)))


if __name__ == "__main__":
    main()
