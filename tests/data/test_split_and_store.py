"""Held-out splits that stay put, samples of a stream, and token stores that are whole or not there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fingerprints import fingerprint_of
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import JielongError, UsageError
from jielong.data import (
    Document,
    Encoded,
    Split,
    Survey,
    TokenStore,
    split_position,
    tokenize,
    write_token_store,
)


def documents(count: int) -> list[Document]:
    return [Document(f"d{number}", f"第 {number} 篇文章") for number in range(count)]


def ids(part: list[Document]) -> set[str]:
    return {document.id for document in part}


def survey_of(corpus: Sequence[Document], seed: int = 0, sample: int = 0) -> Survey[Document]:
    survey: Survey[Document] = Survey(seed, sample)
    for document in corpus:
        survey.add(document)
    return survey


def parts(corpus: Sequence[Document], split: Split) -> tuple[list[Document], list[Document]]:
    """(training, held-out)"""
    return tuple([d for d in corpus if split.side(d.text) == side] for side in ("train", "heldout"))  # type: ignore[return-value]


def heldout(corpus: Sequence[Document], share: float, seed: int = 0) -> list[Document]:
    return parts(corpus, survey_of(corpus, seed).split(share))[1]


def test_adding_documents_does_not_reshuffle() -> None:
    few, many = documents(400), documents(1000)
    assert ids(heldout(few, 0.1)) == ids(heldout(many, 0.1)) & ids(few)
    held = heldout(many, 0.1)
    assert 60 < len(held) < 140
    assert ids(held) == {document.id for document in many if split_position(document.text, 0) < 0.1 * 2**56}
    assert ids(held) != ids(heldout(many, 0.1, seed=1))
    assert held == heldout(list(reversed(many)), 0.1)[::-1]


def test_copies_land_on_one_side() -> None:
    copies = [Document(f"copy{n}", f"  第 {n % 50}  篇文章\n".upper()) for n in range(100)] + documents(50)
    for split in (
        survey_of(copies).split(0.3),
        survey_of(copies).split(0.001),
        survey_of(copies).split(0.999),
    ):
        training, held = ({" ".join(d.text.split()) for d in part} for part in parts(copies, split))
        assert training
        assert held
        assert not training & held


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    share=st.none() | st.floats(0.001, 0.999),
    wanted=st.integers(1, 2000),
    seed=st.integers(0, 5),
)
def test_both_sides_have_something_and_a_sample_is_large_enough(
    sizes: list[int], share: float | None, wanted: int, seed: int
) -> None:
    corpus = [Document(f"d{number}", chr(0x4E00 + number) * size) for number, size in enumerate(sizes)]
    survey = survey_of(corpus, seed, wanted)
    training, held = parts(corpus, survey.split(share))
    assert len(training) + len(held) == len(corpus)
    assert training
    assert bool(held) == (share is not None and len(corpus) > 1)
    limited = survey.split(share, wanted)
    chosen, still_held = parts(corpus, limited)
    assert still_held == held
    total = sum(len(document.text) for document in chosen)
    assert total >= min(wanted, sum(len(document.text) for document in training))
    # The border is one of 65,536: two documents may lie beside each other there.
    assert total < wanted + 2 * max(sizes)
    # What is kept for the tokenizer, out of a stream, is the same sample.
    sample = survey.sample(limited)
    assert sample == survey.sample(survey.split(share))
    assert ids(sample) <= ids(chosen)
    assert len(chosen) - len(sample) <= 1


def test_a_sample_is_even_and_in_order() -> None:
    corpus = [Document(str(number), f"document {number} " * 5) for number in range(400)]
    survey = survey_of(corpus, sample=3000)
    numbers = [int(document.id) for document in survey.sample(survey.split())]
    assert numbers == sorted(numbers)
    assert min(numbers) < 100
    assert max(numbers) > 300
    fewer = survey.sample(survey.split(), 1000)
    assert {document.id for document in fewer} < {str(number) for number in numbers}
    assert sum(len(document.text) for document in fewer) >= 1000


@pytest.mark.parametrize("wrong", [(0.0, None), (1.0, None), (0.5, 0)])
def test_wrong_splits_are_usage_errors(wrong: tuple[float, int | None]) -> None:
    with pytest.raises(UsageError):
        survey_of(documents(3)).split(*wrong)


def encode(corpus: list[Document]) -> list[Encoded]:
    return [([256, *document.text.encode(), 257, 258], None) for document in corpus]


def store_of(corpus: Sequence[Document], folder: Path, vocab_size: int = 300) -> TokenStore:
    with write_token_store(folder, vocab_size) as writer:
        tokenize(corpus, encode, lambda _: writer)
    return TokenStore(folder)


@pytest.mark.parametrize(("vocab_size", "bytes_each"), [(300, 2), (65_536, 2), (65_537, 4)])
def test_a_store_gives_back_what_went_in(tmp_path: Path, vocab_size: int, bytes_each: int) -> None:
    corpus = [*documents(300), Document("empty", "")]
    store = store_of(corpus, tmp_path / "store", vocab_size)
    expected = [[256, *document.text.encode(), 257, 258] for document in corpus]
    assert [row.tolist() for row in store] == expected
    assert store[0].dtype == np.int32
    assert store[-1].tolist() == expected[-1]
    assert len(store.tokens) == sum(map(len, expected))
    assert store.fingerprint == fingerprint_of(corpus)
    assert (tmp_path / "store" / "tokens.bin").stat().st_size == len(store.tokens) * bytes_each
    with pytest.raises(IndexError):
        store[301]


def test_each_document_goes_into_the_store_it_belongs_to(tmp_path: Path) -> None:
    corpus = documents(100)
    with write_token_store(tmp_path / "a", 300) as one, write_token_store(tmp_path / "b", 300) as two:
        stores = {0: one, 1: two}
        tokenize(corpus, encode, lambda document: stores.get(len(document.text) % 3))
    found = [len(TokenStore(tmp_path / name)) for name in "ab"]
    assert found == [sum(len(document.text) % 3 == rest for document in corpus) for rest in (0, 1)]
    assert TokenStore(tmp_path / "a").fingerprint == fingerprint_of(
        document for document in corpus if len(document.text) % 3 == 0
    )


def test_batches_do_not_change_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = store_of(documents(100), tmp_path / "large")
    monkeypatch.setattr("jielong.data.token_store._BATCH_CHARACTERS", 50)
    small = store_of(documents(100), tmp_path / "small")
    for file in small.folder.iterdir():
        assert file.read_bytes() == (large.folder / file.name).read_bytes()


def test_an_empty_store_can_be_opened(tmp_path: Path) -> None:
    store = store_of([], tmp_path / "store")
    assert (len(store), len(store.tokens), list(store)) == (0, 0, [])


def test_wrong_tokens_and_masks_are_errors_and_leave_no_store(tmp_path: Path) -> None:
    with (
        pytest.raises(JielongError, match="outside the vocabulary"),
        write_token_store(tmp_path / "store", 10) as writer,
    ):
        writer.append([10])
    with pytest.raises(JielongError, match="does not exist"):
        TokenStore(tmp_path / "store")
    with (
        pytest.raises(JielongError, match="mask"),
        write_token_store(tmp_path / "masked", 10, masked=True) as writer,
    ):
        writer.append([1, 2], [True])


def test_damaged_stores_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store_of(documents(3), folder)
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
