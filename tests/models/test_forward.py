"""Properties of the network: every way to compute the same tokens gives the same hidden states."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import make_peer

from jielong.core.errors import JielongError
from jielong.models import (
    CacheRows,
    KVCache,
    ModelConfig,
    Transformer,
    causal_cache_mask,
    load_model,
    packed_mask,
    qwen3_config,
)
from jielong.models.attention import attend

LENGTH = 20


@pytest.fixture(params=["qwen3", "mistral-window", "qwen3-window", "gpt2", "opt-post-norm-projected"])
def model(request, tmp_path):
    make_peer(request.param, tmp_path)
    with torch.no_grad():
        yield load_model(tmp_path)


def tokens(rows=3, length=LENGTH, seed=0):
    return torch.randint(0, 97, (rows, length), generator=torch.Generator().manual_seed(seed))


def positions(rows=3, length=LENGTH):
    return torch.arange(length).expand(rows, length)


def assert_same(a, b):
    assert (a - b).abs().max().item() <= 2e-5


def test_decoding_with_a_cache_equals_the_full_forward(model):
    ids, full = tokens(), model(tokens(), positions())
    cache = KVCache.allocate(model.config, 3, LENGTH + 5)
    for at in range(LENGTH):
        where = torch.full((3, 1), at)
        # All rows are at one position, so nothing that is read needs hiding; and rows may be taken in parts.
        parts = [CacheRows(cache, 0, 2, at + 1, aligned=True), CacheRows(cache, 2, 1, at + 3)]
        assert_same(model(ids[:, at : at + 1], where, cache=parts), full[:, at : at + 1])


@pytest.mark.parametrize("sizes", [(20,), (1, 19), (7, 6, 7), (19, 1)])
def test_prefill_in_chunks_equals_prefill_at_once(model, sizes):
    ids, full = tokens(), model(tokens(), positions())
    cache = KVCache.allocate(model.config, 3, LENGTH)
    start = 0
    for size in sizes:
        where = positions()[:, start : start + size]
        rows = CacheRows(cache, 0, 3, start + size)
        assert_same(model(ids[:, start : start + size], where, cache=[rows]), full[:, start : start + size])
        start += size


def test_a_right_padded_batch_equals_single_rows_and_goes_on_decoding(model):
    """Padding writes into slots that the next tokens overwrite, so it is never seen."""
    lengths, ids = [20, 3, 11], tokens()
    cache = KVCache.allocate(model.config, 3, LENGTH + 4)
    batch = model(ids, positions(), cache=[CacheRows(cache, 0, 3, LENGTH)])
    following = tokens(rows=3, length=4, seed=1)
    for step in range(4):
        where = torch.tensor(lengths).unsqueeze(1) + step
        last = model(following[:, step : step + 1], where, cache=[CacheRows(cache, 0, 3, LENGTH + 4)])
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length], positions(1, length))
        assert_same(batch[row : row + 1, :length], alone)
        whole = torch.cat((ids[row, :length], following[row])).unsqueeze(0)
        assert_same(last[row : row + 1], model(whole, positions(1, length + 4))[:, -1:])


def test_packed_documents_equal_single_documents(model):
    lengths = [6, 1, 9]
    ids = tokens(1, 20)
    segments = torch.tensor([[0] * 6 + [1] + [2] * 9 + [-1] * 4])
    where = torch.tensor([[*range(6), 0, *range(9), *range(4)]])
    packed = model(ids, where, packed_mask(segments))
    assert packed.isfinite().all()
    start = 0
    for length in lengths:
        alone = model(ids[:, start : start + length], positions(1, length))
        assert_same(packed[:, start : start + length], alone)
        start += length


def test_a_later_token_changes_nothing_before_it(model):
    ids = tokens()
    changed = ids.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 97
    before, after = model(ids, positions()), model(changed, positions())
    assert_same(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().max() > 1e-3


def test_the_window_hides_what_lies_before_it(tmp_path):
    make_peer("mistral-window", tmp_path)
    model = load_model(tmp_path)
    ids = tokens()
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 97
    with torch.no_grad():
        moved = (model(ids, positions()) - model(changed, positions())).abs().amax(dim=(0, 2))
    reach = 3 * (7 - 1)  # three layers, each seeing six tokens back
    assert (moved[: reach + 1] > 0).all()
    assert (moved[reach + 1 :] == 0).all()


def test_a_row_of_a_cache_can_be_copied(model):
    ids = tokens()
    cache, copies = (KVCache.allocate(model.config, 3, LENGTH + 1) for _ in range(2))
    model(ids, positions(), cache=[CacheRows(cache, 0, 3, LENGTH)])
    assert (cache.batch, cache.length) == (3, LENGTH + 1)
    sources = [2, 0, 2]
    for row, source in enumerate(sources):
        copies.copy_row(row, cache, source, LENGTH)
    where = torch.full((3, 1), LENGTH)
    following = torch.tensor([[5], [6], [7]])
    out = model(following, where, cache=[CacheRows(copies, 0, 3, LENGTH + 1)])
    for row, source in enumerate(sources):
        whole = torch.cat((ids[source], following[row])).unsqueeze(0)
        assert_same(out[row : row + 1], model(whole, positions(1, LENGTH + 1))[:, -1:])


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12))
def test_the_packed_mask_is_causal_within_a_segment(segments):
    mask = packed_mask(torch.tensor([segments]))[0, 0]
    for query in range(len(segments)):
        for key in range(len(segments)):
            assert mask[query, key].item() == (key <= query and segments[key] == segments[query])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12), st.none() | st.integers(1, 5))
def test_the_cache_mask_shows_slots_up_to_the_query(where, length, window):
    mask = causal_cache_mask(torch.tensor([where]), length, window)
    assert mask.shape == (1, 1, len(where), length)
    for query, position in enumerate(where):
        for slot in range(length):
            seen = slot <= position and (window is None or position - slot < window)
            assert mask[0, 0, query, slot].item() == seen


@settings(max_examples=15)
@given(
    st.integers(1, 3),
    st.sampled_from([(4, 2), (4, 4), (3, 1)]),
    st.sampled_from([1, 2, 9, 129, 200]),
    st.booleans(),
)
def test_attention_and_its_gradients_equal_the_formula(batch, heads, length, masked):
    generator = torch.Generator().manual_seed(length)
    query_heads, kv_heads = heads
    shapes = [(batch, h, length, 8) for h in (query_heads, kv_heads, kv_heads)]
    inputs = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    causal = torch.ones(length, length, dtype=torch.bool).tril().expand(batch, 1, length, length)

    def formula(query, key, value):
        key, value = (x.repeat_interleave(query_heads // kv_heads, 1) for x in (key, value))
        scores = (query @ key.mT / 8**0.5).masked_fill(~causal, float("-inf"))
        return scores.softmax(-1) @ value

    ours, wanted = attend(*inputs, causal if masked else None), formula(*inputs)
    assert_same(ours, wanted)
    weight = torch.randn(ours.shape, generator=generator)
    for got, expected in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((wanted * weight).sum(), inputs),
        strict=True,
    ):
        assert_same(got, expected)


def test_angles_stay_exact_when_the_weights_become_bfloat16():
    model = Transformer(qwen3_config(64, 1, 97, 512))
    exact = model.rotary.cos.clone()
    model.bfloat16()
    assert model.embed.weight.dtype == torch.bfloat16
    assert torch.equal(model.rotary.cos, exact) and model.rotary.cos.dtype == torch.float32
    with torch.no_grad():
        hidden = model(tokens(), positions())
    assert hidden.dtype == torch.bfloat16 and model.head(hidden).dtype == torch.bfloat16
    assert "rotary.cos" not in model.state_dict()


def test_bfloat16_stays_near_float32():
    model = Transformer(qwen3_config(64, 2, 97, 64)).eval()
    with torch.no_grad():
        exact = model(tokens(), positions())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(tokens(), positions(), packed_mask(torch.zeros(3, LENGTH, dtype=torch.long)))
        pure = model.bfloat16()(tokens(), positions())
    for other in (mixed, pure):
        assert torch.nn.functional.cosine_similarity(exact, other.float(), dim=-1).min() > 0.99


def test_the_network_compiles_to_one_graph():
    """No part of the forward falls back to Python, with a mask or a cache or neither."""
    model = Transformer(qwen3_config(64, 2, 97, 64)).eval()
    ids, where = tokens(), positions().contiguous()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        mask = packed_mask(torch.zeros_like(ids))
        assert_same(compiled(ids, where), model(ids, where))
        assert_same(compiled(ids, where, mask), model(ids, where, mask))
        parts = [[CacheRows(KVCache.allocate(model.config, 3, 32), 0, 3, LENGTH)] for _ in range(2)]
        assert_same(compiled(ids, where, None, parts[0]), model(ids, where, None, parts[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_key_value_heads": 3}, "multiple of"),
        ({"head_dim": 15}, "head_dim must be even"),
        ({"hidden_size": 0}, "hidden_size must be a positive"),
        ({"vocab_size": 2.5}, "vocab_size must be a positive"),
        ({"mixer": "mamba"}, "mixer 'mamba' is not known; use attention"),
        ({"hidden_act": "swish2"}, "hidden_act"),
        ({"sliding_window": 0}, "sliding_window"),
    ],
)
def test_an_impossible_shape_is_one_clear_line(change, words):
    shape = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 64,
    }
    with pytest.raises(JielongError, match=words) as error:
        ModelConfig(**{**shape, **change})
    assert "\n" not in str(error.value)


def test_training_attention_equals_the_fused_kernel():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 9, 16, generator=generator) for heads in (4, 2, 2))
    mask = packed_mask(torch.tensor([[1] * 4 + [2] * 5, [1] * 7 + [0] * 2]))
    written_out = attend(query.requires_grad_(), key, value, mask)
    with torch.no_grad():
        fused = attend(query, key, value, mask)
    torch.testing.assert_close(written_out, fused, rtol=0, atol=1e-6)
