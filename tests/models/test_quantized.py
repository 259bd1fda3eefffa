"""Narrow weights: how they are rounded, and that every way to multiply by them uses the same ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from jielong.models.precision import has_fast_int8
from jielong.models.quantized import (
    Int4Linear,
    Int8Embedding,
    Int8Linear,
    _packs_so,
    _unpack,
    round_int4,
    round_int8,
    round_rows,
)

SEEDS = st.integers(0, 2**16)
whole_numbers = pytest.mark.skipif(
    not has_fast_int8(torch.device("cpu")), reason="the processor has no 8-bit products"
)


def matrix(outputs, inputs, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    # Outputs and inputs of unlike size, as in trained networks.
    return scale * weight * torch.rand(outputs, 1, generator=generator) * 3


def widened_int8(weight):
    codes, scales = round_int8(weight)
    return codes.float() * scales.float()[:, None]


def widened_int4(weight, group):
    codes, scales = round_int4(weight, group)
    scale, zero = scales.float().permute(2, 1, 0).repeat_interleave(group, 2)
    return (codes - 8) * scale + zero


def error(a, b, x, weight):
    """How far two products x @ weight.t() lie apart, as a share of how large such products are."""
    large = x.float().norm(dim=1, keepdim=True) * weight.norm(dim=1)
    return ((a.float() - b.float()).norm() / large.norm()).item()


@given(SEEDS, st.integers(1, 9), st.integers(1, 70), st.sampled_from([1e-6, 1.0, 1e4]))
def test_eight_bits_are_half_a_step_from_the_weight(seed, outputs, inputs, scale):
    weight = matrix(outputs, inputs, seed, scale)
    codes, scales = round_int8(weight)
    assert codes.dtype == torch.int8 and codes.abs().max() <= 127
    steps = scales.float()[:, None]
    # The scale has 8 bits: where it was rounded down, 127 of them end up to half a step below the largest.
    assert ((widened_int8(weight) - weight).abs() <= steps * 0.76).all()
    inside = weight.abs() <= 127 * steps
    assert ((widened_int8(weight) - weight).abs() <= steps * 0.501)[inside].all()


@given(SEEDS, st.integers(1, 9), st.integers(1, 3), st.sampled_from([32, 64]), st.booleans())
def test_four_bits_are_half_a_step_from_the_weight(seed, outputs, groups, group, shifted):
    weight = matrix(outputs, groups * group, seed) + (5.0 if shifted else 0.0)
    codes, scales = round_int4(weight, group)
    assert codes.min() >= 0 and codes.max() <= 15
    assert scales.shape == (groups, outputs, 2) and scales.is_contiguous()
    steps = scales[..., 0].float().t().repeat_interleave(group, 1)
    # A bfloat16 zero is off by up to its last bit, and the ends of the range by as much.
    zero_error = scales[..., 1].float().abs().t().repeat_interleave(group, 1) / 256
    assert ((widened_int4(weight, group) - weight).abs() <= steps * 0.55 + zero_error).all()


@pytest.mark.parametrize("rounded", [widened_int8, lambda w: widened_int4(w, 32)])
def test_a_matrix_of_zeros_stays_and_so_do_constant_rows_within_the_scale(rounded):
    weight = torch.zeros(4, 64)
    assert torch.equal(rounded(weight), weight)
    weight[1] = 0.5
    weight[2, ::2] = -3.0
    torch.testing.assert_close(rounded(weight), weight, rtol=1 / 128, atol=1 / 256)


def test_rounding_twice_changes_nothing():
    weight = matrix(24, 96)
    torch.testing.assert_close(widened_int8(widened_int8(weight)), widened_int8(weight), rtol=0, atol=0)


@given(SEEDS, st.integers(1, 9), st.integers(1, 70), st.sampled_from([1e-20, 1.0, 1e20]))
def test_rows_are_half_a_step_from_what_they_were(seed, rows, inputs, scale):
    x = matrix(rows, inputs, seed, scale)
    codes, scales = round_rows(x)
    assert codes.dtype == torch.uint8 and codes.min() >= 1
    assert (((codes.float() - 128) * scales - x).abs() <= scales * 0.501).all()


def test_a_row_of_zeros_stays_and_one_of_nan_does_not_become_a_number():
    layer = Int8Linear(matrix(20, 32))
    x = torch.zeros(3, 32)
    x[1, 5] = float("nan")
    assert torch.equal(layer(x)[::2], torch.zeros(2, 20))
    assert layer(x)[1].isnan().all()


@pytest.mark.parametrize("whole", [pytest.param(True, marks=whole_numbers), False])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(64, 32), (7, 16), (96, 48), (130, 208), (1, 64)])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 40])
def test_eight_bit_products_use_the_rounded_weights(shape, rows, bias, whole, monkeypatch):
    monkeypatch.setattr("jielong.models.quantized.has_fast_int8", lambda _: whole)
    weight = matrix(*shape)
    added = torch.randn(shape[0]) if bias else None
    layer = Int8Linear(weight, added)
    x = torch.randn(rows, shape[1]).bfloat16()
    exact = F.linear(x.float(), widened_int8(weight), added)
    assert layer(x).dtype == torch.bfloat16
    assert error(layer(x), exact, x, weight) < 0.006


@whole_numbers
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_whole_numbers_are_multiplied_exactly_and_never_overflow(rows):
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randint(-127, 128, (70, 4096), generator=generator).float()
    x = torch.randint(-127, 128, (rows, 4096), generator=generator).float()
    # The largest products there are, all of one sign and of both.
    weight[0], x[0] = 127.0, 127.0
    weight[1], weight[2, ::2], weight[2, 1::2] = -127.0, 127.0, -127.0
    x[:, 0] = 127.0  # scales are 1
    weight[:, 0] = 127.0
    exact = x.double() @ weight.double().t()
    torch.testing.assert_close(Int8Linear(weight)(x).double(), exact, rtol=1e-6, atol=1.0)


@whole_numbers
@given(SEEDS, st.integers(1, 70), st.sampled_from([16, 48, 256]))
def test_a_row_does_not_depend_on_the_rows_beside_it(seed, rows, inputs):
    layer = Int8Linear(matrix(33, inputs, seed))
    x = matrix(rows, inputs, seed + 1, 100.0)
    alone = torch.cat([layer(row.unsqueeze(0)) for row in x])
    assert torch.equal(layer(x), alone)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("outputs", [64, 128, 16, 97, 1])
@pytest.mark.parametrize("rows", [1, 4, 5, 129])
def test_four_bit_products_use_the_rounded_weights(outputs, group, rows, bias):
    weight = matrix(outputs, 256)
    added = torch.randn(outputs) if bias else None
    layer = Int4Linear(weight, added, group)
    x = torch.randn(rows, 256).bfloat16()
    exact = F.linear(x.float(), widened_int4(weight, group), added)
    assert layer(x).shape == (rows, outputs)
    assert error(layer(x), exact, x, weight) < 0.006
    if layer.block_half is not None:
        both = (product(x)[:, :outputs] for product in (layer.by_kernel, layer.by_widening))
        assert error(*both, x, weight) < 0.006


def test_wide_matrices_are_widened_in_parts(monkeypatch):
    weight, x = matrix(200, 64), torch.randn(300, 64).bfloat16()
    whole = Int4Linear(weight).by_widening(x)
    monkeypatch.setattr("jielong.models.quantized._WIDENED", 64 * 64)
    parts = Int4Linear(weight).by_widening(x)
    assert error(whole[:, :200], parts[:, :200], x, weight) < 0.003


@pytest.mark.parametrize("layer", [Int8Linear(matrix(48, 64)), Int4Linear(matrix(48, 64))])
def test_shape_type_and_layout_of_the_input_do_not_matter(layer):
    x = torch.randn(3, 5, 65).bfloat16()
    views = [x[..., :64], x[..., 1:], torch.randn(3, 64, 5).bfloat16().mT, x[:, 0, 1:]]
    for view in views:
        copied = layer(view.clone().contiguous())
        assert copied.shape == (*view.shape[:-1], 48)
        torch.testing.assert_close(layer(view), copied, rtol=0, atol=0)
        wide = layer(view.float())
        assert wide.dtype == torch.float32
        torch.testing.assert_close(wide, copied.float(), rtol=0.01, atol=0.02)
    # A row that does not begin at an address the kernel can load from.
    flat = torch.randn(64 + 1).bfloat16()
    torch.testing.assert_close(layer(flat[1:]), layer(flat[1:].clone()), rtol=0, atol=0)


def test_a_table_holds_the_weights_of_the_product():
    weight = matrix(20, 32)
    table, head = Int8Embedding(weight), Int8Linear(weight)
    tokens = torch.tensor([[0, 19, 3], [3, 3, 7]])
    torch.testing.assert_close(table(tokens), widened_int8(weight)[tokens], rtol=0, atol=0)
    # A row with a single one picks a column.
    torch.testing.assert_close(head(torch.eye(32)).t(), table(torch.arange(20)), rtol=0.01, atol=0)


@pytest.mark.parametrize("half", [32, 16])
def test_codes_are_found_in_both_layouts(half):
    """Bytes as the kernels of AVX-512 and of AVX2 want them, made here by the rule itself."""
    codes = torch.randint(0, 16, (128, 8), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    blocks = codes.view(-1, 2, half, 8)
    packed = (blocks[:, 0] | blocks[:, 1] << 4).mT.to(torch.uint8).reshape(128, 4)
    assert _packs_so(packed, codes, half)
    assert not _packs_so(packed, codes, 48 - half)
    assert _unpack(packed, half).shape == (128 // (2 * half), 8, 2 * half)


def test_another_layout_leaves_everything_to_the_kernel(monkeypatch):
    weight, x = matrix(64, 64), torch.randn(200, 64).bfloat16()
    usual = Int4Linear(weight)(x)
    monkeypatch.setattr("jielong.models.quantized._packs_so", lambda *_: False)
    layer = Int4Linear(weight)
    assert layer.block_half is None
    assert error(layer(x), usual, x, weight) < 0.006


def test_without_fast_bfloat16_many_rows_are_multiplied_in_float32(monkeypatch):
    weight, x = matrix(64, 64), torch.randn(200, 64).bfloat16()
    monkeypatch.setattr("jielong.models.quantized.has_fast_bfloat16", lambda _: False)
    layer, exact = Int4Linear(weight), widened_int4(weight, 32)
    assert layer.by_widening(x).dtype == torch.float32
    torch.testing.assert_close(layer.by_widening(x), x.float() @ exact.t(), rtol=1e-4, atol=1e-4)
    assert layer(x).dtype == torch.bfloat16
