"""Packed rows of a token store: the plan of the rows lies on disk, and rows are put together when drawn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jielong.data.file_array import FileArray
from jielong.data.packing import Packed, Pieces, Places, best_fit, cut, fill
from jielong.data.prepared import prepare
from jielong.data.token_store import TokenStore

_PIECES, _BEGINNINGS = "pieces.bin", "rows.bin"
_PIECE = np.dtype([("start", "<i8"), ("size", "<i4"), ("prefixed", "<i4")])
_WINDOW_TOKENS = 1 << 23
_WINDOW_SEQUENCES = 1 << 17


class PackedRows:
    """The sequences of a store in rows of one length, as `pack` makes them; memory does not grow with it.

    Sequences are packed a window of 8 million tokens at a time. The plan says which pieces of which
    sequences are in which row; it lies in the store's folder and is made when it is not there.

    Args:
        store: the sequences.
        length: tokens in a row.
    """

    def __init__(self, store: TokenStore, length: int) -> None:
        folder = store.folder / f"rows-{length}"
        counts = prepare(
            folder, {"store": store.fingerprint}, lambda aside: _write_plan(store, length, aside)
        )
        self._store, self._length = store, length
        self._pieces = FileArray(folder / _PIECES, _PIECE, int(counts["pieces"]))
        self._beginnings = FileArray(folder / _BEGINNINGS, np.dtype("<i8"), int(counts["rows"]) + 1)
        self.total_tokens = int(counts["tokens"])

    def __len__(self) -> int:
        return len(self._beginnings) - 1

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Some of the rows, read from the store."""
        plan = [self._pieces.read(*self._beginnings.read(row, row + 2).tolist()) for row in rows.tolist()]
        pieces = np.concatenate([np.zeros(0, _PIECE), *plan])
        counts = np.array([len(row) for row in plan], np.int64)
        sizes, prefixed = pieces["size"].astype(np.int64), pieces["prefixed"].astype(np.int64)
        own = sizes - prefixed
        spans = list(zip(pieces["start"].tolist(), (pieces["start"] + own).tolist(), strict=True))
        store = self._store
        tokens = np.concatenate([np.zeros(0, np.int32), *(store.tokens.read(*span) for span in spans)])
        learned = np.ones(len(tokens), np.bool_)
        if store.learned is not None:
            learned = np.concatenate([np.zeros(0, np.bool_), *(store.learned.read(*span) for span in spans)])
        return fill(
            tokens.astype(np.int32, copy=False), learned, Pieces(np.cumsum(own) - own, sizes, prefixed),
            _in_rows(sizes, counts), self._length, store.bos or 0, store.pad,
        )  # fmt: skip


def _in_rows(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> Places:
    """Places of pieces that come row by row, each row's in their order."""
    rows = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    before = np.cumsum(sizes) - sizes
    return Places(rows, before - before[first], np.arange(len(sizes)) - first + 1, len(counts))


def _write_plan(store: TokenStore, length: int, folder: Path) -> dict[str, int]:
    counts = {"rows": 0, "pieces": 0, "tokens": 0}
    with (folder / _PIECES).open("wb") as pieces_file, (folder / _BEGINNINGS).open("wb") as rows_file:
        rows_file.write(np.zeros(1, "<i8").tobytes())
        for start, lengths in _windows(store):
            pieces = cut(lengths, length, store.bos is not None)
            places = best_fit(pieces.sizes, length)
            order = np.lexsort((places.segments, places.rows))
            plan = np.empty(len(order), _PIECE)
            plan["start"] = start + pieces.starts[order]
            plan["size"], plan["prefixed"] = pieces.sizes[order], pieces.prefixed[order]
            pieces_file.write(plan.tobytes())
            ends = counts["pieces"] + np.cumsum(np.bincount(places.rows, minlength=places.count))
            rows_file.write(ends.astype("<i8").tobytes())
            counts["rows"] += places.count
            counts["pieces"] += len(order)
            counts["tokens"] += int(pieces.sizes.sum())
    return counts


def _windows(store: TokenStore) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Stretches of whole sequences that hold so many tokens, or one sequence: (first token, lengths)."""
    begin = start = 0
    while begin < len(store):
        ends = store.ends.read(begin, min(begin + _WINDOW_SEQUENCES, len(store)))
        count = max(1, int(np.searchsorted(ends, start + _WINDOW_TOKENS, "right")))
        yield start, np.diff(ends[:count], prepend=start)
        begin, start = begin + count, int(ends[count - 1])
