"""Stable-Baselines3: a DQN with a shape, adapters both ways.  Needs the extra ``sb3``."""

try:
    import stable_baselines3  # noqa: F401
except ImportError as error:
    raise ImportError(
        "icac_algo.sb3 needs Stable-Baselines3: pip install 'bidclick-icac[sb3]'"
    ) from error

from .adapter import PolicyAdapter
from .dqn import ConstraintAwareDQN
from .policies import (
    CnnPolicy,
    ConstraintAwareDQNPolicy,
    MlpPolicy,
    MultiInputPolicy,
)
from .recording import record_log, sb3_action_probabilities

__all__ = [
    "CnnPolicy",
    "ConstraintAwareDQN",
    "ConstraintAwareDQNPolicy",
    "MlpPolicy",
    "MultiInputPolicy",
    "PolicyAdapter",
    "record_log",
    "sb3_action_probabilities",
]
