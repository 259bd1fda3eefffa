"""Make a loaded network ready to answer: the type of its weights, and the kernels that multiply by them."""

import time
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.core.errors import JielongError, UsageError
from jielong.models.packed import FloatLinear
from jielong.models.precision import has_fast_bfloat16
from jielong.models.quantized import (
    INT4_GROUP,
    INT8_INPUTS,
    Int4Linear,
    Int8Embedding,
    Int8Linear,
)
from jielong.models.transformer import Transformer

Weights = Literal["float32", "bfloat16", "int8", "int4"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)

_AUTO: tuple[Weights, ...] = ("float32", "bfloat16", "int8")
_WORTH = 0.9  # rounded weights must take less than this share of float32's time
_SAMPLE = 1 << 24  # weights of the blocks that are timed
_SECONDS = 0.04  # that the timing of one kind takes, besides making it


class BFloat16Embedding(nn.Module):
    """A table of bfloat16 rows."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up tokens [B, T]; float32 [B, T, I]."""
        return F.embedding(tokens, self.weight).float()


def prepare_for_inference(model: Transformer, weights: str = "float32") -> Transformer:
    """Change a network, in place, into one that only answers, and fast.

    On a CPU `weights` is about matrices and tables. All else, what passes between the layers too, is float32:
    a CPU computes norms, rotations and attention faster so, since it has no other arithmetic for them.

    - float32: nothing is rounded. Large matrices are re-ordered for oneDNN.
    - bfloat16: matrices are re-ordered where the CPU multiplies bfloat16.
    - int8: `Int8Linear`; a matrix of a width that the kernel does not take is bfloat16.
    - int4: `Int4Linear` for the matrices of the blocks, with the same exception. Embedding and head, whose
      rounding shows most in what the model says, are int8, as llama.cpp's 4-bit files keep them wider.

    A tied head is a copy, in the order of its kernel, beside the table that tokens are looked up in.
    Elsewhere than on a CPU the whole network becomes float32 or bfloat16.

    Args:
        model: freshly loaded, on its device; its old matrices are freed one by one.
        weights: one of `WEIGHTS`.

    Returns:
        The same object, in evaluation mode and without gradients. It can't be trained or saved any more.

    Raises:
        JielongError: for int8 and int4 weights of a model that is not on a CPU.
        UsageError: for any other word.
    """
    kind = _known(weights)
    device = model.embed.weight.device
    if device.type != "cpu":
        if kind in ("int8", "int4"):
            raise JielongError(f"{kind} weights are for a CPU; on {device.type} use bfloat16")
        return model.to(_float_type(kind)).eval().requires_grad_(False)
    model.float().eval().requires_grad_(False)
    table = model.embed.weight
    head = make_linear(_head_weight(model), None, _head_kind(kind))
    model.lm_head = None
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, make_linear(child.weight, child.bias, kind))
    model.lm_head = head
    if kind != "float32":
        # Of the type of the head, which may be tied to it.
        wide = isinstance(head, FloatLinear)
        model.embed = BFloat16Embedding(table.bfloat16()) if wide else Int8Embedding(table)  # type: ignore[assignment]
    return model


def make_linear(weight: Tensor, bias: Tensor | None, weights: Weights) -> nn.Module:
    """Make the layer that multiplies by a matrix [O, I] fastest on this CPU, with weights of one kind."""
    weight = weight.detach()
    inputs = weight.shape[1]
    if weights == "int8" and inputs % INT8_INPUTS == 0:
        return Int8Linear(weight, bias)
    if weights == "int4" and inputs % INT4_GROUP == 0:
        return Int4Linear(weight, bias)
    return FloatLinear(weight.to(_float_type(weights)), bias)


def choose_weights(model: Transformer, rows: int = 1) -> Weights:
    """Choose the weights that decode fastest on this machine and cost next to nothing in quality.

    Each kind is made of a sample of the model's own matrices and timed. int4 is left to those who ask for it:
    it is hardly faster than int8 where the arithmetic of widening is the limit, and it costs much more
    quality (docs/benchmarks.md). A kind other than float32 must save a tenth of the time, else nothing is
    rounded. Near that limit two calls may choose differently; name the weights where that matters.

    Args:
        model: freshly loaded; it stays as it is.
        rows: sequences that are decoded together most of the time.
    """
    device = model.embed.weight.device
    if device.type != "cpu":
        return "bfloat16" if has_fast_bfloat16(device) else "float32"
    seconds = {kind: step_seconds(model, kind, rows) for kind in _AUTO}
    fastest = min(_AUTO, key=seconds.__getitem__)
    return fastest if seconds[fastest] < _WORTH * seconds["float32"] else "float32"


def step_seconds(model: Transformer, weights: Weights, rows: int) -> float:
    """Seconds that the matrices of one decoding step take, estimated from some blocks and the head.

    Args:
        model: freshly loaded, on a CPU; it stays as it is.
        weights: what to make of the matrices.
        rows: sequences of the step, one token each.
    """
    layers: list[nn.Module] = []
    widths: list[int] = []
    taken = blocks = 0
    for block in model.blocks:
        for child in block.modules():
            if isinstance(child, nn.Linear):
                layers.append(make_linear(child.weight, child.bias, weights))
                widths.append(child.in_features)
                taken += child.weight.numel()
        blocks += 1
        if taken >= _SAMPLE:
            break
    seconds = _best_pass(layers, widths, rows) * len(model.blocks) / blocks
    matrix = _head_weight(model)
    head = make_linear(matrix, None, _head_kind(weights))
    return seconds + _best_pass([head], [matrix.shape[1]], rows)


@torch.inference_mode()
def _best_pass(layers: Sequence[nn.Module], widths: Sequence[int], rows: int) -> float:
    """Seconds of the fastest pass through layers that each read zeros [rows, width]."""
    inputs = {width: torch.zeros(rows, width) for width in widths}
    best, passes, began = float("inf"), 0, time.perf_counter()
    while passes < 3 or time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        for layer, width in zip(layers, widths, strict=True):
            layer(inputs[width])
        best = min(best, time.perf_counter() - start)
        passes += 1
    return best


def _head_weight(model: Transformer) -> Tensor:
    weight = model.embed.weight if model.lm_head is None else model.lm_head.weight
    assert isinstance(weight, Tensor)  # noqa: S101 - the network is freshly loaded
    return weight


def _head_kind(weights: Weights) -> Weights:
    return "int8" if weights == "int4" else weights


def _known(weights: str) -> Weights:
    for kind in WEIGHTS:
        if weights == kind:
            return kind
    raise UsageError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")


def _float_type(weights: Weights) -> torch.dtype:
    return torch.float32 if weights == "float32" else torch.bfloat16
