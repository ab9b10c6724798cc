"""What is shipped works where nothing of ours is installed."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT, cwd=out)
    (path,) = out.glob("*.whl")
    return path


def readme_example() -> str:
    text = (ROOT / "README.md").read_text()
    match = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.network
def test_wheel_holds_both_packages_and_their_types(wheel: pathlib.Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"bidclick_gym", "icac_algo"} <= tops
    assert not tops & {"tests", "benchmarks"}
    assert {"bidclick_gym/py.typed", "icac_algo/py.typed"} <= set(names)


def test_readme_example_is_short() -> None:
    lines = [line for line in readme_example().splitlines() if line.strip()]
    assert len(lines) <= 12


@pytest.mark.network
def test_readme_example_runs_from_the_wheel(
    wheel: pathlib.Path, working_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh environment, the wheel, and the README's own example."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = working_folder / "venv"
    run(sys.executable, "-m", "venv", environment, cwd=working_folder)
    python = environment / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(
        python, "-m", "pip", "install", "--quiet", "--constraint", constraints,
        f"{wheel}[icac]", cwd=working_folder,
    )  # fmt: skip
    (working_folder / "example.py").write_text(readme_example())
    output = run(python, "example.py", cwd=working_folder)
    regret = float(output.strip().splitlines()[-1].split()[-1])
    assert 0.0 <= regret < 0.02
