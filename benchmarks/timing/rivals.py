"""Drives ``rivals_server`` in another interpreter, one request at a time."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

import numpy as np

from .methods import Runner
from .problems import Problem

# Which packages are compared; in the order of the tables.
RIVALS = ("qpth", "cvxpylayers", "torchisotonic")
NOT_GIVEN = "no --rivals-python"
_SCRIPT = pathlib.Path(__file__).with_name("rivals_server.py")
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class RivalsPythonError(ValueError):
    """``--rivals-python`` is not an interpreter with torch and numpy."""


class NotRun(Exception):
    """Why a package has no figures."""


def rivals_of(shape: str, size: int) -> tuple[str, ...]:
    """Who is compared where: solvers take seconds for a pass over many actions."""
    if shape == "Monotone":
        return RIVALS
    return RIVALS[:2] if size <= 5 or shape == "Concave" else ()


class Rivals:
    """The other interpreter, for as long as the ``with`` block lasts."""

    def __init__(self, python: str | None):
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="shapes-")
        if python is None:
            return
        try:
            self._start(python)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rivals:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, python: str) -> None:
        found = shutil.which(python)
        if found is None:
            raise RivalsPythonError(
                f"--rivals-python must be a Python interpreter, got {python!r}"
            )
        folder = os.path.dirname(os.path.abspath(found))
        with self._log.open("w") as log:
            # Isolated: the script's own folder has modules with everyday names.  A
            # session of its own: Ctrl-C is for this process, which then ends that one.
            self._process = subprocess.Popen(
                [found, "-I", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                # A compiler's helpers lie beside the interpreter.
                env={
                    **os.environ,
                    **dict.fromkeys(_ONE_THREAD, "1"),
                    "PATH": os.pathsep.join([folder, os.environ.get("PATH", "")]),
                },
            )
        try:
            self.versions = self._read()["versions"]
        except (NotRun, ValueError, KeyError) as error:
            raise RivalsPythonError(
                "--rivals-python must be a Python interpreter with torch and numpy, "
                f"got {python!r}: {error}"
            ) from None

    @property
    def _log(self) -> pathlib.Path:
        return pathlib.Path(self._folder.name) / "stderr"

    def ask(self, **request: Any) -> dict[str, Any]:
        if self._process is None:
            raise NotRun(NOT_GIVEN)
        assert self._process.stdin is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise NotRun(self._last_words()) from None
        answer = self._read()
        if "failed" in answer:
            raise NotRun(answer["failed"])
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise NotRun(self._last_words())
        found: dict[str, Any] = json.loads(line)
        return found

    def _last_words(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        said = self._log.read_text(errors="replace").strip().splitlines()
        return said[-1] if said else f"it ended with status {code}"

    def prepare(self, package: str, problem: Problem) -> Runner:
        """A package on one problem, in the other interpreter."""
        shape = "".join(c for c in problem.shape if c.isalnum())
        path = pathlib.Path(self._folder.name) / f"{shape}-{problem.size}.npz"
        np.savez(
            path,
            q=problem.q,
            weights=problem.weights,
            matrix=problem.matrix,
            bounds=problem.bounds,
        )
        request = {"package": package, "problem": str(path)}
        solution = path.with_suffix(f".{package}.npy")
        self.ask(**request, solution=str(solution))

        def seconds(repeats: int) -> float:
            return float(self.ask(**request, repeats=repeats)["seconds"])

        return Runner(np.load(solution), seconds)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    # A request that nobody read cannot be flushed.
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None
        self._folder.cleanup()
