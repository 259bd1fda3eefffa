"""Fingerprints of data for the lineage of a model: equal data, equal fingerprint."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from jielong.core.files import hash_file, hash_json
from jielong.data.documents import Document
from jielong.data.problems import Problems
from jielong.data.sources import find_sources


class Fingerprint:
    """SHA-256 over documents' ids and texts in their order, computed while they stream by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.documents = 0

    def add(self, document: Document) -> Document:
        """Take one document in; return it, so that a stream can pass through."""
        for part in (document.id, document.text):
            data = part.encode()
            # The length before each part keeps "ab" + "c" apart from "a" + "bc".
            self._hash.update(len(data).to_bytes(8))
            self._hash.update(data)
        self.documents += 1
        return document

    def hexdigest(self) -> str:
        """The fingerprint of what was added so far."""
        return self._hash.hexdigest()


def fingerprint_documents(documents: Iterable[Document]) -> str:
    """SHA-256 over ids and texts, in hexadecimal."""
    fingerprint = Fingerprint()
    for document in documents:
        fingerprint.add(document)
    return fingerprint.hexdigest()


def fingerprint_files(paths: Sequence[Path | str]) -> str:
    """SHA-256 over the names, sizes and contents of the files that paths stand for, in hexadecimal."""
    sources = find_sources(paths, Problems())
    entries = [(source.name, source.path.stat().st_size, hash_file(source.path)) for source in sources]
    return hash_json(sorted(entries))
