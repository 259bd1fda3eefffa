"""lineage.json: where a model comes from, and the family tree that follows from it."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.text import Text
from rich.tree import Tree

import jielong
from jielong.core.errors import JielongError
from jielong.core.files import hash_file, hash_json, read_json, to_json, write_atomically
from jielong.core.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, base_of, model_file
from jielong.models.hf_config import config_from_hf
from jielong.models.sizes import count_parameters

LINEAGE = "lineage.json"
_CONFIG = "config.json"


def model_hash(folder: Path) -> str:
    """SHA-256 over config.json and the weight files: the same network has the same hash wherever it lies.

    An adapter's is over its base's hash, its weights, and its settings without the place of the base.
    """
    base = base_of(folder)
    if base is not None:
        return hash_json([model_hash(base), _adapter_settings(folder), hash_file(folder / ADAPTER_WEIGHTS)])
    if not (folder / _CONFIG).is_file():
        raise JielongError(f"{folder} is not a model folder: it has no {_CONFIG}")
    weights = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.safetensors.index.json"))
    if not weights:
        raise JielongError(f"{folder} holds no weights")
    return hash_json({path.name: hash_file(path) for path in [folder / _CONFIG, *weights]})


def _adapter_settings(folder: Path) -> dict[str, Any]:
    places = ("base_model_name_or_path", "revision")
    return {key: value for key, value in read_json(folder / ADAPTER_CONFIG).items() if key not in places}


def check_base(folder: Path, base: Path) -> None:
    """Refuse a base whose weights are not those that an adapter folder was trained on, where that is known.

    Raises:
        JielongError: the lineage of the adapter names parents, and the base is none of them.
    """
    lineage = read_lineage(folder)
    parents = [parent["hash"] for parent in lineage["parents"]] if lineage else []
    if parents and model_hash(base) not in parents:
        raise JielongError(
            f"{folder} is an adapter of other weights than those that {base} holds now; put its base back"
        )


def write_lineage(
    folder: Path,
    *,
    stage: str,
    recipe: Mapping[str, Any],
    seed: int,
    data: Sequence[Mapping[str, Any]] = (),
    parents: Sequence[Path] = (),
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write lineage.json into a model folder whose weights and config.json are written.

    It holds no wall-clock time, so that a recipe that runs again gives the same bytes.

    Args:
        folder: the model folder.
        stage: what made it: `pretrain`, `sft`, ...
        recipe: the settings that the stage used, in full.
        seed: of the stage.
        data: fingerprints of what it read, such as {"name": "pretrain.jsonl", "sha256": "..."}.
        parents: the model folders it came from.
        measured: figures by name, such as {"bits_per_byte": 1.21}.

    Returns:
        What was written.
    """
    lineage = {
        "stage": stage,
        "recipe": dict(recipe),
        "seed": seed,
        "data": [dict(item) for item in data],
        "parents": [{"path": _relative(parent, folder), "hash": model_hash(parent)} for parent in parents],
        "versions": _versions(),
        "measured": dict(measured or {}),
        "hash": model_hash(folder),
    }
    write_atomically(folder / LINEAGE, to_json(lineage))
    return lineage


def add_measurements(folder: Path, measured: Mapping[str, Any]) -> None:
    """Add figures to a model's lineage.json, as an exam does after the stage; no hash covers them."""
    lineage = read_lineage(folder)
    if lineage is None:
        raise JielongError(f"{folder / LINEAGE} does not exist, so no figures can be added to it")
    lineage["measured"] = {**lineage["measured"], **measured}
    write_atomically(folder / LINEAGE, to_json(lineage))


def read_lineage(folder: Path) -> dict[str, Any] | None:
    """The lineage of a model folder, or None where there is none (a model made elsewhere)."""
    path = folder / LINEAGE
    if not path.exists():
        return None
    lineage = read_json(path)
    wanted = {"stage": str, "hash": str, "parents": list, "measured": dict}
    for key, kind in wanted.items():
        if not isinstance(lineage, dict) or not isinstance(lineage.get(key), kind):
            raise JielongError(
                f"{path}: {key} is missing or is not a {kind.__name__}; remove the file or restore it"
            )
    for parent in lineage["parents"]:
        if not isinstance(parent, dict) or not all(
            isinstance(parent.get(key), str) for key in ("path", "hash")
        ):
            raise JielongError(f"{path}: a parent has no path and hash; remove the file or restore it")
    return dict(lineage)


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """One model of a family tree.

    Attributes:
        name: the folder's path as written in the child's lineage, or as asked for.
        hash: of config and weights.
        state: `here`; `moved`: nothing is at the path any more; `changed`: another model is there now.
        stage: what made it; None where it has no lineage.
        parameters: number of weights; None where its config.json is gone or not readable.
        measured: figures by name.
        parents: the models it came from.
    """

    name: str
    hash: str
    state: Literal["here", "moved", "changed"]
    stage: str | None = None
    parameters: int | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple["FamilyMember", ...] = ()


def family_tree(folder: Path) -> FamilyMember:
    """Follow the parents of a model as far as they can be found.

    A parent that is gone, or whose place another model has taken, ends its branch and is shown by its hash.
    """
    return _member(folder, str(folder), model_hash(folder))


def _member(folder: Path, name: str, known_hash: str) -> FamilyMember:
    """The member at `folder`, whose hash is known to be right."""
    lineage = read_lineage(folder)
    parameters = _parameters(folder)
    if lineage is None:
        return FamilyMember(name, known_hash, "here", parameters=parameters)
    # The lineage of other weights says nothing about these.
    if lineage["hash"] != known_hash:
        return FamilyMember(name, known_hash, "changed", parameters=parameters)
    parents = tuple(_parent(folder, parent["path"], parent["hash"]) for parent in lineage["parents"])
    return FamilyMember(name, known_hash, "here", lineage["stage"], parameters, lineage["measured"], parents)


def _parent(child: Path, path: str, expected: str) -> FamilyMember:
    folder = child / path
    shown = os.path.normpath(folder)
    try:
        actual = model_hash(folder)
    except (JielongError, OSError):
        return FamilyMember(shown, expected, "moved")
    if actual != expected:
        return FamilyMember(shown, expected, "changed")
    return _member(folder, shown, expected)


def render_family_tree(folder: Path) -> Tree:
    """The family tree for a terminal: each model with its stage, size, hash and what was measured."""
    member = family_tree(folder)
    tree = Tree(_label(member), guide_style="dim")
    _grow(tree, member)
    return tree


def _grow(branch: Tree, member: FamilyMember) -> None:
    for parent in member.parents:
        _grow(branch.add(_label(parent)), parent)


def _label(member: FamilyMember) -> Text:
    text = Text()
    text.append(member.stage or "origin unknown", style="bold cyan" if member.stage else "bold")
    text.append(f"  {member.name}")
    if member.parameters is not None:
        text.append(f"  {_millions(member.parameters)} parameters")
    text.append(f"  {member.hash[:12]}", style="dim")
    if member.state == "moved":
        text.append("  no longer at this path", style="yellow")
    if member.state == "changed":
        text.append("  the folder holds other weights now", style="yellow")
    for key, value in _flat(member.measured):
        text.append(f"\n  {key}: {value}")
    return text


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _millions(count: int) -> str:
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _parameters(folder: Path) -> int | None:
    try:
        path = model_file(folder, _CONFIG)
        return count_parameters(config_from_hf(read_json(path), str(path)))
    except JielongError:
        return None


def _relative(parent: Path, folder: Path) -> str:
    """The parent's path seen from the folder, so that a run that moves as a whole keeps its tree."""
    try:
        return Path(os.path.relpath(parent.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive, on Windows
        return str(parent.resolve())


def _versions() -> dict[str, str]:
    try:
        torch_version = version("torch")
    except PackageNotFoundError:
        torch_version = "unknown"
    return {"jielong": jielong.__version__, "torch": torch_version, "python": platform.python_version()}
