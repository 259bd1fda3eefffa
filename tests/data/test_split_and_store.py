"""Held-out splits that stay put, and token stores that are whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import JielongError, UsageError
from jielong.data import (
    Document,
    Fingerprint,
    TokenStore,
    fingerprint_documents,
    is_heldout,
    sample_documents,
    split_heldout,
    tokenize_documents,
    write_token_store,
)


def documents(count: int) -> list[Document]:
    return [Document(f"d{number}", f"第 {number} 篇文章") for number in range(count)]


def ids(part: list[Document]) -> set[str]:
    return {document.id for document in part}


def test_adding_documents_does_not_reshuffle() -> None:
    few, many = documents(400), documents(1000)
    assert ids(split_heldout(few, fraction=0.1)[1]) == ids(split_heldout(many, fraction=0.1)[1]) & ids(few)
    held = split_heldout(many, fraction=0.1)[1]
    assert 60 < len(held) < 140
    assert ids(held) == {document.id for document in many if is_heldout(document, 0.1, 0)}
    assert ids(held) != ids(split_heldout(many, fraction=0.1, seed=1)[1])
    assert held == split_heldout(list(reversed(many)), fraction=0.1)[1][::-1]


def test_copies_land_on_one_side() -> None:
    copies = [Document(f"copy{n}", f"  第 {n % 50}  篇文章\n".upper()) for n in range(100)] + documents(50)
    for split in (split_heldout(copies, fraction=0.3), split_heldout(copies, number=20)):
        training, held = ({" ".join(d.text.split()) for d in part} for part in split)
        assert training
        assert held
        assert not training & held


@given(count=st.integers(2, 60), number=st.integers(1, 80), seed=st.integers(0, 5))
def test_a_number_is_kept_to_and_both_sides_have_something(count: int, number: int, seed: int) -> None:
    training, held = split_heldout(documents(count), number=number, seed=seed)
    assert len(held) == min(number, count - 1)
    assert len(training) + len(held) == count
    smaller = split_heldout(documents(count), number=1, seed=seed)[1]
    assert ids(smaller) <= ids(held)


def test_a_tiny_corpus_still_has_something_on_both_sides() -> None:
    for fraction in (0.001, 0.999):
        training, held = split_heldout(documents(3), fraction=fraction)
        assert training
        assert held
    assert split_heldout(documents(1), fraction=0.5) == (documents(1), [])
    assert split_heldout([], number=3) == ([], [])


@pytest.mark.parametrize(
    "wrong", [{}, {"fraction": 0.1, "number": 1}, {"fraction": 0.0}, {"fraction": 1.0}, {"number": 0}]
)
def test_wrong_splits_are_usage_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        split_heldout(documents(3), **wrong)  # type: ignore[arg-type]


def encode(texts: list[str]) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


@pytest.mark.parametrize(("vocab_size", "bytes_each"), [(300, 2), (65_536, 2), (65_537, 4)])
def test_a_store_gives_back_what_went_in(tmp_path: Path, vocab_size: int, bytes_each: int) -> None:
    corpus = [*documents(300), Document("empty", "")]
    store = tokenize_documents(
        encode, corpus, tmp_path / "store", vocab_size=vocab_size, before=[256], after=[257, 258]
    )
    expected = [[256, *document.text.encode(), 257, 258] for document in corpus]
    assert [row.tolist() for row in store] == expected
    assert store[0].dtype == np.int32
    assert store[-1].tolist() == expected[-1]
    assert store.lengths().tolist() == [len(row) for row in expected]
    assert store.total_tokens == sum(map(len, expected))
    assert store.total_bytes == sum(len(document.text.encode()) for document in corpus)
    assert store.fingerprint == fingerprint_documents(corpus)
    assert (tmp_path / "store" / "tokens.bin").stat().st_size == store.total_tokens * bytes_each
    with pytest.raises(IndexError):
        store[301]


def test_batches_do_not_change_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(texts: list[str]) -> list[list[int]]:
        calls.append(len(texts))
        return encode(texts)

    monkeypatch.setattr("jielong.data.token_store._BATCH_CHARACTERS", 50)
    small = tokenize_documents(counting, documents(100), tmp_path / "a", vocab_size=300)
    monkeypatch.undo()
    large = tokenize_documents(encode, documents(100), tmp_path / "b", vocab_size=300)
    assert len(calls) > 10
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert [row.tolist() for row in small] == [row.tolist() for row in large]


def test_an_empty_store_can_be_opened(tmp_path: Path) -> None:
    store = tokenize_documents(encode, [], tmp_path / "store", vocab_size=300)
    assert (len(store), store.total_tokens, store.lengths().tolist()) == (0, 0, [])


def test_a_store_is_whole_or_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(JielongError, match="outside the vocabulary"),
        write_token_store(tmp_path / "store", 10, Fingerprint()) as writer,
    ):
        writer.append([1, 2], 2)
        writer.append([10], 1)
    assert list(tmp_path.iterdir()) == []


def test_damaged_stores_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    tokenize_documents(encode, documents(3), folder, vocab_size=300)
    tokens = (folder / "tokens.bin").read_bytes()
    (folder / "tokens.bin").write_bytes(tokens[:-2])
    with pytest.raises(JielongError, match="truncated"):
        TokenStore(folder)
    (folder / "tokens.bin").unlink()
    with pytest.raises(JielongError, match="incomplete"):
        TokenStore(folder)
    (folder / "store.json").write_text("{}")
    with pytest.raises(JielongError, match="does not describe"):
        TokenStore(folder)
    with pytest.raises(JielongError, match="does not exist"):
        TokenStore(tmp_path / "nowhere")


def test_a_sample_is_large_enough_even_and_in_order():
    documents = [Document(str(number), f"document {number} " * 5) for number in range(400)]
    sample = sample_documents(documents, 3000, seed=1)
    total = sum(len(document.text) for document in sample)
    assert 3000 <= total < 3000 + max(len(document.text) for document in documents)
    numbers = [int(document.id) for document in sample]
    assert numbers == sorted(numbers)
    assert min(numbers) < 100
    assert max(numbers) > 300
    assert sample_documents(documents, 10**9) == documents
    assert sample_documents([], 5) == []
