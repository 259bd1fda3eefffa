"""Tokens of a corpus on disk, for corpora larger than memory: written as a stream, read as a memory map."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import JielongError
from jielong.core.files import folder_written_atomically, read_json, to_json
from jielong.data.documents import Document
from jielong.data.fingerprint import Fingerprint

_META, _TOKENS, _ENDS, _BYTES = "store.json", "tokens.bin", "ends.bin", "bytes.bin"
_BATCH_CHARACTERS = 1 << 22


class TokenStore:
    """An opened store: a sequence of documents, each an array of token ids.

    The folder holds `tokens.bin` (uint16, or uint32 for more than 65,536 token ids), `ends.bin` (int64:
    where each document ends, in tokens), `bytes.bin` (int64: UTF-8 bytes of each document's text, for bits
    per byte), all little-endian, and `store.json`.
    """

    def __init__(self, folder: Path) -> None:
        meta = read_json(folder / _META)
        try:
            self.vocab_size = int(meta["vocab_size"])
            self.fingerprint = str(meta["fingerprint"])
            documents, tokens = int(meta["documents"]), int(meta["tokens"])
        except (KeyError, TypeError, ValueError):
            raise JielongError(f"{folder / _META} does not describe a token store") from None
        self._tokens = _map(folder / _TOKENS, _dtype(self.vocab_size), tokens)
        self._ends = _map(folder / _ENDS, np.dtype("<i8"), documents)
        self.document_bytes: NDArray[np.int64] = _map(folder / _BYTES, np.dtype("<i8"), documents)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Token ids of one document, copied out of the map."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start = int(self._ends[index - 1]) if index else 0
        return np.array(self._tokens[start : int(self._ends[index])], np.int32)

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    @property
    def total_tokens(self) -> int:
        """Tokens of all documents."""
        return len(self._tokens)

    @property
    def total_bytes(self) -> int:
        """UTF-8 bytes of all documents' texts."""
        return int(self.document_bytes.sum())

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, [documents]."""
        lengths: NDArray[np.int64] = np.array(self._ends, np.int64)
        lengths[1:] -= self._ends[:-1]
        return lengths


class TokenStoreWriter:
    """Appends documents to a store that is being made; see `write_token_store`."""

    def __init__(self, files: Sequence[IO[bytes]], vocab_size: int) -> None:
        self._tokens, self._ends, self._bytes = files
        self._vocab_size = vocab_size
        self._dtype = _dtype(vocab_size)
        self.documents = 0
        self.tokens = 0

    def append(self, ids: Sequence[int] | NDArray[Any], text_bytes: int) -> None:
        """Add one document.

        Args:
            ids: its token ids.
            text_bytes: length of its text in UTF-8.

        Raises:
            JielongError: an id is outside the vocabulary.
        """
        row = np.asarray(ids, np.int64)
        if row.size and not (row.min() >= 0 and row.max() < self._vocab_size):
            raise JielongError(
                f"document {self.documents} has token ids outside the vocabulary of {self._vocab_size}"
            )
        self._tokens.write(row.astype(self._dtype).tobytes())
        self.documents += 1
        self.tokens += row.size
        self._ends.write(np.array([self.tokens], "<i8").tobytes())
        self._bytes.write(np.array([text_bytes], "<i8").tobytes())


@contextlib.contextmanager
def write_token_store(folder: Path, vocab_size: int, fingerprint: Fingerprint) -> Iterator[TokenStoreWriter]:
    """Make a store; its folder appears, whole, when the block ends without an error.

    Args:
        folder: where it will be.
        vocab_size: one more than the largest token id.
        fingerprint: of the documents that went in; it is read when the block ends.
    """
    with folder_written_atomically(folder) as aside:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((aside / name).open("wb")) for name in (_TOKENS, _ENDS, _BYTES)]
            writer = TokenStoreWriter(files, vocab_size)
            yield writer
        meta = {
            "vocab_size": vocab_size,
            "documents": writer.documents,
            "tokens": writer.tokens,
            "fingerprint": fingerprint.hexdigest(),
        }
        (aside / _META).write_text(to_json(meta), encoding="utf-8")


def tokenize_documents(
    encode_batch: Callable[[list[str]], list[list[int]]],
    documents: Iterable[Document],
    folder: Path,
    *,
    vocab_size: int,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> TokenStore:
    """Tokenize a stream of documents into a store, a few megabytes of text at a time.

    Args:
        encode_batch: texts -> token ids, such as `Tokenizer.encode_batch`.
        documents: the corpus.
        folder: the store to make.
        vocab_size: the tokenizer's.
        before: tokens put before each document, such as the beginning-of-text token.
        after: tokens put after each document, such as the end-of-text token.
    """
    fingerprint = Fingerprint()
    with write_token_store(folder, vocab_size, fingerprint) as writer:
        for batch in _batches(documents):
            texts = [fingerprint.add(document).text for document in batch]
            for text, ids in zip(texts, encode_batch(texts), strict=True):
                writer.append([*before, *ids, *after], len(text.encode()))
    return TokenStore(folder)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _dtype(vocab_size: int) -> np.dtype[Any]:
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def _map(path: Path, dtype: np.dtype[Any], count: int) -> Any:
    if not path.exists():
        raise JielongError(f"{path} does not exist; the token store is incomplete")
    if path.stat().st_size != count * dtype.itemsize:
        raise JielongError(f"{path} is truncated: {path.stat().st_size} bytes, not {count * dtype.itemsize}")
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, "r", shape=(count,)) if count else np.zeros(0, dtype)
