"""What makes two pictures the same: their bytes, their pixels, or a difference hash at most 4 bits away."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

NEAR = 4
"""Bits of 64 in which the hashes of near duplicates may differ."""
FLAT_BITS = 10
"""A hash with fewer bits set, or unset, tells of a flat or smoothly shaded picture: so do many others, and it proves
nothing. Two such hashes may lie within 4 bits of each other by chance."""
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""(shift, width): of five bands of 64 bits at least one is equal where at most 4 bits differ."""
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


def dhash(rgb: Pictures.Image) -> int:
    """64 bits: in a grey picture of 9 x 8, whether each pixel is darker than its right neighbour, row by row."""
    grey = np.asarray(rgb.convert("L").resize((9, 8), Pictures.Resampling.BOX))
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


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
