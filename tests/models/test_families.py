"""Every family against transformers, in both directions."""

import json

import pytest
import torch
import transformers
from peers import VARIANTS, make_peer
from safetensors import safe_open

from jielong.models import ModelConfig, Transformer, count_parameters, load_model, qwen3_config, save_model

TOKENS = torch.randint(3, 97, (2, 24), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.arange(24).expand(2, 24)


def logits(model):
    with torch.no_grad():
        return model.head(model(TOKENS, POSITIONS))


def peer_logits(peer):
    with torch.no_grad():
        return peer(TOKENS, attention_mask=torch.ones_like(TOKENS)).logits


def difference(a, b):
    return (a - b).abs().max().item()


def test_a_peer_model_loads_with_equal_logits(variant, tmp_path):
    peer = make_peer(variant, tmp_path / "peer")
    ours = load_model(tmp_path / "peer")
    assert difference(logits(ours), peer_logits(peer)) <= 1e-5
    assert count_parameters(ours.config) == sum(p.numel() for p in ours.parameters())
    assert count_parameters(ours.config) == sum(p.numel() for p in peer.parameters())


def test_a_saved_model_opens_in_transformers_with_equal_logits(variant, tmp_path):
    make_peer(variant, tmp_path / "peer")
    ours = load_model(tmp_path / "peer")
    save_model(ours, tmp_path / "ours", eos_id=2, bos_id=1, pad_id=0)
    peer, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype="auto"
    )
    assert not any(report.values()), report
    assert peer.dtype == torch.float32
    assert (peer.config.eos_token_id, peer.config.bos_token_id, peer.config.pad_token_id) == (2, 1, 0)
    assert peer.generation_config.eos_token_id == 2
    assert difference(logits(ours), peer_logits(peer.eval())) <= 1e-5


def test_loading_what_was_saved_is_identical(variant, tmp_path):
    make_peer(variant, tmp_path / "peer")
    ours = load_model(tmp_path / "peer")
    save_model(ours, tmp_path / "a", eos_id=2)
    again = load_model(tmp_path / "a")
    assert again.config == ours.config
    for (name, weight), (other, same) in zip(ours.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and torch.equal(weight, same)
    save_model(again, tmp_path / "b", eos_id=2)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("variant", ["qwen3", "llama", "gpt2", "opt"])
def test_the_same_tensor_names_are_written_as_transformers_writes(variant, tmp_path):
    make_peer(variant, tmp_path / "peer")
    save_model(load_model(tmp_path / "peer"), tmp_path / "ours", eos_id=2)
    with (
        safe_open(tmp_path / "peer/model.safetensors", "pt") as theirs,
        safe_open(tmp_path / "ours/model.safetensors", "pt") as ours,
    ):
        assert set(ours.keys()) == set(theirs.keys())
        assert ours.metadata() == {"format": "pt"}
        for name in ours.keys():  # noqa: SIM118
            assert torch.equal(ours.get_tensor(name), theirs.get_tensor(name)), name


@pytest.mark.parametrize("variant", ["qwen3", "llama", "gpt2"])
def test_shards_load_both_ways(variant, tmp_path):
    peer = make_peer(variant, tmp_path / "peer", max_shard_size="20KB")
    assert not (tmp_path / "peer/model.safetensors").exists()
    ours = load_model(tmp_path / "peer")
    assert difference(logits(ours), peer_logits(peer)) <= 1e-5
    save_model(ours, tmp_path / "ours", eos_id=2, max_shard_bytes=20_000)
    index = json.loads((tmp_path / "ours/model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 2
    assert index["metadata"]["total_size"] == 4 * count_parameters(ours.config)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert difference(logits(ours), peer_logits(back)) <= 1e-5
    assert torch.equal(logits(load_model(tmp_path / "ours")), logits(ours))


def test_types_are_converted_when_loading_and_saving(tmp_path):
    make_peer("qwen3", tmp_path / "peer")
    ours = load_model(tmp_path / "peer")
    save_model(ours, tmp_path / "half", eos_id=2, dtype=torch.bfloat16)
    config = json.loads((tmp_path / "half/config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    kept = load_model(tmp_path / "half", dtype=None)
    widened = load_model(tmp_path / "half")
    assert {p.dtype for p in kept.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in widened.parameters()} == {torch.float32}
    for narrow, wide, first in zip(kept.parameters(), widened.parameters(), ours.parameters(), strict=True):
        assert torch.equal(narrow.float(), wide) and torch.equal(first.bfloat16(), narrow)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto")
    assert peer.dtype == torch.bfloat16


def test_a_bare_base_model_loads(tmp_path):
    """GPT-2's own file was saved from the base model: its names have no prefix."""
    peer = make_peer("gpt2", tmp_path / "whole")
    peer.transformer.save_pretrained(tmp_path / "bare")
    assert difference(logits(load_model(tmp_path / "bare")), peer_logits(peer)) <= 1e-5


def test_fresh_weights_follow_the_seed_and_leave_the_global_generator_alone():
    config = qwen3_config(64, 2, 97, 64)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = Transformer(config, 3), Transformer(config, 3), Transformer(config, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.embed.weight, other.embed.weight)
    assert first.blocks[0].mixer.out.weight.std().item() == pytest.approx(0.02 / 2, rel=0.1)
    assert first.blocks[0].mixer.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_fresh_qwen3_opens_in_transformers(tmp_path):
    for tied in (True, False):
        ours = Transformer(qwen3_config(96, 2, 97, 64, tied=tied), seed=1)
        folder = tmp_path / f"tied-{tied}"
        save_model(ours, folder, eos_id=[2, 3], pad_id=0, generation={"do_sample": True, "temperature": 0.7})
        peer = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        assert type(peer).__name__ == "Qwen3ForCausalLM"
        assert peer.generation_config.temperature == 0.7
        assert peer.generation_config.eos_token_id == [2, 3]
        assert difference(logits(ours), peer_logits(peer)) <= 1e-5


def test_every_variant_is_read_with_its_own_switches():
    assert {VARIANTS[name][0] for name in VARIANTS} == {"Qwen3", "Qwen2", "Llama", "Mistral", "GPT2", "OPT"}
    assert ModelConfig.__dataclass_params__.frozen
