"""What a model folder is, before any of its files is understood: a network, or an adapter and its base."""

from pathlib import Path

from jielong.core.errors import JielongError
from jielong.core.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, in PEFT's layout, and not a whole network."""
    return (folder / ADAPTER_CONFIG).is_file()


def base_of(folder: Path) -> Path | None:
    """The model folder that an adapter folder changes; None for the folder of a whole network.

    It is looked for at `base_model_name_or_path`, as seen from the current folder and from the adapter's, and
    then at the parent that lineage.json names relative to it, so that a run and its base can move together.

    Raises:
        JielongError: no such folder is here, or it holds an adapter too.
    """
    if not is_adapter(folder):
        return None
    config = read_json(folder / ADAPTER_CONFIG)
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name:
        raise JielongError(f"{folder / ADAPTER_CONFIG} does not name its base: write base_model_name_or_path")
    for place in (Path(name), folder / name, *_recorded_parents(folder)):
        if is_adapter(place):
            raise JielongError(
                f"{folder} is an adapter of {place}, which is an adapter too; merge that one first with "
                "jielong export hf, and name the new folder as base_model_name_or_path"
            )
        if (place / "config.json").is_file():
            return place
    raise JielongError(
        f"{folder} is an adapter of {name}, which is not a folder here; put the base there, or write "
        f"its place as base_model_name_or_path into {ADAPTER_CONFIG}"
    )


def model_file(folder: Path, name: str) -> Path:
    """Where a file of a model lies: in its folder, or in the base's where an adapter folder lacks it."""
    if (folder / name).exists():
        return folder / name
    return (base_of(folder) or folder) / name


def _recorded_parents(folder: Path) -> list[Path]:
    if not (folder / "lineage.json").is_file():
        return []
    lineage = read_json(folder / "lineage.json")
    parents = lineage.get("parents") if isinstance(lineage, dict) else None
    paths = [parent.get("path") for parent in parents or [] if isinstance(parent, dict)]
    return [folder / path for path in paths if isinstance(path, str)]
