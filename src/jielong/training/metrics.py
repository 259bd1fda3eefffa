"""metrics.jsonl: one object a step, append-only, readable while the run goes on."""

import json
import os
from pathlib import Path
from typing import Any, TextIO

from jielong.core.files import read_jsonl
from jielong.training.distributed import is_main


class MetricsLog:
    """Appends records to a JSON Lines file; a resumed run cuts off what came after its checkpoint."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        # Of several processes that train together one writes; what the others know is the same.
        self.path = path if is_main() else Path(os.devnull)
        if is_main():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(keep_bytes)
        self._file: TextIO = self.path.open("a", encoding="utf-8")

    def write(self, **record: Any) -> None:
        """Append one record and flush it."""
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run."""
    return read_jsonl(path)
