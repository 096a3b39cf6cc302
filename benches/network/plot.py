# SPDX-License-Identifier: MPL-2.0
"""Line plots as small SVG files, legible on light and on dark pages."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 720, 58, 16, 40, 34
STYLE = """
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:14px;font-weight:600}.grid{stroke:#ddd}.limit{stroke:#888;stroke-dasharray:5 4}
path{fill:none;stroke-width:1.7;stroke-linejoin:round}.s0{stroke:#0b62c4}.s1{stroke:#c2410c}.s2{stroke:#15803d}.s3{stroke:#7e22ce}
.s4{stroke:#b0267a}.s5{stroke:#7a6a00}
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.limit{stroke:#aaa}.s0{stroke:#6db3ff}.s1{stroke:#ff9a5c}.s2{stroke:#5fd38a}.s3{stroke:#c99bff}
.s4{stroke:#ff8ccf}.s5{stroke:#d9c64a}}
"""


def ticks(top):
    """About five round numbers from 0 to `top`."""
    if top <= 0:
        return [0]
    unit = 10.0 ** (len(str(int(top))) - 1 if top >= 1 else -1)
    step = next(unit * factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 5) if top / (unit * factor) <= 6)
    return [step * number for number in range(int(top / step + 1e-9) + 1)]


def said(value):
    return f"{value:.6g}"


class Panel:
    """One pair of axes. `lines`: [(name, [(x, y)…])]; `limit`: a dashed line, as [(x, y)…], called `limit_name`."""

    def __init__(self, title, y_name, lines, x_end, y_end=None, limit=(), limit_name="", height=190):
        self.title, self.y_name, self.lines, self.x_end, self.height = title, y_name, lines, x_end, height
        self.limit, self.limit_name = limit, limit_name
        points = [y for _, line in lines for _, y in line] + [y for _, y in limit]
        self.y_end = y_end or 1.08 * max(points, default=1) or 1

    def draw(self, y0, x_name, palette):
        bottom, top = y0 + self.height - BOTTOM, y0 + TOP

        def place(x, y):
            return (LEFT + (WIDTH - LEFT - RIGHT) * x / self.x_end, bottom - (bottom - top) * min(y, self.y_end) / self.y_end)

        out = [f'<text class="title" x="{LEFT}" y="{y0 + 16}">{escape(self.title)}, {escape(self.y_name)}</text>']
        for value in ticks(self.y_end):
            x, y = place(0, value)
            out.append(f'<line class="grid" x1="{x}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/><text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{said(value)}</text>')
        for value in ticks(self.x_end):
            x, _ = place(value, 0)
            out.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{said(value)}</text>')
        out.append(f'<text x="{WIDTH - RIGHT}" y="{bottom + 30}" text-anchor="end">{escape(x_name)}</text>')
        at = LEFT
        for name, _ in self.lines:
            out.append(f'<line class="s{palette[name]}" x1="{at}" x2="{at + 18}" y1="{y0 + 29}" y2="{y0 + 29}" stroke-width="3"/><text x="{at + 23}" y="{y0 + 33}">{escape(name)}</text>')
            at += 36 + 6.6 * len(name)
        if self.limit:
            out.append(f'<line class="limit" x1="{at}" x2="{at + 18}" y1="{y0 + 29}" y2="{y0 + 29}"/><text x="{at + 23}" y="{y0 + 33}">{escape(self.limit_name)}</text>')
            out.append(self.path("limit", self.limit, place))
        shown = [(name, [point for point in line if point[0] <= self.x_end]) for name, line in self.lines]
        out += [self.path(f"s{palette[name]}", line, place) for name, line in shown]
        return out

    @staticmethod
    def path(style, points, place):
        words = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        return f'<path class="{style}" d="M{words}"/>' if words else ""


def svg(panels, x_name):
    """The panels one above the other; a line of one name has one colour in all of them."""
    names = list(dict.fromkeys(name for panel in panels for name, _ in panel.lines))
    palette = {name: number % 6 for number, name in enumerate(names)}
    height = sum(panel.height for panel in panels)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">', "<!-- SPDX-License-Identifier: MPL-2.0 -->",
           f"<style>{STYLE}</style>"]
    y = 0
    for panel in panels:
        out += panel.draw(y, x_name, palette)
        y += panel.height
    return "\n".join([*out, "</svg>", ""])


def thin(points, most=700):
    """At most so many points: of each stretch the highest."""
    size = -(-len(points) // most) or 1
    return [max(points[at:at + size], key=lambda point: point[1]) for at in range(0, len(points), size)]
