# SPDX-License-Identifier: MPL-2.0
"""Pictures that tell whether they arrived whole, and that give an encoder as much to do as it may spend.

The number of the frame (cells.py of the tests) stands in four stripes from top to bottom; between them is noise that
changes with every frame; it is faint, so that an encoder may leave it out where it has no bits for it, and can spend over 10 Mbit/s
on it where it has. A frame counts as intact only if all four stripes show the same number: a lost slice, a missing
reference frame or a concealed error changes at least one of them.
"""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interop"))
import cells  # noqa: E402

WIDTH, HEIGHT, FPS = 640, 360, 30
STRIPES = 4
# Noise to the left and to the right of a gradient, by which one sees with the eye what is going on.
NOISE = 288


def stripes(height):
    """The first rows of the stripes: multiples of 8, the last one at the lower edge."""
    return [(height - cells.ROWS) * number // (STRIPES - 1) // 8 * 8 for number in range(STRIPES)]


class Scene:
    """Makes I420 pictures by their numbers; the same seed makes the same pictures."""

    def __init__(self, width=WIDTH, height=HEIGHT, seed=7):
        self.width, self.height = width, height
        source = random.Random(seed)
        self.pool = bytes(source.choices(range(104, 152), k=1 << 17))
        self.starts = source
        self.rest = bytes(40 + 170 * x // width for x in range(width - NOISE))
        self.chroma = b"\x80" * (width * height // 2)

    def draw(self, number):
        row = cells.row_of(self.width, number)
        rows = []
        shift = number * 6 % len(self.rest)
        rest = self.rest[shift:] + self.rest[:shift]
        # In blocks of 8 rows, each moved by another amount: much to code, but no white noise.
        for y in range(self.height):
            at = (number * 7919 + y // 2 * 577) % (len(self.pool) - NOISE)
            rows.append(self.pool[at:at + NOISE] + rest)
        for first in stripes(self.height):
            rows[first:first + cells.ROWS] = [row] * cells.ROWS
        return b"".join(rows) + self.chroma


def read(luma, width, height, stride):
    """(number or None, whether the picture is intact) of a decoded plane."""
    view = memoryview(luma)
    found = [cells.read_rows(view[first * stride:], width, stride) for first in stripes(height)]
    known = [number for number in found if number is not None]
    number = max(set(known), key=known.count) if known else None
    return number, number is not None and all(one == number for one in found)
