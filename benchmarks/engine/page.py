"""Reports as one page that needs no network, readable on a phone, light and dark."""

from __future__ import annotations

import base64
import html
import pathlib
import re

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark; --ink: #222; --page: #fff; --soft: #f3f3f1;
  --line: #d8d8d4; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --page: #16181b;
  --soft: #22252a; --line: #3a3e44; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--ink);
  background: var(--page); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; padding: .5rem; background: var(--soft); border-radius: .4rem; }
figure img { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; font-size: .8rem; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; overflow-wrap: normal; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--soft); }
"""


def page_of(markdown: str, folder: pathlib.Path) -> str:
    """A report as self-contained HTML: its tables can be scrolled, its PNGs are inside.

    Pictures of one paragraph stand side by side where there is room.
    """
    title = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")

    def embedded(found: re.Match[str]) -> str:
        name = found["name"]
        content = base64.b64encode((folder / name).read_bytes()).decode()
        return (
            f'<figure><img src="data:image/png;base64,{content}" '
            f'alt="{found["alt"]}" id="{pathlib.PurePath(name).stem}"></figure>'
        )

    picture = r'<img src="(?P<name>[^"]+)" alt="(?P<alt>[^"]*)" ?/?>'

    def side_by_side(found: re.Match[str]) -> str:
        return f'<div class="pictures">{re.sub(picture, embedded, found[1])}</div>'

    body = re.sub(rf"<p>{picture}</p>", embedded, body)
    body = re.sub(r"<p>((?:<img [^>]+>\s*)+)</p>", side_by_side, body)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title[1] if title else "")}'
        f"</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
