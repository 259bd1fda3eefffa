"""Networks and model folders: the Transformer, its families, loading and saving, lineage and sizes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jielong.models.cache import CacheRows, KVCache, causal_cache_mask, packed_mask
    from jielong.models.config import ModelConfig, RopeScaling
    from jielong.models.folder import load_config, load_model, save_model, weights_by_hf_name
    from jielong.models.inference import WEIGHTS, Weights, choose_weights, prepare_for_inference
    from jielong.models.lineage import (
        FamilyMember,
        add_measurements,
        family_tree,
        model_hash,
        read_lineage,
        render_family_tree,
        write_lineage,
    )
    from jielong.models.sizes import count_parameters, flops_per_token, qwen3_config
    from jielong.models.transformer import Transformer

_HOMES = {
    "cache": ("CacheRows", "KVCache", "causal_cache_mask", "packed_mask"),
    "config": ("ModelConfig", "RopeScaling"),
    "folder": ("load_config", "load_model", "save_model", "weights_by_hf_name"),
    "inference": ("WEIGHTS", "Weights", "choose_weights", "prepare_for_inference"),
    "lineage": (
        "FamilyMember",
        "add_measurements",
        "family_tree",
        "model_hash",
        "read_lineage",
        "render_family_tree",
        "write_lineage",
    ),
    "sizes": ("count_parameters", "flops_per_token", "qwen3_config"),
    "transformer": ("Transformer",),
}

__all__ = [
    "WEIGHTS",
    "CacheRows",
    "FamilyMember",
    "KVCache",
    "ModelConfig",
    "RopeScaling",
    "Transformer",
    "Weights",
    "add_measurements",
    "causal_cache_mask",
    "choose_weights",
    "count_parameters",
    "family_tree",
    "flops_per_token",
    "load_config",
    "load_model",
    "model_hash",
    "packed_mask",
    "prepare_for_inference",
    "qwen3_config",
    "read_lineage",
    "render_family_tree",
    "save_model",
    "weights_by_hf_name",
    "write_lineage",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: shapes and lineage work without loading torch."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"jielong.models.{home}"), name)
    raise AttributeError(f"module 'jielong.models' has no attribute {name!r}")
