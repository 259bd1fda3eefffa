"""How much memory training takes: weights, gradients, optimizer state, and what the backward pass needs."""

from dataclasses import dataclass
from typing import Literal

from jielong.models import ModelConfig, count_parameters
from jielong.models.attention import kept_scores
from jielong.models.sizes import matrix_parameters

PROCESS_BYTES = 600_000_000
"""What Python, torch and its thread pools take before the first tensor, about."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes by what they hold."""

    weights: int
    """float32, whatever the precision of the computation."""
    gradients: int
    optimizer: int
    """AdamW keeps two moments of every weight; Muon one of each of the blocks' matrices."""
    activations: int
    """What one micro-batch leaves for the backward pass, uncompiled: a compiled step keeps less."""

    @property
    def total(self) -> int:
        """All tensors; the process itself takes `PROCESS_BYTES` more."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_memory(
    config: ModelConfig,
    rows: int,
    context: int,
    optimizer: Literal["adamw", "muon"],
    compute_bytes: Literal[2, 4],
    on_cpu: bool,
) -> TrainingMemory:
    """Estimate the memory of training a network.

    Args:
        config: the shape.
        rows: rows of one micro-batch.
        context: tokens in a row.
        optimizer: which one; it decides how many moments are kept.
        compute_bytes: 2 for bfloat16, 4 for float32.
        on_cpu: where attention keeps the scores of short rows instead of recomputing them.
    """
    parameters = count_parameters(config)
    moments = 2 * parameters - (matrix_parameters(config) if optimizer == "muon" else 0)
    activations = rows * context * _bytes_per_token(config, context, compute_bytes, on_cpu)
    # Autocast keeps a second copy of every matrix in the precision of the computation.
    activations += matrix_parameters(config) * compute_bytes if compute_bytes == 2 else 0
    return TrainingMemory(4 * parameters, 4 * parameters, 4 * moments, activations)


def _bytes_per_token(config: ModelConfig, context: int, compute_bytes: int, on_cpu: bool) -> int:
    """Bytes that a token leaves behind in a forward pass, by what the backward pass asks for.

    After Korthikanti et al. (arXiv 2205.05198, section 4.1), counted anew for this block: RMSNorms on
    queries and keys, rotary positions, a gated MLP, the residual stream and norms in float32.
    """
    width, inner = config.hidden_size, config.intermediate_size
    mixed = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    # Two norms: input and scaled output in float32, and the cast that the matrix reads.
    norms = 2 * width * (4 + 4 + compute_bytes)
    # Queries and keys before and after norm and rotation; values; attention's output.
    attention = (mixed + keys) * (4 + 2 * compute_bytes) + 2 * keys * compute_bytes + mixed * compute_bytes
    if on_cpu:
        # A sum for each query, and the exponentials of the scores or, of long rows, the mask as numbers.
        scores = config.num_attention_heads * kept_scores(context) // context or context
        attention += config.num_attention_heads * 4 + scores * compute_bytes
    gated = config.mlp == "gated"
    mlp = inner * compute_bytes * (4 if gated else 2)
    # Logits in the precision of the computation, and in float32 with their log-softmax.
    head = config.vocab_size * (4 + 4) + width * (4 + compute_bytes)
    return config.num_hidden_layers * (norms + attention + mlp) + head
