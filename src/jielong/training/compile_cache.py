"""Inductor's cache of compiled code on the disk, freed of what killed compilers have left in it.

The C++ compiler writes a library straight to where torch.compile looks for it. What a kill in the middle
leaves there is taken for a whole one by every later run of the same code: loading it is an error or ends the
process by a signal, and half a precompiled header is an error of every compilation.
"""

import contextlib
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from jielong.core.errors import JielongError
from jielong.core.lock import locked_file

_BUILDING = "_CxxBuild"
"""`NAME_CxxBuild` is the folder that inductor makes before it compiles `NAME` and removes afterwards."""
_OUTPUTS = (".so", ".o", ".gch", ".pch")


def remove_half_written() -> list[Path]:
    """Remove from inductor's cache what is not whole and what nobody is writing.

    Processes that compile at the same time are safe: inductor builds a file while it holds a lock of its own
    for it, and here only what that lock can be had for is removed.

    Returns:
        The files that were removed.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

    libraries, headers = Path(cache_dir()), Path(default_cache_dir()) / "precompiled_headers"
    removed = []
    for top, pattern in ((libraries, "??/*"), (headers, "*")):
        for path in top.glob(pattern):
            if not _is_left_over(path):
                continue
            key = path.name.removesuffix(_BUILDING).split(".")[0]
            # Files of another user, in a folder that several share, stay as they are.
            with contextlib.suppress(JielongError, OSError), _lock(top / "locks" / f"{key}.lock") as ours:
                if ours and _is_left_over(path):
                    removed += _remove(path)
    return removed


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    path.parent.mkdir(exist_ok=True)
    with locked_file(path) as descriptor:
        yield descriptor is not None


def _is_left_over(path: Path) -> bool:
    if path.suffix == ".so":
        return path.is_file() and not _is_whole(path)
    return path.name.endswith(_BUILDING) and path.is_dir()


def _is_whole(library: Path) -> bool:
    """Whether a library is as long as its header says; linkers write the table of its sections last.

    The header (ELF-64, `man 5 elf`) has at byte 40 where that table begins, and at 58 the size and number of
    its entries.
    """
    with library.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"\x7fELF"):
        return any(header) and sys.platform != "linux"  # other systems have other headers
    if len(header) < 64:
        return False
    order = "<" if header[5] == 1 else ">"
    (table,) = struct.unpack_from(f"{order}Q", header, 40)
    size, number = struct.unpack_from(f"{order}HH", header, 58)
    return bool(library.stat().st_size >= table + size * number > 0)


def _remove(path: Path) -> list[Path]:
    """Remove a library, or the folder of a build that did not end and what it may have written."""
    if path.suffix == ".so":
        path.unlink()
        return [path]
    built = [path.with_name(path.name.removesuffix(_BUILDING) + suffix) for suffix in _OUTPUTS]
    found = [output for output in built if output.exists()]
    for output in found:
        output.unlink()
    shutil.rmtree(path)
    return found
