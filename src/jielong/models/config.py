"""The shape of a network: one frozen record with the field's standard names, checked when it is made."""

from dataclasses import dataclass
from typing import Literal

from jielong.core.errors import JielongError

RopeType = Literal["default", "linear", "llama3", "yarn"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary frequencies are stretched for contexts longer than those a model was born with.

    Attributes:
        rope_type: `linear` (position interpolation, arXiv 2306.15595), `llama3` (Llama 3.1) or
            `yarn` (arXiv 2309.00071).
        factor: how many times longer the context became.
        original_max_position_embeddings: the context before stretching, in tokens (llama3, yarn).
        low_freq_factor: llama3: wavelengths above original/low are divided by `factor`.
        high_freq_factor: llama3: wavelengths below original/high are kept.
        beta_fast: yarn: dimensions that turn more often than this within the original context are kept.
        beta_slow: yarn: dimensions that turn less often than this are divided by `factor`.
        attention_factor: yarn: multiplier of the cos and sin tables; None derives it from `factor`.
    """

    rope_type: RopeType
    factor: float
    original_max_position_embeddings: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        if self.rope_type not in ("linear", "llama3", "yarn"):
            raise JielongError(f"rope_type {self.rope_type!r} is not supported; use linear, llama3 or yarn")
        if self.factor <= 0:
            raise JielongError(f"rope scaling: factor must be positive, not {self.factor}")
        if self.rope_type != "linear" and self.original_max_position_embeddings < 1:
            raise JielongError(f"rope scaling {self.rope_type} needs original_max_position_embeddings")
        if self.rope_type == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise JielongError("rope scaling llama3: high_freq_factor must be above low_freq_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a decoder-only network; the defaults of the switches are Qwen3's.

    Attributes:
        family: the Hugging Face model type that this network is saved as (see `families`).
        vocab_size: rows of the embedding.
        hidden_size: width D of the residual stream.
        intermediate_size: inner width of the MLP.
        num_hidden_layers: number of blocks.
        num_attention_heads: query heads H.
        num_key_value_heads: key and value heads Hkv; fewer than H is grouped-query attention (arXiv
            2305.13245).
        head_dim: width Dh of one head.
        max_position_embeddings: the longest context, in tokens.
        tie_word_embeddings: the output head is the embedding matrix.
        mixer: name of the sequence mixer of every block.
        mlp: `gated` (SwiGLU, arXiv 2002.05202) or `plain` (two matrices).
        hidden_act: activation of the MLP.
        norm: `rmsnorm` or `layernorm`.
        norm_eps: added to the variance.
        norm_affine: norms have learned weights.
        pre_norm: normalise before each sub-layer; False normalises after it, as OPT-350m does.
        final_norm: normalise once more after the last block.
        qk_norm: RMSNorm on each query and key head (arXiv 2302.05442; Qwen3).
        qkv_bias: the query, key and value projections have biases.
        output_bias: the output projection of attention has a bias.
        mlp_bias: the MLP's matrices have biases.
        position: `rope` (arXiv 2104.09864) or `learned`.
        position_offset: unused first rows of the learned position table (OPT: 2).
        rope_theta: base of the rotary wavelengths.
        rope_scaling: stretch of the rotary frequencies, or None.
        sliding_window: a token sees itself and the `sliding_window - 1` tokens before it; None sees all.
        first_window_layer: the layers from this one on use the window (Qwen2's max_window_layers).
        embedding_size: width of the embedding where it differs from D (OPT-350m), else None.
        initializer_range: standard deviation of fresh weights.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    family: str = "qwen3"
    tie_word_embeddings: bool = True
    mixer: str = "attention"
    mlp: str = "gated"
    hidden_act: str = "silu"
    norm: str = "rmsnorm"
    norm_eps: float = 1e-6
    norm_affine: bool = True
    pre_norm: bool = True
    final_norm: bool = True
    qk_norm: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    position: str = "rope"
    position_offset: int = 0
    rope_theta: float = 1e6
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    first_window_layer: int = 0
    embedding_size: int | None = None
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise JielongError(f"model shape: {name} must be a positive whole number, not {value!r}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = ", ".join(choices)
                raise JielongError(f"model shape: {name} {getattr(self, name)!r} is not known; use {known}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise JielongError(
                f"model shape: num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.position == "rope" and self.head_dim % 2:
            raise JielongError(
                f"model shape: head_dim must be even for rotary positions, not {self.head_dim}"
            )
        if self.sliding_window is not None and self.sliding_window < 1:
            raise JielongError(f"model shape: sliding_window must be at least 1, not {self.sliding_window}")
        if self.norm_eps <= 0 or self.rope_theta <= 0:
            raise JielongError("model shape: norm_eps and rope_theta must be positive")

    def window_of(self, layer: int) -> int | None:
        """The sliding window of a layer, or None where it sees everything."""
        return self.sliding_window if layer >= self.first_window_layer else None


_COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
_CHOICES = {
    "mixer": ("attention",),
    "mlp": ("gated", "plain"),
    "hidden_act": ("silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"),
    "norm": ("rmsnorm", "layernorm"),
    "position": ("rope", "learned"),
}
