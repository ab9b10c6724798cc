"""What a log holds, as one short text: two logs are the same if their texts are."""

from __future__ import annotations

import hashlib

from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_type
from .buffer import ColumnarReplayBuffer


def fingerprint(dataset: ReplayBufferBase) -> str:
    """A checksum of everything in a log that training and estimates can see.

    That is every observation, action and reward, in the precision of batches (float32);
    where episodes end, how, and whether what was observed last is known; the extras; and
    the action space and size.  How the log is kept, in memory or in files, in one piece
    or in many, and in which type of number, makes no difference.

    Columns remember theirs, so that asking again costs nothing.

    Args:
        dataset: any d3rlpy replay buffer.  One of d3rlpy's own is copied first.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        TypeError: ``dataset`` is something else.
        ValueError: it is empty.
    """
    check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    if not isinstance(dataset, ColumnarReplayBuffer):
        dataset = ColumnarReplayBuffer.from_replay_buffer(dataset)
    info = dataset.dataset_info
    text = f"{info.action_space.name} {info.action_size} {dataset.all_columns().digest}"
    return hashlib.sha256(text.encode()).hexdigest()
