"""A page in headless Chromium, measured: through a frame of the width asked for."""

from __future__ import annotations

import functools
import html
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
from typing import Any

#: Debian's name, then others'.
NAMES = ("chromium", "chromium-browser", "google-chrome")

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage",),
)

# A window cannot be as narrow as a phone, a frame can.
_PROBE = """<!doctype html><body style="margin:0">
<iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.onload = async () => {{
  const page = frame.contentDocument;
  const images = [...page.images];
  // Under virtual time large pictures out of sight may never be decoded; a broken one
  // has no natural width all the same.
  const patience = new Promise(done => setTimeout(done, 2000));
  const decoded = images.map(i => i.decode().catch(() => null));
  await Promise.race([Promise.all(decoded), patience]);
  const visible = [...page.querySelectorAll("body *")].filter(
    e => !e.closest(".wide") && e.getBoundingClientRect().right > {width} + 0.5);
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    images: images.map(i => [i.id, i.naturalWidth, i.getBoundingClientRect().width]),
    outside: visible.map(e => e.tagName + " " + e.className),
    background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    requests: frame.contentWindow.performance.getEntriesByType("resource")
      .map(e => e.name).filter(n => !n.startsWith("data:")),
  }});
}};
</script></body>"""


def find() -> str | None:
    """The browser's path, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def measure(
    report: pathlib.Path,
    width: int,
    dark: bool = False,
    screenshot: pathlib.Path | None = None,
) -> dict[str, Any]:
    """What the browser makes of a page at a width.

    Returns:
        the page's scroll width, every image with its natural and shown width, elements
        that stick out, the background color, and whatever was fetched over the network.
    """
    browser = find()
    assert browser is not None
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copy(report, folder / "report.html")
        (folder / "probe.html").write_text(_PROBE.format(page="report.html", width=width))
        handler = functools.partial(_Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            browser,
            *_FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={max(width, 500)},900",
            "--virtual-time-budget=20000",
        ]
        if dark:
            command.append("--blink-settings=preferredColorScheme=0")
        url = f"http://127.0.0.1:{server.server_address[1]}/probe.html"
        try:
            if screenshot is not None:
                shot = [*command, f"--screenshot={screenshot}", url]
                subprocess.run(shot, check=True, capture_output=True, timeout=120)
            result = subprocess.run(
                [*command, "--dump-dom", url],
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            server.shutdown()
            server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found is not None, result.stdout[-2000:] + result.stderr[-2000:]
    measured: dict[str, Any] = json.loads(html.unescape(found[1]))
    return measured


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
