"""Hold documents out for validation, by hash, so that adding documents does not reshuffle the others."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from jielong.core.errors import UsageError


class Textual(Protocol):
    """Something whose text says on which side it belongs: a document, a conversation."""

    @property
    def text(self) -> str:
        """The text."""


Item = TypeVar("Item", bound=Textual)


_PLACES = 2**56


def split_position(text: str, seed: int) -> int:
    """Place a text in [0, 2**56) by its hash; texts equal but for white space and case have one place."""
    plain = " ".join(text.casefold().split())
    digest = hashlib.sha256(f"{seed}\n{plain}".encode()).digest()
    return int.from_bytes(digest[:7])


def is_heldout(document: Textual, fraction: float, seed: int) -> bool:
    """Tell a document's side alone, for corpora that are streamed."""
    return split_position(document.text, seed) < fraction * _PLACES


def split_heldout(
    documents: Iterable[Item], *, fraction: float | None = None, number: int | None = None, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Split into (training, held-out), each in the given order.

    Give either `fraction` (each document's side depends on its text alone) or `number` (those with the
    smallest hashes). Copies of a text land on one side, so `number` may be passed by its copies. At least
    one text is held out and one is kept, if there are two.

    Raises:
        UsageError: neither or both of `fraction` and `number`, or one out of range.
    """
    if (fraction is None) == (number is None):
        raise UsageError("split_heldout takes either a fraction or a number")
    if fraction is not None and not 0 < fraction < 1:
        raise UsageError(f"the held-out fraction must lie between 0 and 1, not {fraction}")
    if number is not None and number < 1:
        raise UsageError(f"the number of held-out documents must be 1 or more, not {number}")
    documents = list(documents)
    positions = [split_position(document.text, seed) for document in documents]
    ranked = sorted(positions)
    distinct = sorted(set(positions))
    if len(distinct) < 2:
        return documents, []
    last = ranked[min(number or 1, len(ranked)) - 1]
    limit = last + 1 if fraction is None else fraction * _PLACES
    limit = min(max(limit, distinct[0] + 1), distinct[-1])
    sides = [position < limit for position in positions]
    training = [document for document, held in zip(documents, sides, strict=True) if not held]
    heldout = [document for document, held in zip(documents, sides, strict=True) if held]
    return training, heldout


def sample_documents(documents: Sequence[Item], characters: int, seed: int = 0) -> list[Item]:
    """Choose documents by their hashes until they hold so many characters; all of them if they hold fewer.

    The choice is even over the corpus and keeps its order; adding documents changes it little.
    """
    chosen: set[int] = set()
    total = 0
    positions = [split_position(document.text, seed) for document in documents]
    for index in sorted(range(len(documents)), key=positions.__getitem__):
        if total >= characters:
            break
        chosen.add(index)
        total += len(documents[index].text)
    return [document for index, document in enumerate(documents) if index in chosen]
