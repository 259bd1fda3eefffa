"""Rows of a store on disk are those that are packed in memory, and what is prepared is whole or not there."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.data import Packed, PackedRows, TokenStore, pack, prepare, write_token_store

PARTS = ("tokens", "positions", "segments", "targets")
BOS, PAD = 5, 3


def store_of(
    sequences: Sequence[Sequence[int]], folder: Path, masks: Sequence[Sequence[bool]] | None, bos: int | None
) -> TokenStore:
    with write_token_store(folder, 70_000, bos=bos, pad=PAD, masked=masks is not None) as writer:
        for number, sequence in enumerate(sequences):
            writer.append(sequence, None if masks is None else masks[number])
    return TokenStore(folder)


def numbered(lengths: list[int]) -> list[list[int]]:
    ends = np.cumsum([10, *lengths]).tolist()
    return [list(range(start, start + size)) for start, size in zip(ends, lengths, strict=False)]


def rows_of(packed: Packed) -> list[tuple[Any, ...]]:
    return sorted(
        tuple(tuple(getattr(packed, part)[row].tolist()) for part in PARTS) for row in range(len(packed))
    )


@settings(deadline=None, max_examples=15)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=30),
    length=st.integers(2, 20),
    bos=st.sampled_from([BOS, None]),
    masked=st.booleans(),
    data=st.data(),
)
def test_rows_on_disk_are_the_rows_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    length: int,
    bos: int | None,
    masked: bool,
    data: Any,
) -> None:
    sequences = numbered(lengths)
    masks = [data.draw(st.lists(st.booleans(), min_size=size, max_size=size)) for size in lengths]
    expected = pack(sequences, masks if masked else None, length, bos=bos, pad=PAD)
    folder = tmp_path_factory.mktemp("rows") / "store"
    rows = PackedRows(store_of(sequences, folder, masks if masked else None, bos), length)
    assert len(rows) == len(expected)
    assert rows.total_tokens == expected.total_tokens
    assert rows_of(rows.take(np.arange(len(rows)))) == rows_of(expected)
    # Any rows, in any order and more than once, as in memory.
    chosen = np.array(data.draw(st.lists(st.integers(0, max(len(rows) - 1, 0)), max_size=5)), np.int64)
    if len(rows):
        everything, some = rows.take(np.arange(len(rows))), rows.take(chosen)
        for part in PARTS:
            assert np.array_equal(getattr(some, part), getattr(everything, part)[chosen])


@pytest.mark.parametrize(("tokens", "sequences"), [(50, 1 << 17), (1 << 23, 7), (1, 1)])
def test_windows_lose_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int, sequences: int
) -> None:
    monkeypatch.setattr("jielong.data.packed_rows._WINDOW_TOKENS", tokens)
    monkeypatch.setattr("jielong.data.packed_rows._WINDOW_SEQUENCES", sequences)
    generator = np.random.default_rng(0)
    corpus = numbered(generator.integers(0, 60, 200).tolist())
    rows = PackedRows(store_of(corpus, tmp_path / "store", None, BOS), 16)
    packed = rows.take(np.arange(len(rows)))
    bodies = packed.tokens[(packed.segments > 0) & (packed.tokens != BOS)]
    assert sorted(bodies.tolist()) == [token for sequence in corpus for token in sequence]
    following = np.roll(packed.tokens, -1, axis=1)[packed.targets]
    assert sorted(following.tolist()) == [token for sequence in corpus for token in sequence[1:]]
    assert rows.total_tokens == packed.total_tokens


def test_a_plan_is_made_once_and_follows_the_length(tmp_path: Path) -> None:
    store = store_of(numbered([20, 30]), tmp_path / "store", None, BOS)
    first = PackedRows(store, 8)
    plan = tmp_path / "store" / "rows-8" / "pieces.bin"
    before = plan.stat().st_mtime_ns
    assert len(PackedRows(store, 8)) == len(first)
    assert plan.stat().st_mtime_ns == before
    assert len(PackedRows(store, 32)) < len(first)


def make(aside: Path) -> dict[str, Any]:
    (aside / "data").write_text("whole")
    return {"notes": 1}


def fail(_: Path) -> dict[str, Any]:
    raise AssertionError("made again")


def test_what_is_prepared_is_used_while_its_identity_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    assert prepare(folder, {"files": [("a", "1")]}, make) == {"notes": 1}
    assert prepare(folder, {"files": [("a", "1")]}, fail) == {"notes": 1}
    with pytest.raises(AssertionError, match="made again"):
        prepare(folder, {"files": [("a", "2")]}, fail)
    assert prepare(folder, {"files": [("a", "1")]}, fail) == {"notes": 1}, "a failure keeps the old one"
    (folder / "manifest.json").write_text("{")
    assert prepare(folder, {"files": [("a", "1")]}, make) == {"notes": 1}


def write_for_ever(folder: Path) -> None:
    def never_done(aside: Path) -> dict[str, Any]:
        while True:
            with (aside / "data").open("a") as file:
                file.write("x")

    prepare(folder, {}, never_done)


def test_a_kill_while_preparing_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(folder,))
    process.start()
    while not list(tmp_path.glob(".prepared.*.tmp/data")):
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not folder.exists()
    prepare(folder, {}, make)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"], "what the kill left is removed"
