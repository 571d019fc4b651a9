"""The figures as a picture: one line a comparison, ratios to the raw module, or to what it is
compared with instead, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape

from aims import aim_of
from figures import Comparison
from report import SUITES, Document

WIDTH, LEFT, RIGHT = 860, 300, 30
ROW, TITLE, TOP = 17, 30, 84
STYLE = """
    svg { --paper: #ffffff; --ink: #24292f; --faint: #6e7781; --grid: #d8dee4;
          --hwid: #0969da; --copy: #8250df; --soft: #1a7f37; --aim: #bc4c00; }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #0d1117; --ink: #e6edf3; --faint: #8d96a0; --grid: #30363d;
            --hwid: #58a6ff; --copy: #bc8cff; --soft: #3fb950; --aim: #f0883e; }
    }
    .paper { fill: var(--paper) } text { fill: var(--ink) } .faint { fill: var(--faint) }
    .title { font-size: 15px; font-weight: bold } .suite { font-weight: bold }
    .end { text-anchor: end } .middle { text-anchor: middle }
    .grid { stroke: var(--grid) } .raw { stroke: var(--ink); stroke-width: 1.5 }
    .aim { stroke: var(--aim); stroke-width: 2.5 }
    .hwid { fill: var(--hwid); stroke: var(--hwid); stroke-width: 2 }
    .raw_copy { fill: var(--paper); stroke: var(--copy); stroke-width: 1.5 }
    .software { fill: var(--paper); stroke: var(--soft); stroke-width: 1.5 }
"""
LABELS = {"hwid": "hwid, with its interval", "raw_copy": "raw with a session copy of the key",
          "software": "software key"}


class Scale:
    """Ratios to places, logarithmic, from one power of two to another."""

    def __init__(self, ratios: list[float]):
        self.low = math.floor(math.log2(min([*ratios, 0.9])))
        self.high = math.ceil(math.log2(max([*ratios, 1.1])))

    def place(self, ratio: float) -> float:
        part = (math.log2(ratio) - self.low) / (self.high - self.low)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        step = 1 if self.high - self.low <= 7 else 2
        return [2.0**power for power in range(self.low, self.high + 1)
                if power % step == 0]


def mark(name: str, x: float, y: float) -> str:
    if name == "hwid":
        return f'<circle class="hwid" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if name == "software":
        return f'<rect class="software" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
    return (f'<path class="{name}" d="M{x:.1f} {y - 4.5:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>')


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def draw_row(comparison: Comparison, scale: Scale, y: float) -> list[str]:
    threads = comparison.threads
    label = comparison.name
    if comparison.has_threads:
        label += f", {threads} thread" + ("s" if threads > 1 else "")
    parts = [text("end", LEFT - 12, y + 4, label)]
    aim = aim_of(comparison)
    if aim and aim.ratio:
        x = scale.place(aim.ratio)
        parts.append(line("aim", x, y - 7, x, y + 7))
    for name in ("software", "raw_copy", "hwid"):
        if name not in comparison.names():
            continue
        figure = comparison.ratio(name)
        if name == "hwid":
            parts.append(line("hwid", scale.place(figure.low), y, scale.place(figure.high), y))
        parts.append(mark(name, scale.place(figure.median), y))
    return parts


def draw_panel(comparisons: list[Comparison], title: str, y: float) -> tuple[list[str], float]:
    ratios = []
    for one in comparisons:
        for name in one.names():
            figure = one.ratio(name)
            ratios += [figure.low, figure.high] if name == "hwid" else [figure.median]
    scale = Scale(ratios)
    head, body = [text("title", 20, y, title)], []
    y += 8
    top = y
    for suite in SUITES:
        rows = [one for one in comparisons if one.suite == suite]
        if not rows:
            continue
        y += TITLE
        heading = SUITES[suite][0].replace("`", "")
        if rows[0].reference != "raw":
            heading += f", to {rows[0].reference}"
        body.append(text("suite", 20, y - 8, heading))
        for one in rows:
            body += draw_row(one, scale, y + ROW / 2)
            y += ROW
    for tick in scale.ticks():
        x = scale.place(tick)
        head.append(line("raw" if tick == 1 else "grid", x, top, x, y + 4))
        head.append(text("faint middle", x, y + 18, "1" if tick == 1 else f"{tick:g}"))
    return head + body, y + 56


def legend(y: float) -> list[str]:
    parts, x = [], 24
    for name, label in LABELS.items():
        parts += [mark(name, x, y - 4), text("faint", x + 12, y, label)]
        x += 40 + 6.6 * len(label)
    return [*parts, line("aim", x, y - 11, x, y + 3), text("faint", x + 10, y, "aim")]


def svg(document: Document, comparisons: list[Comparison], machine: str) -> str:
    parts = [*legend(52)]
    y = float(TOP + 10)
    for is_rate, title in ((True, f"Operations a second, to {document.reference}: more is better"),
                           (False, f"Time or memory, to {document.reference}: less is better")):
        panel = [one for one in comparisons if one.is_rate == is_rate]
        if panel:
            drawn, y = draw_panel(panel, title, y)
            parts += drawn
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 10:.0f}" '
            f'font-family="sans-serif" font-size="12">\n  <title>{document.title}</title>\n'
            f"  <style>{STYLE}  </style>\n"
            f'  <rect class="paper" width="{WIDTH}" height="{y - 10:.0f}"/>\n')
    lines = [text("title", 20, 28, document.title),
             text("faint", 32 + 9.3 * len(document.title), 28, machine), *parts]
    return head + "".join(f"  {one}\n" for one in lines) + "</svg>\n"
