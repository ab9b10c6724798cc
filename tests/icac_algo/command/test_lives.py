"""The lives of docs/icac.md, from a log to a decision, with logs whose truth is known."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import shlex
import sys
from typing import Any

import pytest

from icac_algo.command import run
from icac_algo.command.folder import open_policy
from icac_algo.command.log import Log
from icac_algo.command.policy import Policy
from icac_algo.command.rivals import CONSTANT, rivals
from icac_algo.command.spec import Spec

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "icac.md").read_text("utf-8")


def worlds() -> Any:
    file = ROOT / "examples" / "make_logs.py"
    spec = importlib.util.spec_from_file_location("make_logs", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["make_logs"] = module
    spec.loader.exec_module(module)
    return module


def commands(life: str) -> list[list[str]]:
    """The words of each command of the block that makes a log."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (block,) = [one for one in blocks if f"make_logs.py {life} " in one]
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line]


@pytest.mark.parametrize(
    "life",
    [
        "doses",
        pytest.param("ads", marks=pytest.mark.slow),
        pytest.param("prices", marks=pytest.mark.slow),
    ],
)
def test_from_a_log_to_a_decision(
    life: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    module, words = worlds(), commands(life)
    assert len(words) < 10
    for one in words:
        if one[0] == "python":
            rows = "8000" if life == "ads" else "2500"
            monkeypatch.setattr("sys.argv", [*one[1:], "--rows", rows])
            module.main()
            continue
        more = ["--steps", "400"] if one[1] == "learn" else []
        capsys.readouterr()
        assert run([*one[1:], *more]) == 0
    decision = json.loads(capsys.readouterr().out)
    act = module.WORLDS[life].act
    assert set(decision) == {act, "expected_reward"}
    policy = open_policy(f"runs/{life}")
    assert policy.space.low <= decision[act] <= policy.space.high
    # Better than the best single action, by the truth.
    log = Log.read(Spec.read(f"runs/{life}/spec.toml"))
    single = rivals(log.training, 0)[CONSTANT]

    def lost(rule: Any) -> float:
        def decide(columns: Any) -> Any:
            table = module.table_of(columns)
            return rule(policy.preparation.observations(table))

        return float(module.regret(life, decide, 2000))

    assert lost(policy) < 0.8 * lost(single)
    found = json.loads((tmp_path / "runs" / life / "results.json").read_text("utf-8"))
    assert found["verdict"]
    assert isinstance(Policy.load(f"runs/{life}/policy"), Policy)
