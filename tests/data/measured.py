"""What tests measure of the reading of documents."""

import tracemalloc
from pathlib import Path

from jielong.data import Problems, read_documents


def characters_and_peak(folder: Path) -> tuple[int, int]:
    """Characters of all documents in a folder, and the most bytes Python held while they were read."""
    tracemalloc.start()
    count = sum(len(document.text) for document in read_documents([folder], Problems()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, peak
