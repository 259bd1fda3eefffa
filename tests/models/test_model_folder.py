"""Damaged, foreign and dangerous model folders: each is one clear line that names the file."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from peers import make_peer
from safetensors.torch import load_file, save_file

from jielong.core.errors import JielongError
from jielong.models import Transformer, load_model, qwen3_config, save_model


@pytest.fixture
def folder(tmp_path):
    make_peer("qwen3", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sharded(tmp_path):
    make_peer("qwen3", tmp_path / "model", max_shard_size="20KB")
    return tmp_path / "model"


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder, change):
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def refusal(folder, *words):
    with pytest.raises(JielongError) as error:
        load_model(folder)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder, keep):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refusal(folder, "model.safetensors", "damaged or truncated", "copy it again")


def test_a_missing_folder_config_or_weight_file_is_named(folder, tmp_path):
    refusal(tmp_path / "nowhere", "nowhere", "no such folder")
    (folder / "model.safetensors").unlink()
    refusal(folder, "holds no weights", "model.safetensors")
    (folder / "config.json").unlink()
    refusal(folder, "config.json does not exist")


def test_pickled_weights_are_never_opened(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(_Bomb(str(tmp_path / "exploded")), file)
    refusal(folder, "pickled", "pytorch_model.bin", "convert")
    assert not (tmp_path / "exploded").exists()


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_missing_tensor_is_named(folder):
    name = "model.layers.1.self_attn.k_proj.weight"
    edit_weights(folder, lambda tensors: tensors.pop(name))
    refusal(folder, str(folder), name, "is in no weight file")


def test_a_tensor_of_another_shape_is_named(folder):
    name = "model.layers.2.mlp.up_proj.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: torch.zeros(56, 31)}))
    refusal(folder, "model.safetensors", name, "[56, 31]", "[56, 32]")


def test_an_unexpected_tensor_is_named(folder):
    edit_weights(folder, lambda tensors: tensors.update({"model.layers.3.extra": torch.zeros(2)}))
    refusal(folder, "model.safetensors", "model.layers.3.extra", "not a part")


def test_a_bias_that_the_config_denies_is_refused(tmp_path):
    make_peer("qwen3-untied-biased", tmp_path)
    edit_config(tmp_path, attention_bias=False)
    refusal(tmp_path, "self_attn.k_proj.bias", "not a part")


def test_an_integer_tensor_is_refused(folder):
    name = "model.norm.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: torch.ones(32, dtype=torch.int8)}))
    refusal(folder, name, "I8")


def test_the_wrong_number_of_layers_or_words_is_refused(folder):
    edit_config(folder, num_hidden_layers=4, layer_types=None)
    refusal(folder, "model.layers.3.")
    edit_config(folder, num_hidden_layers=2)
    refusal(folder, "model.layers.2.", "not a part")
    edit_config(folder, num_hidden_layers=3, vocab_size=98)
    refusal(folder, "model.embed_tokens.weight", "[97, 32]", "[98, 32]")


def test_a_tokenizer_of_another_model_is_refused(folder):
    def write(highest):
        vocabulary = {f"t{i}": i for i in range(90)}
        added = [{"id": highest, "content": "<|x|>"}]
        tokenizer = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": added}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    write(96)
    load_model(folder)
    write(97)
    refusal(folder, "tokenizer.json", "up to 97", "vocab_size 97")
    (folder / "tokenizer.json").write_text('{"model": 3}')
    refusal(folder, "tokenizer.json", "not a tokenizer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mamba2"}, ("mamba2", "not supported", "qwen3, qwen2, llama")),
        ({"model_type": None}, ("model_type None",)),
        ({"hidden_size": None}, ("hidden_size is missing",)),
        ({"hidden_size": "32"}, ("whole numbers",)),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, ("longrope",)),
        ({"rope_parameters": {"rope_type": "linear"}}, ("linear", "factor")),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            ("partial_rotary_factor 0.5",),
        ),
        ({"quantization_config": {"bits": 4}}, ("quantised",)),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, ("layer_types",)),
        ({"num_key_value_heads": 3}, ("multiple",)),
        ({"hidden_act": "mish"}, ("hidden_act 'mish'",)),
    ],
)
def test_a_config_that_this_network_does_not_compute_is_refused(folder, changes, words):
    edit_config(folder, **changes)
    refusal(folder, "config.json", *words)


def test_gpt2_switches_that_change_attention_are_refused(tmp_path):
    make_peer("gpt2", tmp_path)
    edit_config(tmp_path, scale_attn_by_inverse_layer_idx=True)
    refusal(tmp_path, "config.json", "scale_attn_by_inverse_layer_idx")


def test_older_configs_with_rope_theta_and_rope_scaling_are_read(folder):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values.pop("rope_parameters")
    scaling = {"type": "linear", "factor": 2.0}
    path.write_text(json.dumps({**values, "rope_theta": 5e5, "rope_scaling": scaling}))
    config = load_model(folder).config
    assert config.rope_theta == 5e5
    assert (config.rope_scaling.rope_type, config.rope_scaling.factor) == ("linear", 2.0)


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/etc/x.safetensors", "a/b.safetensors", ".safetensors", "x.bin", 3]
)
def test_unsafe_shard_names_are_refused(sharded, name):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.norm.weight"] = name
    path.write_text(json.dumps(index))
    refusal(sharded, "model.safetensors.index.json", "unsafe shard name")


def test_a_missing_damaged_or_misplaced_shard_is_named(sharded):
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    shards = sorted(set(index["weight_map"].values()))
    whole = (sharded / shards[0]).read_bytes()
    (sharded / shards[0]).write_bytes(whole[:-8])
    refusal(sharded, shards[0], "damaged or truncated")
    (sharded / shards[0]).unlink()
    refusal(sharded, shards[0], "does not exist though the index names it")
    (sharded / shards[0]).write_bytes(whole)
    load_model(sharded)
    path.write_text(json.dumps({**index, "weight_map": {**index["weight_map"], "ghost": shards[0]}}))
    refusal(sharded, shards[0], "lacks tensor ghost")
    path.write_text(json.dumps({"weight_map": {}}))
    refusal(sharded, "index.json", "no weight_map")
    path.write_text("{")
    refusal(sharded, "index.json", "not valid JSON")


def test_a_tied_head_that_differs_is_refused_and_an_equal_one_is_not(folder):
    edit_weights(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    before = load_model(folder).embed.weight
    edit_weights(folder, lambda t: t.pop("model.embed_tokens.weight"))
    assert torch.equal(load_model(folder).embed.weight, before)
    edit_weights(
        folder,
        lambda t: t.update(
            {
                "model.embed_tokens.weight": t["lm_head.weight"].clone(),
                "lm_head.weight": t["lm_head.weight"] + 1,
            }
        ),
    )
    refusal(folder, "lm_head.weight", "ties them")


def test_an_untied_head_that_is_missing_is_named(folder):
    edit_config(folder, tie_word_embeddings=False)
    refusal(folder, "lm_head.weight", "tie_word_embeddings")


def test_models_are_not_written_over_or_with_impossible_tokens(tmp_path):
    model = Transformer(qwen3_config(64, 1, 97, 64))
    save_model(model, tmp_path / "a", eos_id=2)
    before = (tmp_path / "a/model.safetensors").read_bytes()
    with pytest.raises(JielongError, match="never changed in place"):
        save_model(model, tmp_path / "a", eos_id=2)
    assert (tmp_path / "a/model.safetensors").read_bytes() == before
    with pytest.raises(JielongError, match="eos token id 97"):
        save_model(model, tmp_path / "b", eos_id=[3, 97])
    assert not (tmp_path / "b").exists()


def test_a_shape_that_the_family_cannot_express_is_not_saved(tmp_path):
    """Otherwise another tool would open the folder and compute something else."""
    config = qwen3_config(64, 1, 97, 64)
    for change in ({"output_bias": True}, {"hidden_act": "relu", "mlp": "plain"}, {"qk_norm": False}):
        with pytest.raises(JielongError, match=next(reversed(change))):
            save_model(Transformer(replace(config, **change)), tmp_path / "x", eos_id=2)
    assert not (tmp_path / "x").exists()
