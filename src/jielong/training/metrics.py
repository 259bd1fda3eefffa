"""metrics.jsonl: one object a step, append-only, readable while the run goes on."""

import contextlib
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import read_jsonl
from jielong.training.distributed import is_main


class MetricsLog:
    """Appends records to a JSON Lines file; a resumed run cuts off what came after its checkpoint."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        # Of several processes that train together one writes: what the others know is the same.
        self.path = path if is_main() else Path(os.devnull)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what could not be written is not tried again on closing.
            self._file = self.path.open("ab", buffering=0)
            # After a power cut the file may be shorter than it was.
            if self.size > keep_bytes:
                self._file.truncate(keep_bytes)
        except OSError as error:
            raise JielongError(f"cannot write {path}: {error.strerror or error}") from error

    def write(self, **record: Any) -> None:
        """Append one record; a number that is not finite becomes null, as JSON has no word for it."""
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        line = (json.dumps(plain, ensure_ascii=False) + "\n").encode()
        before = self.size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            raise JielongError(f"cannot write {self.path}: {error.strerror or error}") from error

    def flush_to_disk(self) -> int:
        """Wait until all records are on the disk; returns the bytes of the file."""
        if is_main():
            os.fsync(self._file.fileno())
        return self.size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run."""
    return read_jsonl(path)
