// SPDX-License-Identifier: MPL-2.0
// The frame number in the picture, as in ../cells.py: 32 cells over the top 32 rows, 20 bits of number, 12 of check sum.
'use strict';

const CELLS = 32;
const ROWS = 32;

function checkOf(number) {
  // At most 2^52: exact in a double.
  return Math.floor((number * 2654435761) / 128) % 4096;
}

function drawStamp(context, width, number) {
  const high = number % 2 ** 20;
  const bits = high.toString(2).padStart(20, '0') + checkOf(high).toString(2).padStart(12, '0');
  for (let cell = 0; cell < CELLS; cell++) {
    const left = Math.floor((width * cell) / CELLS);
    const right = Math.floor((width * (cell + 1)) / CELLS);
    context.fillStyle = bits[cell] === '1' ? '#fff' : '#000';
    context.fillRect(left, 0, right - left, ROWS);
  }
}

/** The number in the picture that `context` (ROWS high) holds, or null. */
function readStamp(context, width) {
  const row = context.getImageData(0, ROWS / 2, width, 1).data;
  let bits = '';
  for (let cell = 0; cell < CELLS; cell++) {
    const middle = Math.floor((width * (cell + 0.5)) / CELLS);
    bits += row[middle * 4 + 1] > 125 ? '1' : '0';
  }
  const number = parseInt(bits.slice(0, 20), 2);
  return parseInt(bits.slice(20), 2) === checkOf(number) ? number : null;
}
