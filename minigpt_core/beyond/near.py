"""Documents that are almost the same, found by MinHash (Broder 1997): the share of pieces that two documents have in common,
estimated from the smallest hashes of each."""

from collections.abc import Iterator

import numpy as np

PIECE = 16  # bytes
HASHES = 64  # a document; the estimate is off by about 0.05
ROWS = 4  # hashes a band; documents with no band in common are never compared
SIMILAR = 0.8  # share of the pieces in common
_ODD = 0x9E3779B97F4A7C15


def signature(text: bytes) -> np.ndarray:
    """Of all hashes of the document's pieces, each PIECE bytes long, the smallest in each of HASHES equal ranges, uint32 of
    shape (HASHES,). A range without any takes that of the next one (Shrivastava and Li 2014).

    >>> count = lambda a, b: " ".join(map(str, range(a, b))).encode()
    >>> bool(0.6 < (signature(count(0, 900)) == signature(count(100, 1000))).mean() < 0.9)    # 0.8 of their pieces in common
    True
    """
    hashes = np.frombuffer(text.ljust(PIECE, b"\0"), dtype=np.uint8).astype(np.uint64)
    width, factor = 1, _ODD
    while width < PIECE:  # the hash of a piece from those of its halves
        hashes = hashes[:-width] * np.uint64(factor) + hashes[width:]
        width, factor = 2 * width, factor * factor % 2**64
    hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(_ODD)
    hashes ^= hashes >> np.uint64(32)
    hashes.sort()
    bounds = np.arange(HASHES, dtype=np.uint64) << np.uint64(64 - HASHES.bit_length() + 1)
    first = np.searchsorted(hashes, bounds) % len(
        hashes
    )  # the smallest in its range or, where that is empty, in the next
    return hashes[first].astype(np.uint32)


def similar_pairs(signatures: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Of `signatures`, shape (n, HASHES), each document that is like an earlier one: both, and their estimated similarity.
    One is named for each, the earliest that was found. Documents of exactly SIMILAR are found in 999 cases of 1,000.

    >>> list(similar_pairs(np.stack([signature(text) for text in (b"a" * 99, b"The lamp was lit. " * 9, b"a" * 98)])))
    [(2, 0, 1.0)]
    """
    like: dict[int, tuple[int, float]] = {}
    for begin in range(0, HASHES, ROWS):
        band = np.ascontiguousarray(signatures[:, begin : begin + ROWS])
        _, first, which = np.unique(band.view(f"V{4 * ROWS}").ravel(), return_index=True, return_inverse=True)
        earlier = first[which]  # the first document with the same band
        for later in np.flatnonzero(earlier != np.arange(len(band))).tolist():
            other = int(earlier[later])
            if later not in like or other < like[later][0]:
                similarity = float((signatures[later] == signatures[other]).mean())
                if similarity >= SIMILAR:
                    like[later] = other, similarity
    yield from ((later, *like[later]) for later in sorted(like))
