# SPDX-License-Identifier: MPL-2.0
"""The frame number in a picture, without any library: what stamp.py draws and the peers read.

The top rows of the picture hold 32 black or white cells: 20 bits of frame number, 12 bits of check sum. A
receiver reads them back from the decoded luma and so knows which frames are missing, doubled or out of order.
"""

CELLS = 32
ROWS = 32
NUMBER_BITS = 20
BLACK, WHITE = 16, 235


def _check(number):
    """12 bits that differ for neighbouring numbers."""
    return (number * 2654435761 >> 7) & 0xFFF


def bits_of(number):
    """The cells from left to right, 0 black and 1 white."""
    number &= (1 << NUMBER_BITS) - 1
    word = number << 12 | _check(number)
    return [word >> (CELLS - 1 - cell) & 1 for cell in range(CELLS)]


def number_of(bits):
    """The number in the cells, or None where the check sum is wrong."""
    word = 0
    for bit in bits:
        word = word << 1 | int(bit)
    number = word >> 12
    return number if word & 0xFFF == _check(number) else None


def row_of(width, number):
    """One row of luma with the cells of `number`; the top ROWS rows of a picture are this."""
    edges = [width * cell // CELLS for cell in range(CELLS + 1)]
    return b"".join(bytes([WHITE if bit else BLACK]) * (edges[cell + 1] - edges[cell]) for cell, bit in enumerate(bits_of(number)))


def read_rows(luma, width, stride):
    """The number in the plane `luma` (bytes), or None: the middle of each cell, in three rows."""
    middles = [width * (2 * cell + 1) // (2 * CELLS) for cell in range(CELLS)]
    rows = (ROWS // 4, ROWS // 2, 3 * ROWS // 4)
    return number_of(sum(luma[row * stride + at] for row in rows) > len(rows) * (BLACK + WHITE) / 2 for at in middles)


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
