"""The command lines: one meaning for each exit status, whatever happens to them."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.engine.command_line import main as benchmarks_main
from icac_algo import ColumnarReplayBuffer
from icac_algo.__main__ import main
from icac_algo._util.command_line import exit_status

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Rewards that rise with the action less a cost of ``2 c action``."""
    rng = np.random.default_rng(0)
    observations = rng.random((3000, 2)).astype(np.float32)
    actions = rng.integers(0, 4, 3000)
    rewards = 0.3 * actions / 3 - 2.0 * observations[:, 1] * actions / 3
    file = tmp_path_factory.mktemp("log") / "log.parquet"
    ColumnarReplayBuffer.from_arrays(
        observations, actions, rewards + 0.1 * rng.normal(size=3000), action_size=4
    ).to_parquet(file)
    return file


def words(table: pathlib.Path, *more: str) -> list[str]:
    columns = ("--observe", "observation_0", "observation_1", "--act", "action")
    return ["check", str(table), *columns, "--shape", "monotone", *more]


def test_statuses_of_the_check(
    table: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(table, "--reward", "reward")) == 1
    assert "KnownCost" in capsys.readouterr().out
    known = "reward + 2 * observation_1 * action / 3"
    assert main(words(table, "--reward", known)) == 0
    few = table.parent / "few.parquet"
    ColumnarReplayBuffer.from_arrays(
        np.random.default_rng(0).random((100, 2)).astype(np.float32),
        np.arange(100) % 4, np.arange(100) % 7, action_size=4,
    ).to_parquet(few)  # fmt: skip
    assert main(words(few, "--reward", "reward")) == 3
    assert main(words(few, "--reward", "none")) == 2


def test_exit_status_of_whatever_ends_a_command(capsys: Any) -> None:
    def ended_by(error: BaseException | None) -> int:
        def command() -> int:
            if error is not None:
                raise error
            return 3

        return exit_status(command)

    assert ended_by(None) == 3
    assert ended_by(SystemExit(2)) == 2
    assert ended_by(SystemExit("some cells failed")) == 1
    assert ended_by(KeyboardInterrupt()) == 130
    assert ended_by(OSError(28, "No space left on device")) == 74
    assert ended_by(MemoryError()) == 70
    assert ended_by(RuntimeError("a bug")) == 70
    said = capsys.readouterr().err
    assert "some cells failed" in said
    assert "a bug" in said
    with pytest.raises(SystemExit) as end:
        benchmarks_main(["no-such-experiment"])
    assert end.value.code == 2


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="not this system")
def test_output_that_cannot_be_written() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(ending: str) -> subprocess.CompletedProcess[str]:
        line = f"{sys.executable} -m icac_algo --help {ending}"
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    for ending in (">/dev/full", ">&-", "| head -c 0"):
        ended = run(ending)
        assert ended.returncode == 74, ending
        assert "Traceback" not in ended.stderr
        # Of a closed pipe click says nothing.
        assert ("error: " in ended.stderr) != ("|" in ending)
    assert run(">&- 2>&-").returncode == 74


def test_ctrl_c_ends_with_130(table: pathlib.Path) -> None:
    stated = words(table, "--reward", "reward")
    script = (
        "import os, signal, sys\n"
        # What is started in the background ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import icac_algo.__main__ as program\n"
        "import icac_algo.command.learning as room\n"
        "from icac_algo._util.command_line import exit_status\n"
        "room.check_prior = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.exit(exit_status(lambda: program.main({stated!r})))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 128 + signal.SIGINT
    assert "Traceback" not in ended.stderr
