"""How large a network is, what a token costs, and a good Qwen3 shape for a width and a depth."""

from jielong.core.errors import JielongError
from jielong.models.config import ModelConfig

SHAPES = (
    (64, 2), (64, 4), (128, 3), (128, 4), (192, 4), (192, 6), (256, 4), (256, 6), (320, 6), (384, 6),
    (384, 8), (512, 8), (640, 10), (768, 12), (1024, 16), (1280, 20), (1536, 24), (2048, 24), (2048, 32),
)  # fmt: skip
"""Widths and layers that a plan chooses from, smallest first."""


def count_parameters(config: ModelConfig) -> int:
    """Number of weights, a tied head counted once."""
    width = config.hidden_size
    inner = config.embedding_size or width
    total = config.vocab_size * inner * (1 if config.tie_word_embeddings else 2)
    if inner != width:
        total += 2 * width * inner
    if config.position == "learned":
        total += (config.max_position_embeddings + config.position_offset) * width
    total += config.num_hidden_layers * _block_parameters(config)
    return total + (_norm_parameters(config) if config.final_norm else 0)


def _block_parameters(config: ModelConfig) -> int:
    width, inner = config.hidden_size, config.intermediate_size
    rows = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
    up_rows = 2 * inner if config.mlp == "gated" else inner
    total = _matrix_parameters(config) + 2 * _norm_parameters(config)
    total += 2 * config.head_dim if config.qk_norm else 0
    total += rows if config.qkv_bias else 0
    total += width if config.output_bias else 0
    return total + (up_rows + width if config.mlp_bias else 0)


def matrix_parameters(config: ModelConfig) -> int:
    """Weights of the blocks' matrices: those that Muon moves."""
    return config.num_hidden_layers * _matrix_parameters(config)


def _matrix_parameters(config: ModelConfig) -> int:
    """Weights of one block's matrices: those that cost a multiplication a token."""
    width, inner = config.hidden_size, config.intermediate_size
    rows = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
    mixed = config.num_attention_heads * config.head_dim
    return width * (rows + mixed) + width * inner * (3 if config.mlp == "gated" else 2)


def _norm_parameters(config: ModelConfig) -> int:
    if not config.norm_affine:
        return 0
    return config.hidden_size * (2 if config.norm == "layernorm" else 1)


def flops_per_token(config: ModelConfig, context_length: int, frozen: bool = False) -> int:
    """Floating-point operations of training on one token, forward and backward.

    6 operations for each weight of a matrix, the head included and the embedding look-up not, and
    12 * layers * H * Dh * T for the attention scores and their use (Kaplan et al., arXiv 2001.08361, section
    2.1; PaLM, arXiv 2204.02311, appendix B). The attention term counts the full T x T square, as PaLM does,
    though a causal kernel may skip half of it. Generation costs a third of this.

    Args:
        config: the shape.
        context_length: T, tokens in a row.
        frozen: the weights get no gradients, which saves 2 operations for each; an adapter's own, a few
            hundredths of the rest, are not counted.
    """
    width = config.hidden_size
    inner = config.embedding_size or width
    weights = matrix_parameters(config) + config.vocab_size * inner
    if inner != width:
        weights += 2 * width * inner
    layers, mixed = config.num_hidden_layers, config.num_attention_heads * config.head_dim
    return (4 if frozen else 6) * weights + 12 * layers * mixed * context_length


def qwen3_config(
    width: int,
    layers: int,
    vocab_size: int,
    context_length: int = 1024,
    *,
    tied: bool = True,
    rope_theta: float | None = None,
) -> ModelConfig:
    """A Qwen3 shape with everything derived from width and depth.

    Heads are 64 wide, or 32 below a width of 256 so that there are still several; two query heads share a
    key-value head where the number of heads is even; the MLP is three times as wide, in steps of 64, as in
    Qwen3-0.6B.

    Args:
        width: D, a multiple of the head width.
        layers: number of blocks.
        vocab_size: rows of the embedding.
        context_length: longest context in tokens.
        tied: the head is the embedding, which saves most of a small model's weights.
        rope_theta: base of the rotary wavelengths; None is 10,000 up to 4,096 tokens and Qwen3's 1,000,000
            above.
    """
    head_dim = 64 if width >= 256 else 32
    if width < head_dim or width % head_dim:
        raise JielongError(f"model width must be a multiple of {head_dim}, not {width}")
    heads = width // head_dim
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=-(-3 * width // 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2 if heads % 2 == 0 else heads,
        head_dim=head_dim,
        max_position_embeddings=context_length,
        tie_word_embeddings=tied,
        rope_theta=rope_theta if rope_theta is not None else (1e4 if context_length <= 4096 else 1e6),
    )
