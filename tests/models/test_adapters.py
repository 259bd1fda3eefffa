"""Adapters against PEFT: names, folders, logits, merging."""

import json

import peft
import pytest
import torch
import transformers
from peers import make_peer
from safetensors.torch import load_file, save_file

from jielong.core.errors import JielongError, UsageError
from jielong.models import load_model, model_hash, save_model, write_lineage
from jielong.models.adapters import (
    LoraSettings,
    add_adapter,
    disable_adapter,
    merge_adapter,
    merge_and_unload,
    save_adapter,
    unmerge_adapter,
)

TOKENS = torch.tensor([[5, 9, 33, 2, 71, 8, 15], [7, 7, 60, 4, 96, 1, 12]])
POSITIONS = torch.arange(7).expand(2, 7)

# A base, the modules that get a pair, and what else is unusual.
CASES = {
    "qwen3": ("all-linear", {}),
    "qwen3-untied-biased": (["q_proj", "up_proj"], {"alpha": 3.0}),
    "llama": (["self_attn.v_proj", "down_proj", "lm_head"], {"rslora": True}),
    "llama-biased-tied": (["k_proj", "gate_proj", "model.layers.1.self_attn.o_proj"], {}),
    "mistral": ("all-linear", {"rslora": True, "rank": 5}),
    "gpt2": ("all-linear", {}),
    "gpt2-untied": (["c_attn", "mlp.c_proj"], {}),
    "opt": (["q_proj", "v_proj", "fc2"], {}),
    "opt-post-norm-projected": ("all-linear", {}),
}


@pytest.fixture(params=list(CASES))
def case(request, tmp_path):
    targets, more = CASES[request.param]
    peer = make_peer(request.param, tmp_path / "base")
    return (
        peer,
        tmp_path / "base",
        LoraSettings.parse({"rank": 3, "alpha": 4, "target_modules": targets, **more}),
    )


@pytest.fixture
def base(tmp_path):
    make_peer("qwen3", tmp_path / "base")
    return tmp_path / "base"


def randomise(model):
    """Weights of an adapter that matter, B among them."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape) * 0.2)
    return model


@torch.no_grad()
def logits(model):
    return model.head(model(TOKENS, POSITIONS))


@torch.no_grad()
def peer_logits(model):
    return model(TOKENS).logits


def saved(folder, **settings):
    """An adapter folder on a base folder."""
    model = randomise(
        add_adapter(load_model(folder), LoraSettings.parse({"rank": 3, "alpha": 4, **settings}))
    )
    save_adapter(model, folder.parent / "adapter", folder)
    return model, folder.parent / "adapter"


def rewritten(folder, **entries):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_peft_opens_ours_with_equal_logits(case, tmp_path):
    peer, base, settings = case
    model = randomise(add_adapter(load_model(base), settings))
    assert not torch.allclose(logits(model), peer_logits(peer), atol=0.1)
    save_adapter(model, tmp_path / "adapter", base)
    theirs = peft.PeftModel.from_pretrained(peer, tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(model), peer_logits(theirs), atol=2e-5, rtol=2e-5)
    # PEFT would have warned of names it misses, and gone on: it must have the same modules, no more.
    pairs = {name for name, _ in theirs.named_parameters() if "lora_" in name}
    assert {name.replace(".default", "") for name in pairs} == set(
        load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    )


def test_ours_opens_pefts_with_equal_logits_and_keeps_what_it_says(case, tmp_path):
    peer, base, settings = case
    targets = settings.target_modules
    peer.name_or_path = str(base)  # as `from_pretrained` notes it
    theirs = peft.get_peft_model(
        peer,
        peft.LoraConfig(
            r=settings.rank, lora_alpha=int(settings.alpha), use_rslora=settings.rslora, lora_dropout=0.25,
            target_modules=targets if isinstance(targets, str) else list(targets), task_type="CAUSAL_LM",
        ),
    )  # fmt: skip
    randomise(theirs).eval().save_pretrained(tmp_path / "adapter")
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(base)
    expected = peer_logits(theirs)
    torch.testing.assert_close(logits(load_model(tmp_path / "adapter")), expected, atol=2e-5, rtol=2e-5)
    kept = load_model(tmp_path / "adapter", merge=False)
    torch.testing.assert_close(logits(kept), expected, atol=2e-5, rtol=2e-5)
    save_adapter(kept, tmp_path / "again", base)
    again = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    again["target_modules"], said["target_modules"] = (set(x["target_modules"]) for x in (again, said))
    assert {key: said[key] for key in again} == again
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("adapter", "again"))
    repeated = {name for name in one if "lora_" not in name}  # with a pair on the head, base's own tables
    assert other.keys() == one.keys() - repeated
    assert all(torch.equal(other[name], one[name]) for name in other)
    for name in repeated:
        save_file({**one, name: one[name] + 1}, tmp_path / "adapter" / "adapter_model.safetensors")
        with pytest.raises(JielongError, match="is not a part of this adapter"):
            load_model(tmp_path / "adapter")


def test_a_fresh_adapter_changes_nothing_and_alone_is_trained(case):
    _, base, settings = case
    plain = load_model(base)
    model = add_adapter(load_model(base), settings, seed=1)
    assert torch.equal(logits(model), logits(plain))
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen == {name for name, _ in plain.named_parameters()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.head(model(TOKENS, POSITIONS)).square().sum().backward()
    assert trained
    assert all(weight.grad is not None for weight in trained)
    assert all(model.get_parameter(name).grad is None for name in frozen)


def test_the_base_is_there_bit_for_bit_while_the_adapter_is_disabled(case):
    _, base, settings = case
    expected = logits(load_model(base))
    model = randomise(add_adapter(load_model(base), settings))
    with_adapter = logits(model)
    with disable_adapter(model):
        assert torch.equal(logits(model), expected)
        with disable_adapter(model):
            pass
        assert torch.equal(logits(model), expected)
    assert torch.equal(logits(model), with_adapter)
    with pytest.raises(ZeroDivisionError), disable_adapter(model):
        raise ZeroDivisionError
    assert torch.equal(logits(model), with_adapter)


def test_merging_and_unmerging_move_no_logit(case, tmp_path):
    _, base, settings = case
    model = randomise(add_adapter(load_model(base, torch.float64), settings))
    before, weights = logits(model), {name: weight.clone() for name, weight in model.named_parameters()}
    merge_adapter(model)
    merge_adapter(model)
    torch.testing.assert_close(logits(model), before, atol=1e-12, rtol=1e-12)
    with pytest.raises(JielongError, match="unmerge_adapter first"), disable_adapter(model):
        pass
    unmerge_adapter(model)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, weights[name], atol=1e-14, rtol=1e-14)
    merged = merge_and_unload(model).float()
    save_model(merged, tmp_path / "merged", eos_id=2)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(peer_logits(theirs), before.float(), atol=2e-5, rtol=2e-5)
    assert all(weight.requires_grad for weight in merged.parameters())


def test_the_same_seed_draws_the_same_pairs_and_no_global_number(base):
    state = torch.get_rng_state()
    one, same, other = (add_adapter(load_model(base), LoraSettings(rank=4), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    drawn = [torch.cat([w.flatten() for w in m.parameters() if w.requires_grad]) for m in (one, same, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_dropout_works_while_training_alone(base):
    model = randomise(add_adapter(load_model(base), LoraSettings(rank=4, dropout=0.5)))
    assert torch.equal(logits(model), logits(model))
    model.train()
    torch.manual_seed(0)
    one, other = logits(model), logits(model)
    assert not torch.equal(one, other)
    with disable_adapter(model):
        assert torch.equal(logits(model), logits(load_model(base)))


def test_bfloat16_adapters_compute_in_bfloat16(base):
    _, adapter = saved(base)
    model = load_model(adapter, torch.bfloat16, merge=False)
    assert logits(model).dtype == torch.bfloat16
    torch.testing.assert_close(logits(model).float(), logits(load_model(adapter)), atol=0.6, rtol=0.1)


def test_a_pattern_of_modules_is_what_the_file_holds(tmp_path):
    base = tmp_path / "base"
    peer = make_peer("qwen3", base)
    peer.name_or_path = str(base)
    config = peft.LoraConfig(
        r=2, target_modules=r".*\.[12]\..*(q|down)_proj", exclude_modules=["layers.2.mlp.down_proj"]
    )
    theirs = randomise(peft.get_peft_model(peer, config)).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    ours = load_model(tmp_path / "adapter", merge=False)
    torch.testing.assert_close(logits(ours), peer_logits(theirs), atol=2e-5, rtol=2e-5)
    assert ours.adapter.target_modules == (
        "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj", "model.layers.2.self_attn.q_proj",
    )  # fmt: skip


@pytest.mark.parametrize(
    "entry",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["embed_tokens"]},
        {"rank_pattern": {"q_proj": 2}},
        {"init_lora_weights": "pissa"},
        {"something_of_next_year": {"a": 1}},
    ],
)
def test_what_would_be_computed_otherwise_is_refused(base, entry):
    _, adapter = saved(base)
    rewritten(adapter, **entry)
    with pytest.raises(
        JielongError, match=rf"adapter_config.json: {next(iter(entry))} = .* is not supported"
    ):
        load_model(adapter)


def test_a_broken_folder_is_one_clear_line(base, tmp_path):
    _, adapter = saved(base)
    config, weights = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    good = config.read_text(), weights.read_bytes()
    rewritten(adapter, r=4)
    with pytest.raises(
        JielongError, match=r"lora_A.weight has shape \[3, 56\], but this adapter.* \[4, 56\]"
    ):
        load_model(adapter)
    rewritten(adapter, r=3, peft_type="IA3")
    with pytest.raises(JielongError, match="only adapters of peft_type LORA"):
        load_model(adapter)
    config.write_text(good[0])
    weights.write_bytes(good[1][:-10])
    with pytest.raises(JielongError, match="damaged or truncated"):
        load_model(adapter)
    weights.rename(adapter / "adapter_model.bin")
    with pytest.raises(JielongError, match="pickled"):
        load_model(adapter)
    weights.write_bytes(good[1])
    rewritten(adapter, base_model_name_or_path=str(tmp_path / "elsewhere"))
    with pytest.raises(JielongError, match="elsewhere, which is not a folder here"):
        load_model(adapter)


def test_an_adapter_of_another_network_is_refused(base, tmp_path):
    _, adapter = saved(base)
    make_peer("gpt2", tmp_path / "gpt2")
    rewritten(adapter, base_model_name_or_path=str(tmp_path / "gpt2"))
    with pytest.raises(JielongError, match="no tensor for a gpt2 network"):
        load_model(adapter)
    make_peer("llama-multi-query", tmp_path / "llama")
    rewritten(adapter, base_model_name_or_path=str(tmp_path / "llama"))
    with pytest.raises(JielongError, match="was it made for another base"):
        load_model(adapter)


def test_an_adapter_knows_the_base_that_it_was_trained_on(base, tmp_path):
    _, adapter = saved(base)
    write_lineage(adapter, stage="sft", recipe={}, seed=0, parents=[base])
    expected, known = logits(load_model(adapter)), model_hash(adapter)
    # The two move together: the path in the configuration leads nowhere, the lineage's does.
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in (base, adapter):
        folder.rename(moved / folder.name)
    assert torch.equal(logits(load_model(moved / "adapter")), expected)
    assert model_hash(moved / "adapter") == known
    # Another network of the same shape takes the base's place.
    other = add_adapter(load_model(moved / "base"), LoraSettings(rank=1))
    save_model(merge_and_unload(randomise(other)), tmp_path / "other", eos_id=2)
    rewritten(moved / "adapter", base_model_name_or_path=str(tmp_path / "other"))
    with pytest.raises(JielongError, match="an adapter of other weights"):
        load_model(moved / "adapter")
    assert model_hash(moved / "adapter") != known


def test_unknown_modules_are_named_with_those_there_are(base):
    with pytest.raises(UsageError, match="no 'c_attn'; it has down_proj, gate_proj, k_proj"):
        add_adapter(load_model(base), LoraSettings(target_modules=("q_proj", "c_attn")))
    model = add_adapter(load_model(base), LoraSettings())
    with pytest.raises(JielongError, match="has an adapter already"):
        add_adapter(model, LoraSettings())


def test_models_and_adapters_are_not_saved_in_each_others_place(base, tmp_path):
    model, adapter = saved(base)
    with pytest.raises(JielongError, match="carries an adapter"):
        save_model(model, tmp_path / "model", eos_id=2)
    with pytest.raises(JielongError, match="holds an adapter already"):
        save_adapter(model, adapter, base)
    with pytest.raises(JielongError, match="no adapter to save"):
        save_adapter(load_model(base), tmp_path / "none", base)
