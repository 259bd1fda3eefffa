"""The written content of the world: YAML files under `world/data`, which a bilingual reader can edit."""

import functools
import importlib.resources
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is about ten times faster

LANGUAGES = ("zh", "en")


@functools.cache
def load(name: str) -> Any:
    """Read `world/data/<name>.yaml`. The result is shared: read it, never change it."""
    text = importlib.resources.files("jielong.world").joinpath("data", f"{name}.yaml").read_text("utf-8")
    return yaml.load(text, _Loader)  # noqa: S506  (both loaders are the safe ones)
