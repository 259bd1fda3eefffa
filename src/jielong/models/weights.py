"""Weight files: safetensors, whole or in shards, read tensor by tensor and checked before use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.core.files import file_written_atomically, read_json, to_json, write_atomically

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOATS = ("F64", "F32", "F16", "BF16")


class WeightFiles:
    """The tensors of a model folder; each is read from disk only when it is asked for.

    Use as a context manager. All shards are opened and their headers checked at once, so that a damaged file
    is found before any memory is filled.

    Raises:
        JielongError: on missing, truncated, pickled or unsafe files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._files: dict[str, tuple[Path, Any]] = {}
        try:
            for path, expected in _shards(folder):
                self._open(path, expected)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, path: Path, expected: set[str] | None) -> None:
        try:
            file = self._stack.enter_context(safe_open(path, framework="pt", device="cpu"))
        except FileNotFoundError:
            raise JielongError(f"{path} does not exist though the index names it; copy it again") from None
        except (SafetensorError, OSError) as error:
            raise JielongError(f"{path} is damaged or truncated ({error}); copy it again") from None
        names = set(file.keys())
        for name in sorted(names if expected is None else expected):
            if name not in names:
                raise JielongError(f"{path} lacks tensor {name} that {INDEX} places there; copy both again")
        for name in sorted(names):
            if name in self._files:
                raise JielongError(
                    f"{path}: tensor {name} is also in {self._files[name][0].name}; keep one shard"
                )
            self._files[name] = (path, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._files))

    def where(self, name: str) -> str:
        """The file and tensor, for an error."""
        return f"{self._files[name][0]}: tensor {name}"

    def dtype(self, name: str) -> torch.dtype:
        """The stored type of a tensor; a type that holds no plain floating-point numbers is an error."""
        path, file = self._files[name]
        kind = file.get_slice(name).get_dtype()
        if kind not in _FLOATS:
            raise JielongError(
                f"{path}: tensor {name} has type {kind}; only {', '.join(_FLOATS)} can be loaded"
            )
        return {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[
            kind
        ]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading its numbers."""
        return tuple(self._files[name][1].get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        """Read one tensor."""
        path, file = self._files[name]
        try:
            tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise JielongError(
                f"{path}: tensor {name} cannot be read ({error}); copy the file again"
            ) from None
        return tensor


def _shards(folder: Path) -> list[tuple[Path, set[str] | None]]:
    """The safetensors files of a folder, each with the tensors that the index places there."""
    if (folder / WEIGHTS).exists():
        return [(folder / WEIGHTS, None)]
    if (folder / INDEX).exists():
        return _indexed_shards(folder)
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise JielongError(
            f"{folder} holds pickled weights ({pickled[0]}), which can run code when read; "
            f"convert them to {WEIGHTS} first"
        )
    raise JielongError(f"{folder} holds no weights: neither {WEIGHTS} nor {INDEX} is there")


def _indexed_shards(folder: Path) -> list[tuple[Path, set[str] | None]]:
    index = read_json(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise JielongError(f"{folder / INDEX} has no weight_map; copy it again")
    shards: dict[str, set[str]] = {}
    for tensor, name in places.items():
        # A name with a path in it could make us read, or a later copy write, outside of the folder.
        plain = isinstance(name, str) and not set(name) & set("/\\:\0") and not name.startswith(".")
        if not plain or not name.endswith(".safetensors"):
            raise JielongError(f"{folder / INDEX}: unsafe shard name {name!r}; only NAME.safetensors is read")
        shards.setdefault(name, set()).add(tensor)
    return [(folder / name, tensors) for name, tensors in sorted(shards.items())]


def write_weights(
    folder: Path,
    sizes: Mapping[str, int],
    make: Callable[[str], Tensor],
    max_shard_bytes: int,
) -> None:
    """Write tensors as one file, or as shards with an index when they are larger than one shard.

    Args:
        folder: where to write; it must exist.
        sizes: bytes of each tensor by its name in the file.
        make: gives a contiguous tensor by name; called shard by shard, so that only one shard is in memory.
        max_shard_bytes: a shard is not larger than this, unless it is one tensor.
    """
    shards = _plan_shards(sizes, max_shard_bytes)
    if len(shards) == 1:
        _write_shard(folder / WEIGHTS, shards[0], make)
        return
    places = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / file, names, make)
        places.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(places.items()))}
    write_atomically(folder / INDEX, to_json(index))


def _plan_shards(sizes: Mapping[str, int], max_shard_bytes: int) -> list[list[str]]:
    if max_shard_bytes < 1:
        raise JielongError(f"max_shard_bytes must be positive, not {max_shard_bytes}")
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _write_shard(path: Path, names: Iterable[str], make: Callable[[str], Tensor]) -> None:
    try:
        with file_written_atomically(path) as aside:
            # `format: pt` is what transformers demands before it opens a file.
            save_file({name: make(name) for name in names}, aside, metadata={"format": "pt"})
    except SafetensorError as error:
        raise JielongError(f"cannot write {path}: {error}") from error
