"""Counts and costs against the network itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jielong.core.errors import JielongError
from jielong.models import Transformer, count_parameters, flops_per_token, qwen3_config


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 500), st.booleans())
def test_every_derived_shape_is_valid_and_counted(width, layers, vocabulary, tied):
    config = qwen3_config(width * 64, layers, vocabulary, 64, tied=tied)
    with torch.device("meta"):
        model = Transformer(config)
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    assert config.num_attention_heads * config.head_dim == config.hidden_size
    assert config.intermediate_size % 64 == 0
    assert 8 / 3 <= config.intermediate_size / config.hidden_size <= 3.01 or config.hidden_size < 64 * 3


@pytest.mark.parametrize("tied", [True, False])
def test_the_cost_of_a_token_is_what_torch_counts(tied):
    config = qwen3_config(128, 3, 97, 64, tied=tied)
    model, length = Transformer(config), 32
    ids = torch.randint(0, 97, (2, length))
    positions = torch.arange(length).expand(2, length)
    mask = torch.ones(2, 1, length, length, dtype=torch.bool).tril()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.head(model(ids, positions, mask)).sum().backward()
    assert counter.get_total_flops() / ids.numel() == pytest.approx(flops_per_token(config, length), rel=0.01)


def test_a_width_that_heads_cannot_fill_is_refused():
    with pytest.raises(JielongError, match="multiple of 64, not 300"):
        qwen3_config(300, 2, 97)
    with pytest.raises(JielongError, match="multiple of 32, not 16"):
        qwen3_config(16, 2, 97)
