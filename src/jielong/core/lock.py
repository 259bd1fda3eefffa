"""Locks that die with the process that holds them, so that none is ever left over."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from jielong.core.errors import JielongError, UsageError

_FAR = 1 << 30  # Windows locks bytes, and nobody may read them: this one lies behind what is written


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[int | None]:
    """Hold the system's lock on a file, which is made if it is not there; never wait for it.

    The file stays afterwards: removing it could give two processes a lock each, on the old and a new file.

    Args:
        path: the file; its folder must exist.

    Yields:
        The open file's descriptor, or None where somebody else holds the lock. Where the file system knows no
        locks the file counts as locked by this process.

    Raises:
        JielongError: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # closed in programs that this one starts
    except OSError as error:
        raise JielongError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield descriptor if _take(descriptor) else None
    finally:
        os.close(descriptor)  # which gives the lock up too


@contextlib.contextmanager
def folder_of_one_process(folder: Path, doing: str) -> Iterator[None]:
    """Let one process at a time work in a folder, by a lock on `folder/.lock`, which names the process.

    Args:
        folder: it is made if it is not there.
        doing: what the process does there, for the message: "training".

    Raises:
        UsageError: another living process works there; the message has its number.
        JielongError: the folder cannot be written to.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JielongError(f"cannot make {folder}: {error.strerror or error}") from error
    with locked_file(path) as descriptor:
        if descriptor is None:
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or "(not known yet)"
            raise UsageError(
                f"{folder} is in use: process {holder} is {doing} there; wait until it ends or stop it, "
                "or choose another `out`"
            )
        with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        yield


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # some file systems say that permission is denied
            return False
        except OSError:
            return True
        return True
