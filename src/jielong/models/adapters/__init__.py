"""Adapters: small sets of weights that change a network whose own weights stay as they are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jielong.models.adapters.attached import (
        add_adapter,
        attach_like,
        disable_adapter,
        merge_adapter,
        merge_and_unload,
        unmerge_adapter,
    )
    from jielong.models.adapters.folder import load_adapter, save_adapter
    from jielong.models.adapters.settings import LoraSettings

_HOMES = {
    "attached": (
        "add_adapter",
        "attach_like",
        "disable_adapter",
        "merge_adapter",
        "merge_and_unload",
        "unmerge_adapter",
    ),
    "folder": ("load_adapter", "save_adapter"),
    "settings": ("LoraSettings",),
}

__all__ = [
    "LoraSettings",
    "add_adapter",
    "attach_like",
    "disable_adapter",
    "load_adapter",
    "merge_adapter",
    "merge_and_unload",
    "save_adapter",
    "unmerge_adapter",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: settings work without loading torch."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"jielong.models.adapters.{home}"), name)
    raise AttributeError(f"module 'jielong.models.adapters' has no attribute {name!r}")
