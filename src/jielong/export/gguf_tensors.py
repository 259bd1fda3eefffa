"""Our tensors under llama.cpp's names, cut and ordered as it wants them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.export.gguf_shape import architecture_of
from jielong.models import ModelConfig, Transformer
from jielong.models.rotary import rotary_frequencies

# Our modules and the tensors that each becomes (gguf-py, tensor_mapping.py).
_NAMES = {
    "embed": ("token_embd",),
    "embed_positions": ("position_embd",),
    "norm": ("output_norm",),
    "lm_head": ("output",),
    "mixer_norm": ("attn_norm",),
    "mixer.qkv": ("attn_q", "attn_k", "attn_v"),
    "mixer.q_norm": ("attn_q_norm",),
    "mixer.k_norm": ("attn_k_norm",),
    "mixer.out": ("attn_output",),
    "mlp_norm": ("ffn_norm",),
    "mlp.gate_up": ("ffn_gate", "ffn_up"),
    "mlp.up": ("ffn_up",),
    "mlp.down": ("ffn_down",),
}


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor of the file.

    Attributes:
        name: as llama.cpp asks for it.
        values: [rows, columns] or [columns], of the model's type.
        exact: stays float32 whatever the file's type is.
    """

    name: str
    values: Tensor
    exact: bool


def gguf_tensors(model: Transformer) -> Iterator[GGUFTensor]:
    """All tensors of a network's GGUF file, those of the first layer first."""
    config = model.config
    with torch.no_grad():
        for name, weights in model.state_dict().items():
            place, kind = _place_of(name)
            for part, values in zip(*_parts(place.module, weights, config), strict=True):
                exact = values.dim() == 1 or part == "position_embd"
                yield GGUFTensor(f"{place.prefix}{part}.{kind}", values, exact)
        if config.rope_scaling is not None and config.rope_scaling.rope_type == "llama3":
            plain, _ = rotary_frequencies(config.head_dim, config.rope_theta, None)
            stretched, _ = rotary_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
            yield GGUFTensor("rope_freqs.weight", plain / stretched, exact=True)


@dataclass(frozen=True, slots=True)
class _Place:
    module: str
    prefix: str


def _place_of(name: str) -> tuple[_Place, str]:
    """Where `blocks.3.mixer.qkv.weight` goes (module mixer.qkv, prefix blk.3.), and weight or bias."""
    path, _, kind = name.rpartition(".")
    if not path.startswith("blocks."):
        return _Place(path, ""), kind
    _, layer, module = path.split(".", 2)
    return _Place(module, f"blk.{layer}."), kind


def _parts(module: str, weights: Tensor, config: ModelConfig) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """The tensors that one of ours becomes: names and rows."""
    names = _NAMES[module]
    architecture = architecture_of(config)
    if module == "mixer.qkv" and architecture.joined_qkv:
        return ("attn_qkv",), (weights,)
    if module == "mixer.qkv":
        heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        query, key, value = torch.split(weights, [heads * width, kv_heads * width, kv_heads * width])
        if architecture.interleaved_rope:
            query, key = _interleave(query, heads), _interleave(key, kv_heads)
        return names, (query, key, value)
    return names, weights.chunk(len(names))


def _interleave(rows: Tensor, heads: int) -> Tensor:
    """Order the rows of each head for llama.cpp's `llama`, which rotates neighbours and not halves."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.transpose(1, 2).reshape(rows.shape)
