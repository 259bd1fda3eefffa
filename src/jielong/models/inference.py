"""Make a loaded network ready to answer: the type of its weights, and the kernels that multiply by them."""

import time
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from jielong.core.errors import JielongError, UsageError
from jielong.models.packed import PackedLinear, can_pack
from jielong.models.precision import has_fast_bfloat16
from jielong.models.quantized import INT4_GROUP, INT8_INPUTS, Int4Linear, Int8Embedding, Int8Linear, round_int8
from jielong.models.transformer import Transformer

Weights = Literal["float32", "bfloat16", "int8", "int4"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)

_AUTO: tuple[Weights, ...] = ("float32", "bfloat16", "int8")
_WORTH = 0.9  # rounded weights must take less than this share of float32's time
_SAMPLE = 1 << 24  # weights of the blocks that are timed
_SECONDS = 0.04  # that the timing of one kind takes, besides making it


def prepare_for_inference(model: Transformer, weights: str = "float32") -> Transformer:
    """Change a network, in place, into one that only answers, and fast.

    What follows holds on a CPU; on other devices `float32` and `bfloat16` set the type, and no more.

    - float32: nothing is rounded. Large matrices are re-ordered for oneDNN.
    - bfloat16: weights and activations; matrices are re-ordered where the CPU multiplies bfloat16.
    - int8: matrices and embeddings by `round_int8`; the rest, activations included, is bfloat16.
    - int4: the blocks' matrices by `round_int4`; embedding and head, whose rounding shows most in what the
      model says, are int8 (llama.cpp's 4-bit files keep them wider too).

    A matrix of a width that a kernel does not take is bfloat16. A tied head shares its 8-bit codes with the
    embedding; where it is re-ordered, that is a copy beside the table that tokens are looked up in.

    Args:
        model: freshly loaded, on its device; its old matrices are freed one by one.
        weights: what to make of its weights.

    Returns:
        The same object, in evaluation mode and without gradients. It can't be trained or saved any more.

    Raises:
        JielongError: for int8 and int4 weights of a model that is not on a CPU.
        UsageError: for any other word.
    """
    if weights not in WEIGHTS:
        raise UsageError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
    rounded = weights in ("int8", "int4")
    device = model.embed.weight.device
    if rounded and device.type != "cpu":
        raise JielongError(f"{weights} weights are for a CPU; on {device.type} use bfloat16")
    table, head_weight = model.embed.weight, _head_weight(model)
    head = make_linear(head_weight, None, "int8" if rounded else weights)
    model.lm_head = None
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, make_linear(child.weight, child.bias, weights))
    if rounded and head_weight is not table:
        model.embed = Int8Embedding(*round_int8(table))  # type: ignore[assignment]
    elif isinstance(head, Int8Linear):
        model.embed = Int8Embedding(head.codes, head.scales)  # type: ignore[assignment]
    # A tied head that is a plain matrix stays the embedding.
    if head_weight is not table or not isinstance(head, nn.Linear):
        model.lm_head = head
    return model.to(_float_type(weights)).eval().requires_grad_(False)


def make_linear(weight: Tensor, bias: Tensor | None, weights: Weights) -> nn.Module:
    """Make the layer that multiplies by a matrix [O, I] fastest here, with weights of one kind."""
    weight = weight.detach()
    inputs = weight.shape[1]
    if weights == "int8" and inputs % INT8_INPUTS == 0:
        return Int8Linear(weight, bias)
    if weights == "int4" and inputs % INT4_GROUP == 0:
        return Int4Linear(weight, bias)
    dtype = _float_type(weights)
    weight, bias = weight.to(dtype), None if bias is None else bias.detach().to(dtype)
    if can_pack(weight):
        return PackedLinear(weight, bias)
    plain = nn.Linear(inputs, weight.shape[0], bias is not None, device="meta")
    plain.weight = nn.Parameter(weight, requires_grad=False)
    plain.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return plain


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
    seconds = _best_pass(layers, widths, rows, _float_type(weights)) * len(model.blocks) / blocks
    matrix = _head_weight(model)
    head = make_linear(matrix, None, "int8" if weights == "int4" else weights)
    return seconds + _best_pass([head], [matrix.shape[1]], rows, _float_type(weights))


@torch.inference_mode()
def _best_pass(layers: Sequence[nn.Module], widths: Sequence[int], rows: int, dtype: torch.dtype) -> float:
    """Seconds of the fastest pass through layers that each read zeros [rows, width]."""
    inputs = {width: torch.zeros(rows, width, dtype=dtype) for width in widths}
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


def _float_type(weights: Weights) -> torch.dtype:
    return torch.float32 if weights == "float32" else torch.bfloat16
