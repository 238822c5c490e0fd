"""What makes two pictures the same: their bytes, their pixels, or a difference hash at most 4 bits away."""

import hashlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NEAR = 4
"""Bits of 64 in which the hashes of near duplicates may differ."""
FLAT_BITS = 10
"""A hash with fewer bits set, or unset, tells of a flat or smoothly shaded picture: so do many others, and it proves
nothing. Two such hashes may lie within 4 bits of each other by chance."""
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""(shift, width): of five bands of 64 bits at least one is equal where at most 4 bits differ."""
CELLS = (8, 9)
"""Rows and columns of the picture that is hashed."""
LUMA = np.array([299, 587, 114], np.int64)
"""Of red, green and blue, in thousandths (ITU-R BT.601)."""
AT_ONCE = 1 << 22
"""Pairs compared at once; 8 bytes each."""


def bytes_digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 over width, height and (height, width, 3) RGB pixels: equal whatever file they came in."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def dhash(pixels: NDArray[np.uint8]) -> int:
    """64 bits of (height, width, 3) RGB pixels: in a grey picture of 9 x 8, whether each pixel is darker than its right
    neighbour, row by row."""
    grey = grey_cells(pixels, *CELLS)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def grey_cells(pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.int64]:
    """(rows, columns): the grey value of each cell of a picture, 0 to 255, rounded. As Pillow's `convert("L")` and
    `resize` with BOX, which rounds in between, in half the time (`benchmarks/decode.py`): pixels are added up where
    they lie."""
    if pixels.shape[0] < rows:
        pixels = pixels[_centres(pixels.shape[0], rows)]
    if pixels.shape[1] < columns:
        pixels = pixels[:, _centres(pixels.shape[1], columns)]
    height, width = pixels.shape[:2]
    tops, lefts = _edges(height, rows), _edges(width, columns)
    wide = np.uint16 if -(-height // rows) * 255 < 1 << 16 else np.uint32
    lines = pixels.reshape(height, -1)
    down = np.stack([np.add.reduce(lines[top:end], axis=0, dtype=wide) for top, end in pairwise(tops)])
    sums = np.add.reduceat(down.reshape(rows, width, 3), lefts[:-1], axis=1, dtype=np.int64) @ LUMA
    cells: NDArray[np.int64] = np.rint(sums / (np.outer(np.diff(tops), np.diff(lefts)) * LUMA.sum())).astype(np.int64)
    return cells


def _edges(length: int, cells: int) -> NDArray[np.int64]:
    """(cells + 1,) where cells of about equal length begin, and the end."""
    return (2 * np.arange(cells + 1) * length + cells) // (2 * cells)


def _centres(length: int, cells: int) -> NDArray[np.int64]:
    """(cells,) what lies in the middle of each of more cells than there are pixels."""
    return (2 * np.arange(cells) + 1) * length // (2 * cells)


def tells(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) whether each hash has enough structure to tell pictures apart."""
    bits = np.bitwise_count(hashes)
    return (bits >= FLAT_BITS) & (bits <= 64 - FLAT_BITS)


def near_pairs(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(K, 2) all pairs (i, j) with left[i] and right[j] at most NEAR bits apart, sorted.

    Give distinct hashes: equal ones multiply pairs. Banded, so nearly linear unless most hashes share a band.
    """
    found = [_near_in_band(left, right, shift, width) for shift, width in BANDS]
    places = np.unique(np.concatenate(found))
    return np.stack(np.divmod(places, max(1, len(right))), axis=1)


def _near_in_band(left: NDArray[np.uint64], right: NDArray[np.uint64], shift: int, width: int) -> NDArray[np.int64]:
    """(K,) i * len(right) + j of each pair: one number is sorted many times as fast as two."""
    mask = np.uint64((1 << width) - 1)
    keys, right_keys = ((hashes >> np.uint64(shift)) & mask for hashes in (left, right))
    order = np.argsort(right_keys, kind="stable")
    first = np.searchsorted(right_keys[order], keys, "left")
    counts = np.searchsorted(right_keys[order], keys, "right") - first
    found = [np.empty(0, np.int64)]
    start = 0
    ends = np.cumsum(counts)
    while start < len(left):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + AT_ONCE, "right")))
        some = counts[start:stop]
        i = np.repeat(np.arange(start, stop), some)
        offsets = np.arange(len(i)) - np.repeat(np.cumsum(some) - some, some)
        j = order[np.repeat(first[start:stop], some) + offsets]
        near = np.bitwise_count(left[i] ^ right[j]) <= NEAR
        found.append(i[near] * len(right) + j[near])
        start = stop
    return np.concatenate(found)
