"""Numbers in a file, read a slice at a time."""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import JielongError


class FileArray:
    """A file of `count` numbers that is never held in memory.

    Not a memory map: every page that random reads of a map touch counts as memory of the process, until
    that is as large as the file, and a disk that fails ends the process with a signal instead of an error.
    Reading is safe from several threads.

    Raises:
        JielongError: the file is missing, or is not of that size.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], count: int) -> None:
        self._path, self._dtype, self._count = path, dtype, count
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise JielongError(f"{path} does not exist; the folder it belongs to is incomplete") from None
        weakref.finalize(self, os.close, self._descriptor)
        size = os.fstat(self._descriptor).st_size
        if size != count * dtype.itemsize:
            raise JielongError(f"{path} is truncated: {size} bytes, not {count * dtype.itemsize}")

    def __len__(self) -> int:
        return self._count

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Numbers start, ..., stop - 1; the array is read-only."""
        wanted = (stop - start) * self._dtype.itemsize
        data = os.pread(self._descriptor, wanted, start * self._dtype.itemsize)
        if len(data) != wanted:
            raise JielongError(f"{self._path} ends before place {stop}; it was changed while it was in use")
        return np.frombuffer(data, self._dtype)
