"""Translate config.json of Hugging Face folders to `ModelConfig` and back."""

from collections.abc import Mapping
from typing import Any

from jielong.core.errors import JielongError
from jielong.models.config import ModelConfig, RopeScaling
from jielong.models.families import REQUIRED, Family, family_of


def config_from_hf(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Build the shape from the content of a config.json.

    Args:
        values: the parsed file.
        where: its path, for errors.

    Raises:
        JielongError: on an unknown architecture, or a value that this network does not compute.
    """
    if not isinstance(values, Mapping):
        raise JielongError(f"{where} must hold one JSON object")
    family = family_of(values.get("model_type"), where)
    if values.get("quantization_config"):
        raise JielongError(f"{where}: quantised weights are not supported; use the model's original weights")
    for name, wanted in family.required_values.items():
        if values.get(name, wanted) != wanted:
            raise JielongError(f"{where}: {name} = {values[name]!r} is not supported, only {wanted!r}")
    fields: dict[str, Any] = dict(family.switches)
    for key in family.keys:
        value = values.get(key.name)
        if value is None:
            if key.default is REQUIRED:
                raise JielongError(f"{where}: {key.name} is missing")
            value = None if key.name in values and key.field == "sliding_window" else key.default
        fields[key.field] = value
    _complete(fields, family, values, where)
    try:
        return ModelConfig(family=family.model_type, **fields)
    except JielongError as error:
        raise JielongError(f"{where}: {error}") from None
    except TypeError:
        raise JielongError(
            f"{where}: a value has the wrong type; compare it with the model's origin"
        ) from None


def _complete(fields: dict[str, Any], family: Family, values: Mapping[str, Any], where: str) -> None:
    """Fill what follows from other values."""
    width, heads = fields["hidden_size"], fields["num_attention_heads"]
    if not (isinstance(width, int) and isinstance(heads, int) and heads > 0):
        raise JielongError(f"{where}: hidden size and attention heads must be positive whole numbers")
    if fields.get("head_dim") is None:
        if width % heads:
            raise JielongError(f"{where}: hidden size {width} is not a multiple of {heads} attention heads")
        fields["head_dim"] = width // heads
    if fields.get("num_key_value_heads") is None:
        fields["num_key_value_heads"] = heads
    if fields.get("intermediate_size") is None:
        fields["intermediate_size"] = 4 * width
    if family.model_type in ("qwen3", "llama"):
        fields["output_bias"] = fields["qkv_bias"]
    if family.model_type == "opt":
        fields["output_bias"] = fields["mlp_bias"] = fields["qkv_bias"]
        fields["final_norm"] = fields["pre_norm"] and not values.get("_remove_final_layer_norm", False)
        if fields["embedding_size"] == width:
            fields["embedding_size"] = None
    if family.model_type in ("qwen2", "qwen3"):
        _fill_window(fields, values)
    if fields["position"] == "rope":
        fields["rope_theta"], fields["rope_scaling"] = _rope(values, fields, where)
    _check_layer_types(fields, values, where)


def _fill_window(fields: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Qwen's window is off unless asked for, and starts at a layer."""
    if values.get("use_sliding_window", False) and values.get("sliding_window") is not None:
        fields["sliding_window"] = values["sliding_window"]
        fields["first_window_layer"] = values.get("max_window_layers", 28)


def _check_layer_types(fields: dict[str, Any], values: Mapping[str, Any], where: str) -> None:
    """Refuse layers that attend in another way than the window's rule says."""
    kinds = values.get("layer_types")
    if kinds is None:
        return
    window, first = fields.get("sliding_window"), fields.get("first_window_layer", 0)
    expected = [
        "sliding_attention" if window is not None and layer >= first else "full_attention"
        for layer in range(fields["num_hidden_layers"])
    ]
    if kinds != expected:
        raise JielongError(f"{where}: this mixture of layer_types is not supported")


def _rope(values: Mapping[str, Any], fields: dict[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    """Base and stretch of the rotary positions, from either form of config.json.

    transformers 5 writes `rope_parameters`; before, `rope_theta` and `rope_scaling` stood side by side.
    """
    scaling = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping):
        raise JielongError(f"{where}: the rotary parameters must be a JSON object")
    theta = float(scaling.get("rope_theta", values.get("rope_theta", 10000.0)))
    partial = scaling.get("partial_rotary_factor", values.get("partial_rotary_factor", 1.0))
    if partial != 1.0:
        raise JielongError(f"{where}: partial_rotary_factor {partial} is not supported, only 1.0")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return theta, None
    for name in ("mscale", "mscale_all_dim"):
        if scaling.get(name):
            raise JielongError(f"{where}: rope scaling with {name} is not supported")
    if scaling.get("truncate", True) is not True:
        raise JielongError(f"{where}: rope scaling with truncate false is not supported")
    known = {name: scaling[name] for name in RopeScaling.__slots__ if scaling.get(name) is not None}
    known["rope_type"] = kind
    if kind in ("llama3", "yarn"):
        known.setdefault("original_max_position_embeddings", fields["max_position_embeddings"])
    try:
        return theta, RopeScaling(**known)
    except JielongError as error:
        raise JielongError(f"{where}: {error}") from None
    except TypeError:
        raise JielongError(f"{where}: rope scaling {kind!r} needs a factor") from None


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The shape as keys of config.json, without token ids and dtype.

    Raises:
        JielongError: where the family's files cannot express a switch, so that other tools would compute
            something else.
    """
    family = family_of(config.family, "model shape")
    values: dict[str, Any] = {"architectures": [family.architecture], "model_type": family.model_type}
    values |= {key.name: getattr(config, key.field) for key in family.keys}
    values |= family.required_values
    values |= family.written
    if config.position == "rope":
        values |= _rope_to_hf(config)
    if family.model_type == "opt":
        values["word_embed_proj_dim"] = config.embedding_size or config.hidden_size
        values["_remove_final_layer_norm"] = config.pre_norm and not config.final_norm
    if family.model_type in ("qwen2", "qwen3"):
        values["use_sliding_window"] = config.sliding_window is not None
        values["sliding_window"] = config.sliding_window
        values["max_window_layers"] = (
            config.num_hidden_layers if config.sliding_window is None else config.first_window_layer
        )
    if config_from_hf(values, "model shape") != config:
        raise JielongError(
            f"model shape: {config.family} files cannot say {_unsaid(config, values)}; choose another family"
        )
    return values


def _unsaid(config: ModelConfig, values: Mapping[str, Any]) -> str:
    """The switches that would be lost, as text."""
    read = config_from_hf(values, "model shape")
    names = [name for name in ModelConfig.__slots__ if getattr(read, name) != getattr(config, name)]
    return ", ".join(f"{name} = {getattr(config, name)!r}" for name in names)


def _rope_to_hf(config: ModelConfig) -> dict[str, Any]:
    """Both forms: `rope_theta` and `rope_scaling` for older readers, `rope_parameters` for transformers 5."""
    scaling = None
    if config.rope_scaling is not None:
        stretch = config.rope_scaling
        names = {
            "linear": ("rope_type", "factor"),
            "llama3": (
                "rope_type",
                "factor",
                "original_max_position_embeddings",
                "low_freq_factor",
                "high_freq_factor",
            ),
            "yarn": (
                "rope_type",
                "factor",
                "original_max_position_embeddings",
                "beta_fast",
                "beta_slow",
                "attention_factor",
            ),
        }[stretch.rope_type]
        scaling = {name: getattr(stretch, name) for name in names if getattr(stretch, name) is not None}
    parameters = {**(scaling or {"rope_type": "default"}), "rope_theta": config.rope_theta}
    return {"rope_theta": config.rope_theta, "rope_scaling": scaling, "rope_parameters": parameters}
