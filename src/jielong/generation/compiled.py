"""One step of decoding, compiled: a few C++ loops instead of a hundred small operations."""

from collections.abc import Sequence
from typing import Any

import torch
import torch._inductor.config as inductor
from torch import Tensor

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
}


class CompiledStep:
    """The network's step for one token a row and a fixed number of rows; caches may have any length.

    Weights are frozen into the compiled code, so they must not change afterwards.

    Args:
        model: in evaluation mode.
        rows: of every batch.
        dtype: of keys and values.
    """

    def __init__(self, model: Transformer, rows: int, dtype: torch.dtype) -> None:
        self.rows = rows
        self._device = next(model.parameters()).device

        def step(tokens: Tensor, positions: Tensor, slots: Tensor, keys: Any, values: Any) -> Tensor:
            part = CacheRows(KVCache(keys, values), 0, rows, slots.shape[0])
            return model.head(model(tokens, positions, cache=[part])[:, 0]).float()

        own = _OWN_LOOPS if rows <= _FEW_ROWS and self._device.type == "cpu" else {}
        self._step = torch.compile(
            step, dynamic=False, fullgraph=True, options={"guard_filter_fn": _needed_guards}
        )
        # Not options of torch.compile: dynamo must know of the freezing too.
        with inductor.patch({**_OPTIONS, **own}):
            self._warm_up(model.config, dtype)

    def __call__(self, tokens: Tensor, positions: Tensor, part: CacheRows) -> Tensor:
        """Compute one step.

        Args:
            tokens: [n, 1], n <= rows.
            positions: [n, 1].
            part: the cache of these rows; it has `rows` rows of its own, of which the first n are used.

        Returns:
            Logits [n, V], float32.
        """
        missing = (0, 0, 0, self.rows - len(tokens))
        tokens = torch.nn.functional.pad(tokens, missing)
        positions = torch.nn.functional.pad(positions, missing)
        slots = torch.empty(part.length, device=self._device)
        torch._dynamo.mark_dynamic(slots, 0)
        for buffer in (*part.cache.keys, *part.cache.values):
            torch._dynamo.mark_dynamic(buffer, 2)
        logits: Tensor = self._step(tokens, positions, slots, part.cache.keys, part.cache.values)
        return logits[: part.rows]

    def _warm_up(self, config: ModelConfig, dtype: torch.dtype) -> None:
        """Compile now, not when the first request waits."""
        length = min(64, config.max_position_embeddings)
        cache = KVCache.allocate(config, self.rows, length, dtype, self._device)
        tokens = torch.zeros(self.rows, 1, dtype=torch.int64, device=self._device)
        self(tokens, tokens, CacheRows(cache, 0, self.rows, length // 2))


def _needed_guards(guards: Sequence[Any]) -> list[bool]:
    """Keep the checks that tell one CompiledStep's code from another's.

    Torch checks 460 more before each step, of a network that stays what it is: a third of a millisecond, as
    long as the step itself.
    """
    return [guard.name == "rows" or "['embed']._parameters" in guard.name for guard in guards]
