"""Networks made ready to answer: every family, every kind of weights, near to what they were."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peers import make_peer

from jielong.core.errors import JielongError, UsageError
from jielong.models import (
    WEIGHTS,
    CacheRows,
    KVCache,
    Transformer,
    choose_weights,
    load_model,
    prepare_for_inference,
    qwen3_config,
    save_model,
)
from jielong.models.inference import make_linear, step_seconds
from jielong.models.packed import FloatLinear, can_pack
from jielong.models.precision import has_fast_bfloat16
from jielong.models.quantized import Int4Linear, Int8Embedding, Int8Linear

TOKENS = torch.randint(3, 97, (2, 24), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.arange(24).expand(2, 24)
# How far logits may be from float32's, as a share of their spread. A tiny random network adds up the errors
# of few terms; what trained ones lose is in docs/benchmarks.md.
BOUNDS = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.05, "int4": 0.4}


@torch.no_grad()
def logits(model):
    return model.head(model(TOKENS, POSITIONS)).float()


def spread(a, b):
    return ((a - b).norm() / (b - b.mean(-1, keepdim=True)).norm()).item()


def tiny(**changes):
    return Transformer(replace(qwen3_config(64, 2, 97, 64), initializer_range=0.15, **changes), seed=1)


def weight_bytes(model):
    """Parameters, and the tensors that narrow layers hold."""
    held = [value for module in model.modules() for value in vars(module).values()]
    tensors = [*model.parameters(), *(value for value in held if isinstance(value, torch.Tensor))]
    return sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_family_stays_near_its_float32_logits(variant, weights, tmp_path):
    make_peer(variant, tmp_path)
    exact = logits(load_model(tmp_path))
    model = prepare_for_inference(load_model(tmp_path), weights)
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    assert model(TOKENS, POSITIONS).dtype == torch.float32
    assert spread(logits(model), exact) < BOUNDS[weights]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("tied", [True, False])
def test_one_token_at_a_time_equals_all_at_once(weights, tied):
    """One row is multiplied by a kernel, many by widened weights."""
    model = prepare_for_inference(tiny(tie_word_embeddings=tied), weights)
    cache = KVCache.allocate(model.config, 2, 24)
    steps = []
    with torch.no_grad():
        for at in range(24):
            part = [CacheRows(cache, 0, 2, at + 1)]
            steps.append(model.head(model(TOKENS[:, at : at + 1], POSITIONS[:, at : at + 1], cache=part)))
    assert spread(torch.cat(steps, 1).float(), logits(model)) < (1e-5 if weights == "float32" else 0.02)


def test_narrower_weights_take_less_memory():
    """Embedding and head are two matrices, also where they hold the same numbers."""
    config = qwen3_config(128, 2, 512, 64, tied=False)
    floats = 4 * sum(weight.numel() for weight in Transformer(config).parameters())
    sizes = {
        kind: weight_bytes(prepare_for_inference(Transformer(config), kind)) for kind in ("int8", "int4")
    }
    assert sizes["int8"] < 0.27 * floats
    assert sizes["int4"] < 0.21 * floats
    blocks = prepare_for_inference(Transformer(config), "int4").blocks
    matrices = sum(module.packed.numel() for module in blocks.modules() if isinstance(module, Int4Linear))
    assert 2 * matrices == sum(w.numel() for w in Transformer(config).blocks.parameters() if w.dim() == 2)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_a_tied_head_and_its_embedding_hold_the_same_numbers_of_eight_bits(weights):
    tied = prepare_for_inference(tiny(), weights)
    assert isinstance(tied.embed, Int8Embedding) and isinstance(tied.lm_head, Int8Linear)
    columns = tied.lm_head(torch.eye(64))
    torch.testing.assert_close(columns.t(), tied.embed(torch.arange(97)), rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("inputs", "weights", "made"),
    [
        (56, "int8", FloatLinear),
        (56, "int4", FloatLinear),
        (48, "int8", Int8Linear),
        (48, "int4", FloatLinear),
        (64, "int4", Int4Linear),
    ],
)
def test_a_width_that_a_kernel_does_not_take_is_bfloat16(inputs, weights, made):
    weight, bias = torch.randn(40, inputs), torch.randn(40)
    layer = make_linear(weight, bias, weights)
    assert type(layer) is made
    if made is FloatLinear:
        x = torch.randn(3, inputs)
        exact = x.bfloat16().float() @ weight.bfloat16().float().t() + bias
        torch.testing.assert_close(layer(x), exact, rtol=0.01, atol=0.05)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (2,), (1, 1), (3, 1), (1, 7), (5, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1200, 256), (40, 24), (4100, 256)])
def test_float_layers_compute_the_plain_product_in_either_order(shape, dtype, rows, bias):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator).to(dtype)
    added = torch.randn(shape[0], generator=generator).to(dtype) if bias else None
    layer = FloatLinear(weight, added)
    x = torch.randn(*rows, shape[1], generator=generator)
    plain = torch.nn.functional.linear(
        x.to(dtype).float(), weight.float(), None if added is None else added.float()
    )
    assert layer(x).dtype == torch.float32 and layer(x).shape == plain.shape
    assert spread(layer(x), plain) < (1e-6 if dtype == torch.float32 else 0.005)
    assert layer.packed is not None or layer.weight is not None
    assert (layer.packed is not None) == can_pack(weight)


def test_what_is_packed_is_decided_by_type_and_size(monkeypatch):
    small, large = torch.zeros(8, 8), torch.zeros(2000, 200)
    assert not can_pack(small)
    assert can_pack(large) or not torch.backends.mkldnn.is_available()
    assert not can_pack(large.half())
    monkeypatch.setattr("jielong.models.packed.has_fast_bfloat16", lambda _: False)
    assert not can_pack(large.bfloat16())
    assert FloatLinear(large.bfloat16()).weight is not None
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert not can_pack(large)


def test_choosing_leaves_the_network_as_it_was():
    model = tiny()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for rows in (1, 20):
        assert choose_weights(model, rows) in ("float32", "bfloat16", "int8")
    assert list(before) == [name for name, _ in model.named_parameters()]
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"float32": 1.0, "bfloat16": 2.0, "int8": 1.5}, "float32"),
        ({"float32": 1.0, "bfloat16": 0.8, "int8": 0.5}, "int8"),
        ({"float32": 1.0, "bfloat16": 0.5, "int8": 0.6}, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 0.95, "int8": 0.97}, "float32"),
    ],
)
def test_the_fastest_is_chosen_where_it_is_worth_it(monkeypatch, seconds, chosen):
    monkeypatch.setattr("jielong.models.inference.step_seconds", lambda _, kind, __: seconds[kind])
    assert choose_weights(tiny()) == chosen


def test_the_time_of_a_step_grows_with_the_network():
    """Estimated from some blocks: twice as many blocks take about twice the time."""
    small, large = (Transformer(qwen3_config(64, layers, 97, 64)) for layers in (4, 32))
    for kind in WEIGHTS:
        assert step_seconds(large, kind, 1) > 2 * step_seconds(small, kind, 1) > 0


def test_unknown_weights_and_other_devices_are_one_clear_line():
    with pytest.raises(UsageError, match="float32, bfloat16, int8, int4, not 'int5'"):
        prepare_for_inference(tiny(), "int5")
    with torch.device("meta"):
        elsewhere = tiny()
    with pytest.raises(JielongError, match="int8 weights are for a CPU; on meta use bfloat16"):
        prepare_for_inference(elsewhere, "int8")
    assert choose_weights(elsewhere) == "float32"
    assert prepare_for_inference(elsewhere, "bfloat16").embed.weight.dtype == torch.bfloat16


def test_a_prepared_network_is_not_saved(tmp_path):
    for kind in WEIGHTS:
        with pytest.raises(JielongError, match="prepared for inference"):
            save_model(prepare_for_inference(tiny(), kind), tmp_path / kind, eos_id=2)
        assert not (tmp_path / kind).exists()


def test_fast_bfloat16_is_what_the_processor_says():
    described = Path("/proc/cpuinfo")
    if not described.exists():
        pytest.skip("Linux says what the processor can do in /proc/cpuinfo")
    flags = described.read_text().split()
    assert has_fast_bfloat16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)


@pytest.fixture(scope="module", params=["qwen3", "gpt2", "opt"])
def taught(request, tmp_path_factory):
    """A network that has learned to repeat what it has read, and rows to examine it with."""
    folder = tmp_path_factory.mktemp("taught")
    make_peer(request.param, folder)
    model = load_model(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        loss = nats(model, repeating(generator, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_model(model, folder / "taught", eos_id=2)
    return folder / "taught", repeating(generator, 200)


def repeating(generator, rows):
    """Rows of 8 tokens of 16, and again, and again."""
    return torch.randint(3, 19, (rows, 8), generator=generator).repeat(1, 3)


def nats(model, rows, right=False):
    """Loss of what repeats, or the share of it that is guessed right."""
    positions = torch.arange(rows.shape[1] - 1).expand(len(rows), -1)
    scores = model.head(model(rows[:, :-1], positions))[:, 7:].float()
    if right:
        return (scores.argmax(-1) == rows[:, 8:]).float().mean()
    return torch.nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 8:].flatten())


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
def test_narrow_weights_keep_what_a_network_has_learned(taught, weights):
    folder, rows = taught
    with torch.no_grad():
        exact = prepare_for_inference(load_model(folder))
        narrow = prepare_for_inference(load_model(folder), weights)
        assert nats(exact, rows) < 1.5, "it has learned: by chance it is log(16) = 2.8"
        lost = (nats(narrow, rows) - nats(exact, rows)).item()
        fewer = (nats(exact, rows, right=True) - nats(narrow, rows, right=True)).item()
    assert lost < {"bfloat16": 0.002, "int8": 0.01, "int4": 0.1}[weights]
    assert fewer < {"bfloat16": 0.003, "int8": 0.005, "int4": 0.03}[weights]
