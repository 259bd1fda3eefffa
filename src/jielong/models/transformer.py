"""The network: a decoder-only Transformer that reads from top to bottom.

B rows, T tokens, D width, H query heads, Hkv key-value heads, Dh head width, V vocabulary, L cache slots.
A block is a sequence mixer and an MLP, each chosen by name from a small table; everything that families
differ in is a switch of `ModelConfig`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jielong.core.errors import JielongError
from jielong.core.recipe import Settings
from jielong.models.attention import attend
from jielong.models.cache import CachePass, CacheRows, cache_passes, causal_cache_mask, window_mask
from jielong.models.config import ModelConfig
from jielong.models.embedding import Embedding
from jielong.models.linear import Linear
from jielong.models.rotary import RotaryTable, rotate


class Context(NamedTuple):
    """What every layer of one forward pass shares."""

    rotation: tuple[Tensor, Tensor] | None  # cos and sin [B, T, 1, Dh/2]
    mask: Tensor | None  # bool [B, 1, T, keys]; None is plain causal attention over the T tokens
    window_mask: Tensor | None  # the same within the sliding window
    cache: list[tuple[slice, CachePass]] | None  # rows of the batch, and their cache


class RMSNorm(nn.Module):
    """x / rms(x) * weight, computed in float32 (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float, affine: bool = True) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.empty(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension; the type of x is kept."""
        weight = None if self.weight is None else self.weight.float()
        return F.rms_norm(x.float(), (self.width,), weight, self.eps).type_as(x)


class LayerNorm(nn.Module):
    """(x - mean) / std * weight + bias, computed in float32 (arXiv 1607.06450)."""

    def __init__(self, width: int, eps: float, affine: bool = True) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.empty(width)) if affine else None
        self.bias = nn.Parameter(torch.empty(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension; the type of x is kept."""
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(x.float(), (self.width,), weight, bias, self.eps).type_as(x)


class Attention(nn.Module):
    """Causal self-attention with grouped key-value heads (arXiv 2305.13245)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        self.windowed = config.window_of(layer) is not None
        # One matrix for the three projections: on a CPU a wide product runs faster than three narrow ones.
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = Linear(config.hidden_size, rows, bias=config.qkv_bias)
        self.out = Linear(self.heads * self.head_dim, config.hidden_size, bias=config.output_bias)
        self.q_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix x [B, T, D] along T."""
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim)
        query, key, value = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        if context.rotation is not None:
            query, key = rotate(query, *context.rotation), rotate(key, *context.rotation)
        if context.cache is None:
            mask = context.window_mask if self.windowed else context.mask
            mixed = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask)
            mixed = mixed.transpose(1, 2).reshape(batch, length, self.heads * self.head_dim)
        else:
            parts = [
                cache.attend(self.layer, query[rows], key[rows], value[rows], self.windowed)
                for rows, cache in context.cache
            ]
            mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        out: Tensor = self.out(mixed)
        return out


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x)), SwiGLU when act is SiLU (arXiv 2002.05202); gate and up are one matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.act = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, T, D] to [B, T, D]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(self.act(gate) * up)
        return out


class PlainMLP(nn.Module):
    """down(act(up(x))), as in GPT-2 and OPT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.act = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, T, D] to [B, T, D]."""
        out: Tensor = self.down(self.act(self.up(x)))
        return out


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": F.relu,
}
NORMS: dict[str, type[RMSNorm | LayerNorm]] = {"rmsnorm": RMSNorm, "layernorm": LayerNorm}
MIXERS: dict[str, Callable[[ModelConfig, int], nn.Module]] = {"attention": Attention}
MLPS: dict[str, Callable[[ModelConfig], nn.Module]] = {"gated": GatedMLP, "plain": PlainMLP}


class Block(nn.Module):
    """A sequence mixer and an MLP, each on the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        norm = NORMS[config.norm]
        self.pre_norm = config.pre_norm
        self.mixer_norm = norm(config.hidden_size, config.norm_eps, config.norm_affine)
        self.mixer = MIXERS[config.mixer](config, layer)
        self.mlp_norm = norm(config.hidden_size, config.norm_eps, config.norm_affine)
        self.mlp = MLPS[config.mlp](config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map x [B, T, D] to [B, T, D]."""
        if self.pre_norm:
            x = x + self.mixer(self.mixer_norm(x), context)
            x = x + self.mlp(self.mlp_norm(x))
        else:
            x = self.mixer_norm(x + self.mixer(x, context))
            x = self.mlp_norm(x + self.mlp(x))
        return x


class Transformer(nn.Module):
    """A decoder-only language model.

    Args:
        config: the shape.
        seed: of the fresh weights; the same seed gives the same weights on any machine.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        """Keep only what goes from block to block; the backward pass computes the rest again."""
        self.adapter: Settings | None = None
        """Settings of the adapter that changes some of the layers (`models.adapters`), if there is one."""
        width = config.hidden_size
        inner = config.embedding_size or width
        self.embed = Embedding(config.vocab_size, inner)
        self.project_in = Linear(inner, width, bias=False) if inner != width else None
        learned = config.position == "learned"
        rows = config.max_position_embeddings + config.position_offset
        self.embed_positions = Embedding(rows, width) if learned else None
        self.rotary = None if learned else RotaryTable(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = (
            NORMS[config.norm](width, config.norm_eps, config.norm_affine) if config.final_norm else None
        )
        self.project_out = Linear(width, inner, bias=False) if inner != width else None
        # A tied head has no weights of its own, so nothing can untie it by accident.
        self.lm_head: nn.Module | None = (
            None if config.tie_word_embeddings else Linear(inner, config.vocab_size, bias=False)
        )
        self.score: nn.Module | None = None
        """A head that scores each position with one number, as reward models and critics have."""
        self.init_weights(seed)

    def add_score(self, keep_head: bool = False) -> None:
        """Add the head that scores; it begins with zeros, so that every score is zero.

        Args:
            keep_head: whether the network also stays a language model (a policy that shares its trunk with
                its critic). Without it an untied language head is dropped.
        """
        like = self.embed.weight
        self.score = Linear(self.config.hidden_size, 1, bias=False).to(like.device, like.dtype)
        if not like.is_meta:
            nn.init.zeros_(cast(Linear, self.score).weight)
        if not keep_head:
            self.lm_head = None

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [...] in float32 of hidden states [..., D], as `add_score`'s head gives them."""
        if self.score is None:
            raise JielongError("this network has no head that scores; it is a language model")
        scores: Tensor = self.score(hidden).squeeze(-1).float()
        return scores

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        cache: Sequence[CacheRows] | None = None,
    ) -> Tensor:
        """Compute the hidden states after the final norm.

        Args:
            tokens: [B, T] token ids.
            positions: [B, T] position of each token in its own document or conversation, from 0, below
                `max_position_embeddings`.
            mask: bool [B, 1, T, T], True where a token may attend, itself or an earlier one; None is plain
                causal attention. The sliding window of a family that has one is applied on top, within this
                call.
            cache: the caches of the batch's rows, in order; keys and values are written into them at
                `positions`, then each token attends to all that its row holds up to the token's position. A
                mask has no part in it.

        Returns:
            [B, T, D].
        """
        x: Tensor = self.embed(tokens)
        if self.project_in is not None:
            x = self.project_in(x)
        if self.embed_positions is not None:
            x = x + self.embed_positions(positions + self.config.position_offset)
        context = self._context(positions, mask, cache)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, context, use_reentrant=False)
            else:
                x = block(x, context)
        if self.norm is not None:
            x = self.norm(x)
        return x

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of the next token from hidden states [..., D]."""
        if self.project_out is not None:
            hidden = self.project_out(hidden)
        logits: Tensor = F.linear(hidden, self.embed.weight) if self.lm_head is None else self.lm_head(hidden)
        return logits

    def _context(self, positions: Tensor, mask: Tensor | None, cache: Sequence[CacheRows] | None) -> Context:
        rotation = None if self.rotary is None else self.rotary(positions)
        window = self.config.sliding_window
        if cache is not None:
            return Context(rotation, None, None, cache_passes(cache, positions, window))
        windowed = mask
        length = positions.shape[1]
        if window is not None and length > window:
            index = torch.arange(length, device=positions.device).unsqueeze(0)
            causal = causal_cache_mask(index, length) if mask is None else mask
            windowed = causal & window_mask(positions, positions, window)
        return Context(rotation, mask, windowed, None)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draw fresh weights, as GPT-2 does (Radford et al. 2019, section 2.3).

        Matrices are normal with `initializer_range`; those that write into the residual stream are divided by
        sqrt(2 layers), so that its variance does not grow with depth. Norms start at 1, biases at 0.
        """
        if self.embed.weight.is_meta:
            return
        generator = torch.Generator().manual_seed(seed)
        std = self.config.initializer_range
        residual_std = std / math.sqrt(2 * self.config.num_hidden_layers)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.dim() == 1:
                weight.fill_(1.0)
            else:
                writes_residual = name.endswith(("mixer.out.weight", "mlp.down.weight"))
                fresh = torch.empty(weight.shape, dtype=torch.float32)
                fresh.normal_(0.0, residual_std if writes_residual else std, generator=generator)
                weight.copy_(fresh)
        # A vector that all embeddings share gives queries and keys a part that does not depend on the token,
        # so heads can attend by position from the start; a tied head's logits all move by the same amount.
        # After 240 steps on text full of repetitions the loss of repeated pairs was 1.21, not 1.39 nats.
        shared = torch.empty(self.embed.weight.shape[1]).normal_(0.0, std, generator=generator)
        self.embed.weight.add_(shared.to(self.embed.weight))
