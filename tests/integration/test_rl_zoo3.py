"""RL Zoo's trainer runs ConstraintAwareDQN, and what it saves loads again.

RL Zoo brings Shimmy, at which d3rlpy announces itself, so it is not in the environment
of the other tests.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_the_zoo_trains_saves_and_repeats_itself(tmp_path: pathlib.Path) -> None:
    if importlib.util.find_spec("rl_zoo3") is None:
        assert "CI_NEEDS_RL_ZOO" not in os.environ, "rl_zoo3 is not installed"
        pytest.skip("needs rl_zoo3: pip install -c constraints.txt -e '.[zoo]'")
    from icac_algo import Concave
    from icac_algo.sb3 import ConstraintAwareDQN

    models = []
    for folder in ("first", "second"):
        words = (
            f"--algo ca_dqn --env BidClick-v0 -conf {ROOT / 'examples' / 'rl_zoo3.yml'} "
            "--gym-packages bidclick_gym --seed 1 -n 2000 --eval-freq 1000 "
            f"--eval-episodes 5 -f {tmp_path / folder}"
        )
        script = ROOT / "examples" / "rl_zoo3_train.py"
        done = subprocess.run(
            [sys.executable, str(script), *words.split()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        saved = tmp_path / folder / "ca_dqn" / "BidClick-v0_1" / "BidClick-v0.zip"
        models.append(ConstraintAwareDQN.load(saved))
    contexts = np.random.default_rng(0).uniform([0, 0.2], [1, 0.4], (200, 2))
    values = [m.q_net(m.policy.obs_to_tensor(contexts)[0]).detach() for m in models]
    assert models[0].q_net.constraint == Concave()
    assert (values[0] == values[1]).all()
    assert (values[0].double().diff(n=2) <= 1e-6).all()
