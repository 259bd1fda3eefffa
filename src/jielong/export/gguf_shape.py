"""Which of llama.cpp's architectures computes a network, and the network's shape in its words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jielong.core.errors import JielongError
from jielong.models import ModelConfig, RopeScaling


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture of llama.cpp (its `src/models/NAME.cpp`), and what it can compute.

    Attributes:
        name: as in `general.architecture`.
        activations: those of our `hidden_act` that it computes.
        output_bias: whether attention's output projection may have a bias.
        joined_qkv: query, key and value are one tensor.
        interleaved_rope: rotary positions turn neighbouring dimensions.
        rope_types: the stretches of rotary positions that it knows.
    """

    name: str
    activations: tuple[str, ...] = ("silu",)
    output_bias: bool = False
    joined_qkv: bool = False
    interleaved_rope: bool = False
    rope_types: tuple[str, ...] = ("linear", "yarn")


_LLAMA = Architecture(
    "llama", output_bias=True, interleaved_rope=True, rope_types=("linear", "yarn", "llama3")
)
ARCHITECTURES: Mapping[str, Architecture] = {
    "qwen3": Architecture("qwen3"),
    "qwen2": Architecture("qwen2"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "gpt2": Architecture(
        "gpt2", activations=("gelu_new", "gelu_pytorch_tanh"), output_bias=True, joined_qkv=True
    ),
}
"""By our family's name."""


def architecture_of(config: ModelConfig) -> Architecture:
    """The architecture of a network that passed `check_shape`."""
    return ARCHITECTURES[config.family]


def check_shape(config: ModelConfig, where: str) -> None:
    """Refuse a network that llama.cpp would compute differently or not at all; `where` names the folder."""
    if config.family not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise JielongError(f"{where}: llama.cpp does not know {config.family} networks; it knows {known}")
    architecture = architecture_of(config)
    problem = None
    if config.hidden_act not in architecture.activations:
        problem = f"hidden_act {config.hidden_act}"
    elif config.output_bias and not architecture.output_bias:
        problem = "attention_bias"
    elif config.rope_scaling is not None and config.rope_scaling.rope_type not in architecture.rope_types:
        problem = f"rope scaling {config.rope_scaling.rope_type}"
    if problem is not None:
        raise JielongError(
            f"{where}: llama.cpp's {architecture.name} has no {problem}, so it would compute another network"
        )


def shape_metadata(config: ModelConfig) -> dict[str, Any]:
    """The shape as GGUF keys.

    llama.cpp gives these architectures no sliding window. Within the first window every token sees all
    earlier ones anyway, so that window is the context here.
    """
    name = architecture_of(config).name
    context = min(config.max_position_embeddings, config.sliding_window or config.max_position_embeddings)
    norm = "layer_norm_rms_epsilon" if config.norm == "rmsnorm" else "layer_norm_epsilon"
    values: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "context_length": context if config.position == "rope" else config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        f"attention.{norm}": config.norm_eps,
    }
    if config.position == "rope":
        values["rope.dimension_count"] = config.head_dim
        values["rope.freq_base"] = float(config.rope_theta)
        if config.rope_scaling is not None and config.rope_scaling.rope_type != "llama3":
            values |= _stretch(config.rope_scaling)
    return {"general.architecture": name, **{f"{name}.{key}": value for key, value in values.items()}}


def _stretch(scaling: RopeScaling) -> dict[str, Any]:
    """The stretch of the rotary positions (Llama 3's is a tensor, rope_freqs, instead)."""
    values: dict[str, Any] = {
        "rope.scaling.type": scaling.rope_type,
        "rope.scaling.factor": float(scaling.factor),
    }
    if scaling.rope_type == "yarn":
        values["rope.scaling.original_context_length"] = scaling.original_max_position_embeddings
        values["rope.scaling.yarn_beta_fast"] = float(scaling.beta_fast)
        values["rope.scaling.yarn_beta_slow"] = float(scaling.beta_slow)
        if scaling.attention_factor is not None:
            # llama.cpp multiplies cos and sin by 1 + 0.1 ln(factor) by itself (ops.cpp, rope_yarn).
            own = 1 + 0.1 * math.log(scaling.factor)
            values["rope.scaling.attn_factor"] = scaling.attention_factor / own
    return values
