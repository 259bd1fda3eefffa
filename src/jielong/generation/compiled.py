"""One step of decoding, compiled: a few C++ loops instead of a hundred small operations."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.generation.rows import FEWEST_SHARING
from jielong.models import CacheRows, KVCache, ModelConfig, Transformer

# The cache of whole graphs stores weights that inductor has re-ordered, but its key holds no weight's values:
# a network would be given those of another of its shape. Libraries are found again by their source all the
# same.
_OPTIONS: dict[str, Any] = {"freezing": True, "cpp.vec_isa_ok": True, "fx_graph_cache": False}
# With few rows a step reads every weight once and hardly computes: inductor's own loops do that several times
# as fast as the libraries' matrix products. With more rows the libraries win.
_FEW_ROWS = 4
_OWN_LOOPS: dict[str, Any] = {
    "max_autotune": True,
    "max_autotune_gemm_backends": "CPP,ATEN",
    "max_autotune_report_choices_stats": False,
    "autotune_num_choices_displayed": 0,  # no table on stderr
}


class CompiledStep:
    """The network's step for a fixed number of rows, and of tokens a row; caches may have any length.

    Where the rows are enough to share a prompt, it is compiled a second time for those that do.

    Weights are frozen into the compiled code, so they must not change afterwards.

    Args:
        model: in evaluation mode.
        rows: of every batch.
        dtype: of keys and values.
        ahead: tokens of a row besides the first.
    """

    def __init__(self, model: Transformer, rows: int, dtype: torch.dtype, ahead: int = 0) -> None:
        self.rows, self.ahead = rows, ahead
        self._device = next(model.parameters()).device

        def step(
            tokens: Tensor, positions: Tensor, slots: Tensor, keys: Any, values: Any, shared: Any
        ) -> Tensor:
            before = None if shared is None else KVCache(*shared)
            part = CacheRows(KVCache(keys, values), 0, rows, slots.shape[0], shared=before)
            if ahead:
                positions = positions + torch.arange(ahead + 1, device=positions.device)
            hidden = model(tokens, positions, cache=[part])
            return model.head(hidden.flatten(0, 1)).float()

        # Dynamo compiles a code object eight times at most; each step gets one of its own.
        step.__code__ = step.__code__.replace()
        import torch._inductor.config as inductor  # as slow as torch itself, so only where it is needed

        own = _OWN_LOOPS if rows * (ahead + 1) <= _FEW_ROWS and self._device.type == "cpu" else {}
        self._step = torch.compile(
            step, dynamic=False, fullgraph=True, options={"guard_filter_fn": _needed_guards}
        )
        # Not options of torch.compile: dynamo must know of the freezing too.
        with inductor.patch({**_OPTIONS, **own}):
            self._warm_up(model.config, dtype)

    def __call__(self, tokens: Tensor, positions: Tensor, part: CacheRows) -> Tensor:
        """Compute one step.

        Args:
            tokens: [n, t], n <= rows, t <= ahead + 1.
            positions: [n, 1] of the first tokens.
            part: the cache of these rows; it has `rows` rows of its own, of which the first n are used. Each
                has slots for `ahead` tokens after the first.

        Returns:
            Logits [n, ahead + 1, V], float32; what stands after the t-th token of a row means nothing.
        """
        # What fills a row up is written to slots that come later, and written anew before they are read.
        missing = self.rows - len(tokens)
        tokens = F.pad(tokens, (0, self.ahead + 1 - tokens.shape[1], 0, missing))
        first = 0 if part.shared is None else part.shared.length
        positions = F.pad(positions, (0, 0, 0, missing), value=first)
        slots = torch.empty(part.length, device=self._device)
        torch._dynamo.mark_dynamic(slots, 0)
        shared = None if part.shared is None else part.shared.both
        logits: Tensor = self._step(tokens, positions, slots, part.cache.keys, part.cache.values, shared)
        return logits.view(self.rows, self.ahead + 1, -1)[: part.rows]

    def _warm_up(self, config: ModelConfig, dtype: torch.dtype) -> None:
        """Compile now, not when the first request waits."""
        length = min(64, config.max_position_embeddings)
        cache = KVCache.allocate(config, self.rows, length, dtype, self._device)
        parts = [CacheRows(cache, 0, self.rows, length // 2)]
        if self.rows >= FEWEST_SHARING and config.sliding_window is None:
            parts.append(parts[0]._replace(shared=cache.row(0, length - self.ahead - 1)))
        zeros = torch.zeros(self.rows, 1, dtype=torch.int64, device=self._device)
        for part in parts:
            first = 0 if part.shared is None else part.shared.length
            for buffers in (*part.cache.both, *(() if part.shared is None else part.shared.both)):
                for buffer in buffers:
                    torch._dynamo.mark_dynamic(buffer, 2)
            self(zeros, zeros + first, part)


def _needed_guards(guards: Sequence[Any]) -> list[bool]:
    """Keep the checks that tell one CompiledStep's code from another's.

    Torch checks 460 more before each step, of a network that stays what it is: a third of a millisecond, as
    long as the step itself.
    """
    kept = ("rows", "ahead", "shared")
    return [guard.name in kept or "['embed']._parameters" in guard.name for guard in guards]
