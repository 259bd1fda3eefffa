"""Files, folders and globs -> the list of files to read, in a stable order, each with a name."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jielong.core.errors import JielongError
from jielong.data.problems import Problems

_PACKED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read."""

    path: Path
    name: str
    """Path relative to what the user gave, with forward slashes: the beginning of its documents' ids."""

    @property
    def packing(self) -> str:
        """How it is compressed: ".gz", ".zst" or an empty text."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in _PACKED else ""

    @property
    def kind(self) -> str:
        """The suffix that tells what is in the file, without its compression, in lower case: ".jsonl"."""
        name = self.path.name.lower()
        return Path(name[: len(name) - len(self.packing)]).suffix


def find_sources(paths: Sequence[Path | str], problems: Problems) -> list[Source]:
    """List the files that paths stand for: files, folders (all the way down) and globs.

    The order is that of the arguments, and sorted within each. Hidden files and folders inside a folder are
    left out; a file reached twice is listed once.

    Args:
        paths: what the user gave.
        problems: collects what cannot be listed, such as a folder without permission.

    Raises:
        JielongError: a path does not exist, or a glob matches nothing.
    """
    sources: list[Source] = []
    seen: set[Path] = set()
    names: set[str] = set()
    for given in paths:
        for path, name in _expand(Path(given), problems):
            resolved = _resolve(path)
            if resolved in seen:
                continue
            seen.add(resolved)
            name = _unused_name(path, name, names)
            names.add(name)
            if _is_regular(path, name, problems):
                sources.append(Source(path, name))
    return sources


def _expand(given: Path, problems: Problems) -> Iterator[tuple[Path, str]]:
    if given.is_dir():
        yield from _walk(given, problems)
    elif given.exists() or given.is_symlink():
        yield given, given.name
    elif glob.has_magic(str(given)):
        matches = sorted(glob.glob(str(given), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise JielongError(f"no file matches {given}")
        for match in map(Path, matches):
            if not match.is_dir():
                yield match, match.name
            elif "**" not in given.parts:  # with ** the files in the folder match by themselves
                yield from _walk(match, problems)
    else:
        raise JielongError(f"{given} does not exist")


def _walk(root: Path, problems: Problems) -> Iterator[tuple[Path, str]]:
    """Files below a folder, sorted; symbolic links are followed, a loop of them only once."""
    top = root.resolve().name or "root"
    visited = {root.resolve()}

    def report(error: OSError) -> None:
        problems.add(f"cannot be listed: {error.strerror}", str(error.filename))

    found = []
    for folder, folders, files in os.walk(root, followlinks=True, onerror=report):
        here = Path(folder)
        kept = []
        for name in sorted(folders):
            resolved = _resolve(here / name)
            if not name.startswith(".") and resolved not in visited:
                visited.add(resolved)
                kept.append(name)
        folders[:] = kept
        found += [here / name for name in files if not name.startswith(".")]
    for path in sorted(found):
        yield path, f"{top}/{path.relative_to(root).as_posix()}"


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return path.absolute()


def _unused_name(path: Path, name: str, names: set[str]) -> str:
    """Two files of one name from different folders: put the folders' names before it until they differ."""
    parents = list(path.absolute().parts[:-1])
    longer = name
    while longer in names and parents:
        longer = f"{parents.pop().strip('/')}/{longer}"
    return longer


def _is_regular(path: Path, name: str, problems: Problems) -> bool:
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        problems.add(f"cannot be read: {error.strerror or error}", name)
        return False
    if not regular:
        # Opening a named pipe would wait for ever.
        problems.add("not a regular file", name)
    return regular
