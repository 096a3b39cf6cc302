# SPDX-License-Identifier: MPL-2.0
"""A frame number that survives a lossy codec: the cells of cells.py, drawn into numpy arrays and read from them."""

import numpy as np

from cells import BLACK, CELLS, ROWS, WHITE, Tally, bits_of, number_of

__all__ = ["ROWS", "Tally", "draw", "luma_of", "read", "scene"]


def draw(luma, number):
    """Write `number` over the top of `luma`, a 2-D uint8 array."""
    edges = np.linspace(0, luma.shape[1], CELLS + 1).astype(int)
    for cell, bit in enumerate(bits_of(number)):
        luma[:ROWS, edges[cell]:edges[cell + 1]] = WHITE if bit else BLACK


def read(luma, rows=ROWS):
    """The number in `luma`, or None where no stamp can be read; `rows` is its height, in a picture that was scaled."""
    edges = np.linspace(0, luma.shape[1], CELLS + 1)
    bits = []
    for cell in range(CELLS):
        width = edges[cell + 1] - edges[cell]
        left, right = int(edges[cell] + width / 4), int(edges[cell + 1] - width / 4)
        bits.append(luma[rows // 4:3 * rows // 4, left:right].mean() > (BLACK + WHITE) / 2)
    return number_of(bits)


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
