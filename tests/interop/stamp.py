# SPDX-License-Identifier: MPL-2.0
"""A frame number that survives a lossy codec.

The top rows of the picture hold 32 black or white cells: 20 bits of frame number, 12 bits of check sum. A
receiver reads them back from the decoded luma and so knows which frames are missing, doubled or out of order.
"""

import numpy as np

CELLS = 32
ROWS = 32
NUMBER_BITS = 20
BLACK, WHITE = 16, 235


def _check(number):
    """12 bits that differ for neighbouring numbers."""
    return (number * 2654435761 >> 7) & 0xFFF


def draw(luma, number):
    """Write `number` over the top of `luma`, a 2-D uint8 array."""
    word = (number & ((1 << NUMBER_BITS) - 1)) << 12 | _check(number)
    edges = np.linspace(0, luma.shape[1], CELLS + 1).astype(int)
    for cell in range(CELLS):
        bit = word >> (CELLS - 1 - cell) & 1
        luma[:ROWS, edges[cell]:edges[cell + 1]] = WHITE if bit else BLACK


def read(luma):
    """The number in `luma`, or None where no stamp can be read."""
    edges = np.linspace(0, luma.shape[1], CELLS + 1)
    word = 0
    for cell in range(CELLS):
        width = edges[cell + 1] - edges[cell]
        left, right = int(edges[cell] + width / 4), int(edges[cell + 1] - width / 4)
        word = word << 1 | int(luma[ROWS // 4:3 * ROWS // 4, left:right].mean() > (BLACK + WHITE) / 2)
    number = word >> 12
    return number if word & 0xFFF == _check(number) else None


def luma_of(frame):
    """The luma of a PyAV video frame, without padding, as a 2-D array."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:frame.height, :frame.width]


def scene(width, height, number, noise=112, seed=7):
    """A yuv420p picture (planes stacked, as `VideoFrame.from_ndarray` wants them): gradient, moving noise, stamp.

    The noise gives the encoder something to spend bits on, so that a recording grows at a steady rate.
    """
    picture = np.empty((height * 3 // 2, width), np.uint8)
    luma = picture[:height]
    luma[:] = np.linspace(40, 210, width, dtype=np.uint8)
    if noise:
        x = number * 6 % (width - noise)
        y = ROWS + number * 2 % (height - ROWS - noise)
        luma[y:y + noise, x:x + noise] = np.random.default_rng(seed * 1_000_003 + number).integers(16, 235, (noise, noise))
    picture[height:] = 128
    draw(luma, number)
    return picture


class Tally:
    """What a receiver makes of the numbers it read, in the order in which it read them."""

    def __init__(self):
        self.numbers = []
        self.unreadable = 0

    def add(self, number):
        if number is None:
            self.unreadable += 1
        else:
            self.numbers.append(number)

    def summary(self):
        """Plain values, fit for JSON."""
        seen = set(self.numbers)
        first, last = (min(seen), max(seen)) if seen else (None, None)
        gaps = sorted(set(range(first, last + 1)) - seen) if seen else []
        return {
            "frames": len(self.numbers) + self.unreadable,
            "unreadable": self.unreadable,
            "first": first,
            "last": last,
            "missing": len(gaps),
            "missing_numbers": gaps[:20],
            "duplicates": len(self.numbers) - len(seen),
            "backwards": sum(b < a for a, b in zip(self.numbers, self.numbers[1:])),
        }
