"""Who may import whom."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = {
    *("torch", "d3rlpy", "icac_algo", "minari", "pyarrow", "stable_baselines3"),
    *("matplotlib", "tqdm", "sklearn", "scipy", "joblib"),
}


def imports(package: str, module_level_only: bool) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        nodes = tree.body if module_level_only else ast.walk(tree)
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield path.name, alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield path.name, node.module.split(".")[0]


def test_icac_algo_never_imports_the_auction_or_the_benchmarks() -> None:
    found = {name for _, name in imports("icac_algo", module_level_only=False)}
    assert "torch" in found
    assert not found & {"bidclick_gym", "benchmarks"}


def test_bidclick_gym_imports_nothing_heavy_at_module_level() -> None:
    found = {name for _, name in imports("bidclick_gym", module_level_only=True)}
    assert "gymnasium" in found
    assert not found & HEAVY


def test_bidclick_gym_needs_icac_algo_for_its_replay_buffers_only() -> None:
    found = list(imports("bidclick_gym", module_level_only=False))
    users = {file for file, name in found if name == "icac_algo"}
    assert users == {"datasets.py", "replay_log.py"}
    assert not {name for _, name in found} & {"benchmarks", "torch"}


@pytest.mark.parametrize("package", ["bidclick_gym", "icac_algo"])
def test_importing_is_quiet_and_light(package: str) -> None:
    unwanted = {"bidclick_gym", "matplotlib", "pyarrow", "stable_baselines3"}
    if package == "bidclick_gym":
        unwanted = HEAVY
    script = (
        f"import sys, {package}; import gymnasium\n"
        f"loaded = {unwanted!r} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""


def test_benchmarks_is_where_both_meet() -> None:
    found = {name for _, name in imports("benchmarks", module_level_only=False)}
    assert {"bidclick_gym", "icac_algo"} <= found
