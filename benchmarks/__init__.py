"""Experiments: every table of the paper as a command, ``python -m benchmarks NAME``."""

import bidclick_gym  # registers the environments wherever a benchmark is imported

__all__ = ["bidclick_gym"]
