"""Replay buffers that hold a log as columns."""

from .buffer import ColumnarReplayBuffer
from .relabelling import BudgetRelabellingTransitionPicker

__all__ = ["BudgetRelabellingTransitionPicker", "ColumnarReplayBuffer"]
