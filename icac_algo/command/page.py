"""Pieces of a page that needs no network and no scripts, light and dark."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._util.packages import required

_INK = "#20242a"
# Colours of pictures on a light page, and what they are on a dark one.
_DARK = {
    _INK: "#e3e6ea",
    "#1b6ca8": "#64b2f0",
    "#d9730d": "#ffa04a",
    "#c0392b": "#ff7d6e",
    "#444444": "#bcc3cb",
    "#555555": "#aab2bb",
    "#cccccc": "#59616b",
    "#b0b0b0": "#7a838d",
}
#: Of lines; they can be told apart on both pages.
COLOURS = ("#1b6ca8", "#d9730d", "#2f9257", "#9561c7", "#c4487f", "#8a9099")

#: Width of a picture that a phone shows whole, in inches.
PICTURE = 4.8

_STYLE = """
:root { color-scheme: light dark; --ink: #20242a; --soft: #5b6470; --page: #f4f5f7;
  --card: #fff; --line: #dfe2e7; --accent: #1b6ca8; --good: #1f7a45; --bad: #b3362a;
  --unsure: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --soft: #a2abb6;
  --page: #121519; --card: #1a1e24; --line: #303740; --accent: #64b2f0;
  --good: #5fc98a; --bad: #ff8a7c; --unsure: #f0b04f; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; padding: 1.5rem clamp(.75rem, 2.5vw, 2rem) 3rem; max-width: 80rem;
  color: var(--ink); background: var(--page); font: 1rem/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere; }
h1 { margin: .1rem 0 1rem; font-size: clamp(1.6rem, 4vw, 2.2rem); line-height: 1.2; }
h2 { margin: 0 0 .4rem; font-size: 1.3rem; line-height: 1.3; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
p { margin: .4rem 0; max-width: 75ch; }
a { color: var(--accent); }
section, .verdict, .tile { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
section { padding: clamp(.9rem, 2vw, 1.5rem); }
.kicker, .soft, figcaption, dt { color: var(--soft); font-size: .875rem; }
.verdict { padding: .9rem 1.2rem; border-left: .4rem solid var(--tone);
  font-size: 1.15rem; }
.verdict p { max-width: none; margin: 0; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); }
.unsure { --tone: var(--unsure); }
.badge { display: inline-block; padding: 0 .55rem; border: 1px solid var(--tone);
  border-radius: 1rem; color: var(--tone); font-size: .8rem; font-weight: 600;
  vertical-align: middle; }
.tiles { display: grid; gap: .75rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)); }
.tile { padding: .6rem .9rem; }
.tile b { display: block; font-size: 1.2rem; line-height: 1.3; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .9rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
.cards { display: grid; gap: 1.5rem 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 16.5rem), 1fr)); }
.halves { display: grid; gap: 0 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
.cards > *, .halves > * { min-width: 0; }
figure { margin: .8rem 0 0; } figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: .3rem; max-width: 75ch; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: .5rem 0; }
th, td { padding: .35rem .9rem .35rem 0; min-width: 9rem; text-align: left;
  vertical-align: top; overflow-wrap: break-word;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; }
tbody th { color: inherit; font-weight: 500; min-width: 7rem; max-width: 22rem; }
main { display: grid; gap: 1rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
main > * { grid-column: 1 / -1; min-width: 0; }
main > .half { grid-column: auto; }
td.figure, th.figure { min-width: 0; text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem;
  margin: .3rem 0; } dd { margin: 0; } dt { max-width: 11rem; }
pre { margin: .5rem 0; padding: .8rem 1rem; overflow-x: auto; background: var(--page);
  border: 1px solid var(--line); border-radius: .4rem; font-size: .85rem;
  overflow-wrap: normal; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; margin-top: .6rem; }
ul { margin: .3rem 0; padding-left: 1.2rem; font-size: .9rem; }
footer { margin-top: 1.5rem; }
"""


def page(title: str, body: str) -> str:
    """A whole file; the body is HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{text(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def text(words: Any) -> str:
    """Anything as text, of which nothing is taken for HTML."""
    return html.escape(str(words))


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> str:
    """A table that scrolls in a box of its own; the first ``words`` columns are text."""
    kinds = [' class="figure"' if i >= words else "" for i in range(len(head))]
    top = "".join(
        f'<th scope="col"{kind}>{text(cell)}</th>'
        for cell, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>'
        + "".join(
            f"<td{kind}>{text(cell)}</td>"
            for cell, kind in zip(others, kinds[1:], strict=True)
        )
        + "</tr>\n"
        for first, *others in rows
    )
    # What scrolls must be reached by keyboard too.
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def definitions(pairs: Iterable[tuple[str, Any]]) -> str:
    """Words and what is said of them."""
    each = (f"<dt>{text(word)}</dt><dd>{text(said)}</dd>" for word, said in pairs)
    return f"<dl>{''.join(each)}</dl>"


def beside(left: str, right: str) -> str:
    """Two pieces beside each other where there is room."""
    return f'<div class="halves"><div>{left}</div>{right}</div>'


def details(summary: str, body: str) -> str:
    return f"<details><summary>{text(summary)}</summary>{body}</details>"


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Pictures that are made in the block suit :func:`picture`."""
    library = required("matplotlib", "a report needs pictures", "'bidclick-icac[render]'")
    settings: dict[str, Any] = {
        # Names of columns are no formulas.
        "text.parse_math": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": "#555555",
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        # The same learning gives the same bytes.
        "svg.hashsalt": "icac",
    }
    with library.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def picture(figure: Any, alt: str, caption: str = "", least: float = 0.7) -> str:
    """A figure that was drawn in :func:`drawing`, for both pages.

    On a narrow screen it shrinks to the share ``least`` of its size, then it scrolls.
    """
    buffer = io.BytesIO()
    # Without a date: the same figure gives the same bytes.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    light = dark = buffer.getvalue().decode()
    for on_light, on_dark in _DARK.items():
        dark = dark.replace(on_light, on_dark)
    width = figure.get_figwidth() * 96.0
    style = f"min-width:{least * width:.0f}px;max-width:{1.15 * width:.0f}px"
    said = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return (
        '<figure><div class="wide" tabindex="0"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_inline(dark)}">'
        f'<img src="{_inline(light)}" alt="{text(alt)}" style="{style}">'
        f"</picture></div>{said}</figure>"
    )


def figures(value: float) -> str:
    """A number of about four digits."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"


def between(value: float, lower: float, upper: float) -> str:
    """A number and its interval."""
    if not math.isfinite(lower):
        return f"{figures(value)} [no interval]"
    return f"{figures(value)} [{figures(lower)}, {figures(upper)}]"


def short(words: str, most: int = 24) -> str:
    """A name for a picture."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _inline(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
