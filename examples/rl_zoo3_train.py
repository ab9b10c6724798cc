"""``ConstraintAwareDQN`` under RL Zoo's trainer.

    pip install -c constraints.txt -e '.[zoo]'
    python examples/rl_zoo3_train.py --algo ca_dqn --env BidClick-v0 \
        -conf examples/rl_zoo3.yml --gym-packages bidclick_gym

Everything else is RL Zoo's: seeds, evaluation, TensorBoard, saved models and settings.
"""

from __future__ import annotations

import rl_zoo3
import rl_zoo3.exp_manager
import rl_zoo3.train

from icac_algo.sb3 import ConstraintAwareDQN

rl_zoo3.ALGOS["ca_dqn"] = ConstraintAwareDQN
# RL Zoo's modules hold names of their own for the table of algorithms.
rl_zoo3.train.ALGOS = rl_zoo3.ALGOS
rl_zoo3.exp_manager.ALGOS = rl_zoo3.ALGOS

if __name__ == "__main__":
    rl_zoo3.train.train()
