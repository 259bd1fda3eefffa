"""Fingerprints of data for the lineage of a model: equal data, equal fingerprint."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from jielong.core.files import hash_file
from jielong.data.problems import Problems
from jielong.data.sources import find_sources


class Item(Protocol):
    """What a corpus consists of: a document, a conversation."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def text(self) -> str:
        """What it says."""

    @property
    def content(self) -> str:
        """All that it holds, the roles of a conversation included."""


AnyItem = TypeVar("AnyItem", bound=Item)


class Fingerprint:
    """SHA-256 over documents' ids and contents in their order, computed while they stream by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.documents = 0

    def add(self, document: AnyItem) -> AnyItem:
        """Take one document in; return it, so that a stream can pass through."""
        for part in (document.id, document.content):
            data = part.encode()
            # The length before each part keeps "ab" + "c" apart from "a" + "bc".
            self._hash.update(len(data).to_bytes(8))
            self._hash.update(data)
        self.documents += 1
        return document

    def hexdigest(self) -> str:
        """The fingerprint of what was added so far."""
        return self._hash.hexdigest()


def identify_files(paths: Sequence[Path | str]) -> list[tuple[str, str]]:
    """Name and SHA-256 of each file that paths stand for, in the order in which they are read."""
    return [(source.name, _hash(source.path)) for source in find_sources(paths, Problems())]


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:  # whoever reads it will count it among the problems
        return f"cannot be read: {error.strerror}"
