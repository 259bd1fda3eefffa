"""The processes that torchrun started: their group, and the few things that they must agree on.

Everything here does nothing, or says "alone", in a run of one process, so that the loop has no special case.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from jielong.core.errors import JielongError, UsageError
from jielong.core.files import folder_written_atomically
from jielong.training.precision import choose_device

_PATIENCE = timedelta(hours=1)
"""How long a process waits for one that lives but is silent: longer than compiling, encoding or saving takes.

A process that died is noticed at once: its connections close, and torchrun ends the others.
"""

_LAST_WORDS = timedelta(seconds=3)
"""How long a process that fails waits to hear whether the first one fails alike."""


@contextlib.contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started; without torchrun, do nothing.

    Tensors on a CPU travel through gloo, those on a GPU through NCCL; each process of a machine takes the GPU
    of its local number.

    Args:
        device: the setting `training.device`.

    Raises:
        JielongError: another process died or is not heard of any more. torchrun then ends the rest.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    kind = choose_device(device).type
    if kind == "cuda":
        _take_gpu(int(os.environ["LOCAL_RANK"]))
    elif kind != "cpu":
        raise UsageError(f"training on {kind} runs in one process only; set training.device to cpu or cuda")
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=_PATIENCE)
        yield
        dist.barrier()
    except JielongError as error:
        error.shared = _first_says(str(error)) or error.shared
        raise
    except RuntimeError as error:
        if not _is_lost_contact(error):
            raise
        number = os.environ["RANK"]
        raise JielongError(
            f"process {number} lost contact with the others ({' '.join(str(error).split())[:160]}); "
            "the run ends. Their own messages say why; run the same command with --resume to go on from the "
            "last checkpoint"
        ) from error
    # Not after an error: a process that leaves an unfinished collective properly would wait for the dead one.
    dist.destroy_process_group()


def _take_gpu(local: int) -> None:
    count = torch.cuda.device_count()
    if local >= count:
        raise UsageError(
            f"torchrun started more processes than this machine has GPUs ({count}); lower --nproc-per-node"
        )
    torch.cuda.set_device(local)


def _is_lost_contact(error: RuntimeError) -> bool:
    """Whether a collective failed because of the other side; gloo raises a bare RuntimeError."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def _first_says(text: str) -> bool:
    """Whether the first process ends with this message too, so that it need not be said again.

    Asked of torchrun's store and not of the process, which may be waiting for this one in a collective.
    """
    key = "jielong: last words"
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, timeout=_LAST_WORDS, wait_for_workers=False)
        if is_main():
            store.set(key, text)
            return False
        return store.get(key).decode() == text
    except RuntimeError:  # it said nothing, or the store has gone with it
        return False


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that prints, and writes what all have in common."""
    return rank() == 0


def share() -> slice:
    """This process's part of the rows of a batch that all draw alike."""
    return slice(rank(), None, world_size())


def share_of(rows: int, setting: str) -> int:
    """How many of `rows` rows each process takes.

    Raises:
        UsageError: they cannot be divided evenly.
    """
    if rows % world_size():
        raise UsageError(
            f"{setting} = {rows} cannot be shared by {world_size()} processes; make it a multiple of them "
            "(it counts the rows of all processes together)"
        )
    return rows // world_size()


def sum_of_all(*values: float) -> tuple[float, ...]:
    """Sums of numbers over all processes; every process gets the same ones."""
    if world_size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor)
    return tuple(tensor.tolist())


def any_process(flag: bool) -> bool:
    """Whether the flag is set in at least one process: so a signal or a clock means the same to all."""
    return sum_of_all(float(flag))[0] > 0


def from_one(text: str, source: int = 0) -> str:
    """The text of one process, by default of the main one, in every process."""
    if world_size() == 1:
        return text
    mine = text.encode("utf-8", "replace") if rank() == source else b""
    size = int(sum_of_all(len(mine))[0])
    if not size:
        return ""
    letters = torch.tensor(list(mine or bytes(size)), dtype=torch.uint8)
    dist.broadcast(letters, src=source)
    return bytes(letters.tolist()).decode()


def require_same(text: str, what: str) -> None:
    """Refuse to go on when a process has something else than the main one has.

    Raises:
        JielongError: in every process, also in those that have the same.
    """
    if any_process(from_one(text) != text):
        raise JielongError(f"the processes do not have the same {what}; give all machines the same files")


class OtherFailedError(JielongError):
    """What all processes need could not be done by one of them; its message is the other's."""

    shared = True


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Let no process go on after the block when it fails in one of them. Every process must enter it.

    All of them say why: torchrun may end the one that failed before it has said so itself.

    Raises:
        OtherFailedError: the block succeeded here and failed in another process.
    """
    try:
        yield
    except JielongError as error:
        _first_failure(str(error))
        error.shared = True
        raise
    except Exception as error:
        _first_failure(f"{type(error).__name__}: {error}")
        raise
    failure = _first_failure(None)
    if failure is not None:
        raise OtherFailedError(failure)


def _first_failure(text: str | None) -> str | None:
    """What the first process that failed says, if one did; every process must call this.

    Args:
        text: what went wrong in this process; None when nothing did.
    """
    if world_size() == 1:
        return text
    first = torch.tensor(world_size() if text is None else rank())
    dist.all_reduce(first, dist.ReduceOp.MIN)
    source = int(first)
    return None if source == world_size() else f"process {source}: {from_one(text or '', source)}"


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Let the main process run the block before the others do, so that they find what it has made."""
    with failing_together():
        if is_main():
            yield
    if not is_main():
        yield


@contextlib.contextmanager
def folder_written_together(path: Path) -> Iterator[Path]:
    """`folder_written_atomically` for several processes: all get the same folder to fill.

    It takes its name when all of them are done; when one fails, nothing is left and all of them fail. The
    folder must lie on a disk that all of them share.
    """
    with contextlib.ExitStack() as stack:
        with failing_together():
            aside = stack.enter_context(folder_written_atomically(path)) if is_main() else path
        with failing_together():
            yield Path(from_one(str(aside)))
        with failing_together():
            stack.close()
