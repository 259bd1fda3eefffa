"""Token sequences on disk, for corpora larger than memory: written as a stream, read a slice at a time."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import JielongError
from jielong.core.files import read_json, to_json
from jielong.data.file_array import FileArray
from jielong.data.fingerprint import AnyItem, Fingerprint

_META, _TOKENS, _ENDS, _LEARNED = "store.json", "tokens.bin", "ends.bin", "learned.bin"
_BATCH_CHARACTERS = 1 << 20  # some hundred bytes a token while they are encoded

Sequences = Sequence[int] | NDArray[Any]


class TokenStore:
    """An opened store: token sequences, and which of their tokens are to be learned.

    The folder holds `tokens.bin` (uint16, or uint32 for more than 65,536 token ids), `ends.bin` (int64:
    where each sequence ends, in tokens), both little-endian, `learned.bin` (a byte a token, 0 or 1; only
    where not all are learned), and `store.json`.

    Attributes:
        folder: where it lies.
        vocab_size: one more than the largest token id.
        bos: the token that begins each later piece of a sequence that is cut; None for none.
        pad: the token that fills rows up.
        fingerprint: of the items that went in.
    """

    def __init__(self, folder: Path) -> None:
        meta = read_json(folder / _META)
        self.folder = folder
        try:
            self.vocab_size = int(meta["vocab_size"])
            self.bos: int | None = meta["bos"]
            self.pad = int(meta["pad"])
            self.fingerprint = str(meta["fingerprint"])
            documents, tokens, masked = int(meta["documents"]), int(meta["tokens"]), bool(meta["masked"])
        except (KeyError, TypeError, ValueError):
            raise JielongError(f"{folder / _META} does not describe a token store") from None
        self.tokens = FileArray(folder / _TOKENS, _dtype(self.vocab_size), tokens)
        self.ends = FileArray(folder / _ENDS, np.dtype("<i8"), documents)
        self.learned = FileArray(folder / _LEARNED, np.dtype(bool), tokens) if masked else None

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Token ids of one sequence."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start, end = [0, *self.ends.read(max(index - 1, 0), index + 1).tolist()][-2:]
        return self.tokens.read(start, end).astype(np.int32)

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))


class TokenStoreWriter:
    """Appends sequences to a store that is being made; see `write_token_store`."""

    def __init__(self, files: Sequence[IO[bytes]], vocab_size: int) -> None:
        self._tokens, self._ends, *self._learned = files
        self._vocab_size = vocab_size
        self._dtype = _dtype(vocab_size)
        self.fingerprint = Fingerprint()
        self.documents = 0
        self.tokens = 0

    def append(self, ids: Sequences, learned: Sequences | None = None) -> None:
        """Add one sequence.

        Args:
            ids: its token ids.
            learned: true for the tokens to be learned; for stores that are `masked`.

        Raises:
            JielongError: an id is outside the vocabulary, or the mask is not as long as the sequence.
        """
        row = np.asarray(ids, np.int64)
        if row.size and not (row.min() >= 0 and row.max() < self._vocab_size):
            raise JielongError(
                f"sequence {self.documents} has token ids outside the vocabulary of {self._vocab_size}"
            )
        for file in self._learned:
            mask = np.asarray(learned, np.bool_)
            if mask.shape != row.shape:
                raise JielongError("every sequence needs a mask of its own length")
            file.write(mask.tobytes())
        self._tokens.write(row.astype(self._dtype).tobytes())
        self.documents += 1
        self.tokens += row.size
        self._ends.write(np.array([self.tokens], "<i8").tobytes())


@contextlib.contextmanager
def write_token_store(
    folder: Path, vocab_size: int, *, bos: int | None = None, pad: int = 0, masked: bool = False
) -> Iterator[TokenStoreWriter]:
    """Make a store. The file that describes it is written last, when the block ends without an error.

    Args:
        folder: where it will be; see `prepare` for how it appears as a whole.
        vocab_size: one more than the largest token id.
        bos: the token that begins each later piece of a sequence that is cut.
        pad: the token that fills rows up.
        masked: whether sequences come with a mask of what is to be learned.
    """
    folder.mkdir(parents=True)
    names = (_TOKENS, _ENDS, _LEARNED) if masked else (_TOKENS, _ENDS)
    with contextlib.ExitStack() as stack:
        writer = TokenStoreWriter(
            [stack.enter_context((folder / name).open("wb")) for name in names], vocab_size
        )
        yield writer
    meta = {
        "vocab_size": vocab_size,
        "bos": bos,
        "pad": pad,
        "masked": masked,
        "documents": writer.documents,
        "tokens": writer.tokens,
        "fingerprint": writer.fingerprint.hexdigest(),
    }
    (folder / _META).write_text(to_json(meta), encoding="utf-8")


Encoded = tuple[Sequences, Sequences | None] | None
"""Token ids and what of them is to be learned (None: all); or None for an item that is left out."""


def tokenize(
    items: Iterable[AnyItem],
    encode: Callable[[list[AnyItem]], Sequence[Encoded]],
    choose: Callable[[AnyItem], TokenStoreWriter | None],
) -> None:
    """Encode a stream of items, a megabyte of text at a time, each into the store it belongs to.

    Args:
        items: documents or conversations.
        encode: items -> what to write of each; fast when it gets many at once.
        choose: the store that an item goes to, or None to leave it out.
    """
    chosen = ((item, writer) for item in items if (writer := choose(item)) is not None)
    for batch in _batches(chosen):
        encoded = encode([item for item, _ in batch])
        for (item, writer), found in zip(batch, encoded, strict=True):
            if found is not None:
                writer.fingerprint.add(item)
                writer.append(*found)


def _batches(
    chosen: Iterable[tuple[AnyItem, TokenStoreWriter]],
) -> Iterator[list[tuple[AnyItem, TokenStoreWriter]]]:
    batch: list[tuple[AnyItem, TokenStoreWriter]] = []
    size = 0
    for item, writer in chosen:
        batch.append((item, writer))
        size += len(item.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _dtype(vocab_size: int) -> np.dtype[Any]:
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")
