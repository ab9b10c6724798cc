"""The pages under ``docs`` run: the code of each, top to bottom, in one namespace."""

from __future__ import annotations

import pathlib
import re
import socket

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.glob("**/*.md")
    if re.search(r"^```python\n", page.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.fixture
def single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``torchrun`` would set for a training in one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:minari.*")
@pytest.mark.usefixtures("single_process", "working_folder")
@pytest.mark.parametrize("page", PAGES)
def test_every_page_runs(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        # Errors then name the line of the page.
        block = "\n" * text.count("\n", 0, found.start(1)) + found[1]
        exec(compile(block, page, "exec"), namespace)
