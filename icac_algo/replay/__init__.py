"""Replay buffers that hold a log as columns."""

from .buffer import ColumnarReplayBuffer

__all__ = ["ColumnarReplayBuffer"]
