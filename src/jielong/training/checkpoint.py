"""Checkpoints: everything a run needs to go on as if it had never stopped."""

import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jielong.core.errors import JielongError
from jielong.core.files import hash_file, read_json, to_json, write_atomically
from jielong.training.distributed import folder_written_together, is_main
from jielong.training.parallel import is_sharded

_NAME = re.compile(r"step-(\d{6,})")


@dataclass
class Progress:
    """Where a run stands; together with weights and optimizer state, all that it needs to go on."""

    step: int = 0
    """Optimizer steps taken. Batches are a pure function of the seed and this number."""
    total: int | None = None
    """Steps of the whole run; None while a time budget has not fixed them yet."""
    seconds: float = 0.0
    """Wall-clock seconds spent so far."""
    tokens: int = 0
    """Tokens seen so far, padding not counted."""
    first_loss: float | None = None
    """Mean loss of the first step, against which divergence is judged."""
    smooth_loss: float | None = None
    """Exponential mean of the loss."""
    metrics_bytes: int = 0
    """Length of metrics.jsonl; what was written after the checkpoint is cut off on resuming."""
    identity: dict[str, str] = field(default_factory=dict)
    """Hashes of recipe and data, so that a changed one is noticed."""


def save_checkpoint(
    folder: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress, keep: int
) -> Path:
    """Write `folder/step-NNNNNN` atomically and remove all but the newest `keep` checkpoints.

    Every process must call this. A model that is whole is written by the main process, in two files; of one
    that is shared out every process writes its share. Either form is read by any number of processes.
    """
    path = folder / f"step-{progress.step:06d}"
    with folder_written_together(path) as aside:
        if is_sharded(model):
            from jielong.training import shards  # its imports take a second that most runs need not pay

            shards.save_shards(
                aside, {"model": model.state_dict(), "optimizer": _optimizer_tensors(optimizers)}
            )
        elif is_main():
            save_file(_storable(model.state_dict()), aside / "model.safetensors")
            save_file(_storable(_optimizer_tensors(optimizers)), aside / "optimizer.safetensors")
        if is_main():
            write_atomically(aside / "progress.json", to_json(asdict(progress)))
            hashes = {file.name: hash_file(file) for file in sorted(aside.iterdir())}
            write_atomically(aside / "manifest.json", to_json(hashes))
    for old in _checkpoints(folder)[:-keep] if is_main() else ():
        shutil.rmtree(old)
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint, or None. A damaged one is passed over for the one before it."""
    for path in reversed(_checkpoints(folder)):
        if _is_whole(path):
            return path
    return None


def load_checkpoint(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Progress:
    """Put a checkpoint's state into a model and its optimizers, built with the same settings."""
    try:
        state = _read_state(path, model, optimizers)
        model.load_state_dict(state["model"])
        _restore_optimizers(optimizers, state["optimizer"])
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise JielongError(f"checkpoint {path} does not fit this run: {reason}") from error
    return Progress(**read_json(path / "progress.json"))


def _read_state(
    path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, dict[str, Tensor]]:
    """Tensors by part and name, each laid out over the processes as its weight is now."""
    files = {part: path / f"{part}.safetensors" for part in ("model", "optimizer")}
    is_whole = all(file.exists() for file in files.values())
    state = {part: load_file(file) for part, file in files.items()} if is_whole else {}
    if is_whole and not is_sharded(model):
        return state
    from jielong.training import shards

    layout = shards.layout_of(model, optimizers)
    return shards.share_out(state, layout) if is_whole else shards.load_shards(path, layout)


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _is_whole(path: Path) -> bool:
    try:
        manifest: dict[str, str] = read_json(path / "manifest.json")
        return all(hash_file(path / name) == expected for name, expected in manifest.items())
    except (JielongError, OSError):
        return False


def _storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: contiguous, and each storage once (a tied head is its embedding)."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in tensors.items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous().cpu()
    return kept


def _optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    tensors = {}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"{number}.{index}.{key}"] = torch.as_tensor(value).detach()
    return tensors


def _restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
