# SPDX-License-Identifier: MPL-2.0
"""Bars in groups as a small SVG file: a median, and a line from the least to the most."""

import pathlib
import statistics
import sys
from xml.sax.saxutils import escape

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "network"))
import plot  # noqa: E402

BAR, GAP, LEFT, HEAD = 15, 12, 190, 52
STYLE = "".join(f".b{number}{{fill:{light}}}" for number, light in enumerate(("#0b62c4", "#c2410c", "#15803d", "#7e22ce", "#7a6a00"))) + \
    ".range{stroke:#333;stroke-width:1.4}@media(prefers-color-scheme:dark){.range{stroke:#eee}" + \
    "".join(f".b{number}{{fill:{dark}}}" for number, dark in enumerate(("#6db3ff", "#ff9a5c", "#5fd38a", "#c99bff", "#d9c64a"))) + "}"


def svg(title, groups):
    """`groups`: [(name, {series: [value of each run]})]; a series has one colour in all of them."""
    series = list(dict.fromkeys(name for _, found in groups for name in found))
    end = 1.08 * max(value for _, found in groups for values in found.values() for value in values) or 1
    height = HEAD + sum(GAP + BAR * len(found) for _, found in groups) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plot.WIDTH} {height}" role="img">', "<!-- SPDX-License-Identifier: MPL-2.0 -->",
           f"<style>{plot.STYLE}{STYLE}</style>", f'<text class="title" x="8" y="18">{escape(title)}</text>']
    at = 8
    for number, name in enumerate(series):
        out.append(f'<rect class="b{number % 5}" x="{at}" y="30" width="14" height="10"/><text x="{at + 19}" y="39">{escape(name)}</text>')
        at += 36 + 6.8 * len(name)

    def place(value):
        return LEFT + (plot.WIDTH - LEFT - 60) * value / end

    for value in plot.ticks(end):
        out.append(f'<line class="grid" x1="{place(value):.1f}" x2="{place(value):.1f}" y1="{HEAD}" y2="{height - 24}"/>'
                   f'<text x="{place(value):.1f}" y="{height - 8}" text-anchor="middle">{plot.said(value)}</text>')
    y = HEAD
    for name, found in groups:
        y += GAP
        out.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(found) / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for kind, values in found.items():
            middle, bottom = statistics.median(values), y + BAR / 2
            out.append(f'<rect class="b{series.index(kind) % 5}" x="{LEFT}" y="{y + 1}" width="{place(middle) - LEFT:.1f}" height="{BAR - 2}"/>'
                       f'<line class="range" x1="{place(min(values)):.1f}" x2="{place(max(values)):.1f}" y1="{bottom}" y2="{bottom}"/>'
                       f'<text x="{place(max(values)) + 6:.1f}" y="{bottom + 4}">{middle:.3g}</text>')
            y += BAR
    return "\n".join([*out, "</svg>", ""])
