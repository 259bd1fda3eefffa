"""Checkpoints: everything a run needs to go on as if it had never stopped."""

import errno
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jielong.core.errors import JielongError
from jielong.core.files import hash_file, read_json, to_json
from jielong.training.distributed import OtherFailedError, failing_together, folder_written_together, is_main
from jielong.training.health import Health
from jielong.training.identity import RunIdentity
from jielong.training.parallel import is_sharded
from jielong.training.schedule import Plans
from jielong.training.state import State

_NAME = re.compile(r"step-(\d{6,})")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_SPARE_BYTES = 1 << 20  # for progress, manifest and what the file system itself needs


@dataclass
class Progress:
    """Where a run stands; together with the tensors of its state, all that it needs to go on."""

    step: int = 0
    """Optimizer steps taken. Batches are a pure function of the seed and this number."""
    plans: Plans = ()
    """Steps of the whole run as they were planned; none while a time budget has not fixed them yet."""
    seconds: float = 0.0
    """Wall-clock seconds spent so far."""
    tokens: int = 0
    """Tokens seen so far, padding not counted."""
    bits_before: float | None = None
    """Bits per byte on held-out text before the first step."""
    metrics_bytes: int = 0
    """Length of metrics.jsonl; what was written after the checkpoint is cut off on resuming."""
    compiled: bool | None = None
    """Whether steps are compiled; decided once, so that a resumed run computes alike."""
    ended: bool = False
    """Whether the run ended before its last step, because its batches said so."""
    health: Health = field(default_factory=Health)
    """What losses and gradients were like, by which bad steps are known."""
    identity: RunIdentity = field(default_factory=RunIdentity)
    """Recipe and data, so that a changed one is noticed; and what computed the steps."""

    @property
    def total(self) -> int | None:
        """Steps of the whole run as planned last; None where nothing is planned yet."""
        return self.plans[-1][1] if self.plans else None

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or no more are to be."""
        return self.ended or (self.total is not None and self.step >= self.total)


def save_checkpoint(
    folder: Path, state: State, progress: Progress, keep: int, branch: int | None, keep_every: int | None
) -> Path:
    """Write `folder/step-NNNNNN`, whole or not at all, then remove checkpoints that are not needed any more.

    Every process must call this. Whole tensors are written by the main process, one file a part; of tensors
    that are shared out every process writes its share. Either form is read by any number of processes.

    Args:
        folder: of all checkpoints of the run.
        state: the tensors to write.
        progress: where the run stands.
        keep: how many of the newest checkpoints stay.
        branch: the newest checkpoint of this step or before stays too: a longer run can begin there.
        keep_every: checkpoints of every so many steps stay too.

    Raises:
        JielongError: the disk is full, or cannot be written to. Nothing half-written is left, and the
            checkpoints before it are as they were.
    """
    path = folder / f"step-{progress.step:06d}"
    needed = _SPARE_BYTES + sum(tensor.nbytes for part in state.values() for tensor in part.values())
    with failing_together():
        _require_space(path, needed)
    try:
        with folder_written_together(path) as aside:
            _write_state(aside, state)
            if is_main():
                (aside / "progress.json").write_text(to_json(asdict(progress)), encoding="utf-8")
                hashes = {file.name: hash_file(file) for file in sorted(aside.iterdir())}
                (aside / "manifest.json").write_text(to_json(hashes), encoding="utf-8")
    except OtherFailedError:
        raise
    except (JielongError, SafetensorError) as error:
        if _is_full(error):
            raise _no_space(path, needed) from error
        raise JielongError(f"cannot write checkpoint {path}: {error}") from error
    if is_main():
        _remove_old(folder, progress.step, keep, branch, keep_every)
    return path


def _write_state(folder: Path, state: State) -> None:
    if is_sharded(state["model"].values()):
        from jielong.training.shards import save_shards  # its imports take a second; most runs need not pay

        save_shards(folder, state)
    elif is_main():
        for part, tensors in state.items():
            save_file({name: _storable(tensor) for name, tensor in tensors.items()}, _file(folder, part))


def newest_checkpoint(folder: Path, last_step: int | None = None) -> Path | None:
    """The newest whole checkpoint, or None. A damaged one is passed over for the one before it.

    Args:
        folder: of all checkpoints of the run.
        last_step: consider only checkpoints of this step and before.
    """
    for path in reversed(list_checkpoints(folder)):
        if (last_step is None or step_of(path) <= last_step) and _is_whole(path):
            return path
    return None


def last_good(folder: Path) -> str:
    """Say which checkpoint is the newest whole one."""
    kept = newest_checkpoint(folder)
    return f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet"


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of an earlier run."""
    for path in list_checkpoints(folder):
        shutil.rmtree(path)


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints, damaged ones too, the oldest first."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def read_progress(path: Path) -> Progress:
    """Where the run of a checkpoint stood."""
    values: dict[str, Any] = read_json(path / "progress.json")
    try:
        values["plans"] = tuple((at, total) for at, total in values["plans"])
        values["health"] = Health(**values["health"])
        values["identity"] = RunIdentity(**values["identity"])
        return Progress(**values)
    except (TypeError, ValueError, KeyError) as error:
        raise JielongError(f"checkpoint {path} was written by another version of jielong: {error}") from error


def read_state(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> State:
    """The tensors of a checkpoint: on the CPU, or shared out over the processes as the model is."""
    sharded = is_sharded(model.parameters())
    try:
        if not sharded and _file(path, "model").exists():
            return {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        from jielong.training import shards

        layout = shards.layout_of(model, optimizers)
        if not _file(path, "model").exists():
            return shards.load_shards(path, layout)
        whole = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        return shards.share_out(whole, layout)
    except (SafetensorError, OSError) as error:
        raise JielongError(f"checkpoint {path} cannot be read: {error}") from error


def _remove_old(folder: Path, step: int, keep: int, branch: int | None, keep_every: int | None) -> None:
    found = list_checkpoints(folder)
    # Later ones belong to a future that this run has left: it was resumed from before them.
    past = [path for path in found if step_of(path) <= step]
    kept = set(past[-keep:])
    kept |= set([path for path in past if branch is not None and step_of(path) <= branch][-1:])
    kept |= {path for path in past if keep_every and step_of(path) % keep_every == 0}
    for path in found:
        if path not in kept:
            shutil.rmtree(path)


def _is_whole(path: Path) -> bool:
    try:
        manifest: dict[str, str] = read_json(path / "manifest.json")
        return all(hash_file(path / name) == expected for name, expected in manifest.items())
    except (JielongError, OSError):
        return False


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.safetensors"


def _storable(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().cpu()


def _require_space(path: Path, needed: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise JielongError(f"cannot write checkpoint {path}: {error}") from error
    if free < needed:
        raise _no_space(path, needed)


def _no_space(path: Path, needed: int) -> JielongError:
    free = shutil.disk_usage(path.parent).free
    return JielongError(
        f"no space for checkpoint {path}: it needs {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; "
        f"{last_good(path.parent)}. Free some space, then run the same command with --resume"
    )


def _is_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that the disk or the quota is used up."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    codes = re.findall(r"os error (\d+)", str(error)) if isinstance(error, SafetensorError) else []
    cause = error.__cause__
    return any(int(code) in _FULL for code in codes) or (cause is not None and _is_full(cause))
