"""Fine-tuning with an adapter: what is trained, saved, resumed, compiled, and opened again."""

import json

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from jielong.core.errors import UsageError
from jielong.core.recipe import describe
from jielong.export import copy_hf_folder, copy_peft_folder
from jielong.generation import SamplingSettings, load_engine
from jielong.models import family_tree, load_model, model_hash, read_lineage
from jielong.models.adapters import add_adapter, disable_adapter
from jielong.tokenizer import Tokenizer
from jielong.training.optimizer import build_optimizers
from jielong.training.precision import can_compile
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import LoraSettings, OptimizerSettings, SftSettings
from jielong.training.sft import run_sft


@pytest.fixture
def base(recipe):
    return run_pretraining(recipe("base", steps=6, checkpoint_every=6), quiet=True).model


@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(
        "".join(
            json.dumps({"messages": [{"role": "user", "content": f"{n} 加一？"},
                                     {"role": "assistant", "content": f"是 {n + 1}。"}]}) + "\n"
            for n in range(60)
        )
    )  # fmt: skip
    return path


@pytest.fixture
def settings(base, chats, tmp_path):
    def make(name="sft", lora=None, **training):
        values = {"steps": 20, "batch_rows": 4, "context": 64, "schedule": {"warmup": 2}, "compile": "no",
                  "precision": "float32", "device": "cpu", "optimizer": {"lr": 5e-3}, **training}  # fmt: skip
        lora = {"rank": 4, "alpha": 8} if lora is None else lora
        return SftSettings.parse({"out": tmp_path / name, "parent": base, "data": [chats], "lora": lora,
                                  "heldout_share": 0.1, "training": values})  # fmt: skip

    return make


def state(run, step):
    folder = run / "checkpoints" / f"step-{step:06d}"
    return {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}


@torch.no_grad()
def logits(model, tokens):
    return model.head(model(tokens, torch.arange(tokens.shape[1]).expand(len(tokens), -1)))


TOKENS = torch.arange(24).view(2, 12)


def test_the_result_is_an_adapter_that_every_command_and_peft_opens(base, settings, tmp_path):
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    result = run_sft(settings(), quiet=True)
    assert result.training.bits_per_byte < 0.85 * result.training.bits_per_byte_before
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    assert {path.name for path in result.model.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "generation_config.json", "lineage.json",
        "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    lineage = read_lineage(result.model)
    assert lineage["parents"][0]["hash"] == model_hash(base)
    assert lineage["recipe"]["lora"]["rank"] == 4
    assert lineage["measured"]["trained_parameters"] < lineage["measured"]["parameters"]
    tree = family_tree(result.model)
    assert (tree.stage, tree.state, tree.parents[0].stage) == ("sft", "here", "pretrain")

    expected = logits(load_model(result.model), TOKENS)
    network = transformers.AutoModelForCausalLM.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(network, result.model).eval()
    torch.testing.assert_close(theirs(TOKENS).logits.detach(), expected, atol=2e-5, rtol=2e-5)
    alone = peft.AutoPeftModelForCausalLM.from_pretrained(result.model).eval()
    torch.testing.assert_close(alone(TOKENS).logits.detach(), expected, atol=2e-5, rtol=2e-5)

    engine = load_engine(result.model)
    asked = engine.tokenizer.encode_chat(
        [{"role": "user", "content": "3 加一？"}], add_generation_prompt=True
    )
    answer = engine.generate([asked], SamplingSettings(max_tokens=8, temperature=0.0))[0].text
    made = copy_hf_folder(result.model.parent, tmp_path / "merged")
    assert made["files"] == 7
    merged = load_engine(tmp_path / "merged")
    assert merged.generate([asked], SamplingSettings(max_tokens=8, temperature=0.0))[0].text == answer
    assert SamplingSettings.from_folder(tmp_path / "merged") == SamplingSettings.from_folder(result.model)
    torch.testing.assert_close(logits(load_model(tmp_path / "merged"), TOKENS), expected)
    assert [parent.stage for parent in family_tree(tmp_path / "merged").parents] == ["sft"]

    copy_peft_folder(result.model, tmp_path / "peft", base="someone/base")
    assert not (tmp_path / "peft" / "lineage.json").exists()
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/base"


def test_an_adapter_folder_without_a_tokenizer_uses_its_bases(base, settings):
    adapter = run_sft(settings(steps=1), quiet=True).model
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (adapter / name).unlink()
    assert Tokenizer.load(adapter).fingerprint == Tokenizer.load(base).fingerprint
    assert SamplingSettings.from_folder(adapter) == SamplingSettings.from_folder(base)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_ends_with_the_same_bytes_and_checkpoints_hold_no_base(settings, optimizer):
    lora = {"rank": 4, "dropout": 0.2}
    rates = {"name": optimizer, "lr": 5e-3, "muon_lr": 5e-3}
    more = {"average": {"decay": 0.5, "tail": 0.5}, "checkpoint_every": 4, "keep_checkpoints": 9}
    whole = run_sft(settings("whole", lora, steps=8, optimizer=rates, **more), quiet=True)
    stopped = settings("stopped", lora, steps=8, optimizer=rates, **more)
    run_sft(stopped, quiet=True)
    last = stopped.out / "checkpoints" / "step-000008"
    (last / "manifest.json").unlink()  # as if killed before it was written
    weights = (stopped.out / "model" / "adapter_model.safetensors").read_bytes()
    again = run_sft(stopped, resume=True, quiet=True)
    assert again.training.final_loss == whole.training.final_loss
    for run in (stopped.out / "model", whole.model):
        assert (run / "adapter_model.safetensors").read_bytes() == weights
    held = state(whole.run, 4)
    assert held["model"]
    assert all("lora_" in name for name in held["model"])
    assert all("lora_" in name for name in state(whole.run, 8)["average"])
    progress = json.loads((whole.run / "checkpoints/step-000004/progress.json").read_text())
    assert {"name": "parent", "sha256": model_hash(whole.run.parent / "base/model")} in progress["identity"][
        "data"
    ]


def test_a_run_is_not_resumed_on_another_base_or_with_another_rank(recipe, settings):
    run_sft(settings(steps=2), quiet=True)
    with pytest.raises(UsageError, match=r"lora.rank: 4 -> 5"):
        run_sft(settings(steps=2, lora={"rank": 5, "alpha": 8}), resume=True, quiet=True)
    other = run_pretraining(recipe("other", steps=3), quiet=True).model
    with pytest.raises(UsageError, match=r"the data changed since the checkpoint: parent"):
        run_sft(settings(steps=2).model_copy(update={"parent": other}), resume=True, quiet=True)


def test_an_adapter_of_an_adapter_is_refused_with_the_way_out(settings):
    adapter = run_sft(settings(steps=1), quiet=True).model
    with pytest.raises(UsageError, match="merge it first: jielong export hf"):
        run_sft(settings("more").model_copy(update={"parent": adapter}), quiet=True)
    # All weights of the merged network can be trained.
    full = settings("full", steps=1).model_copy(update={"parent": adapter, "lora": None})
    assert (run_sft(full, quiet=True).model / "model.safetensors").exists()


def test_the_policy_and_its_reference_share_the_weights(base):
    """What DPO and RL compute: the ratio to the reference is exactly 1 before the first step."""
    model = add_adapter(load_model(base), LoraSettings(rank=4)).train()
    optimizers = build_optimizers(model, OptimizerSettings())

    def ratio():
        chosen = TOKENS.roll(-1, 1)[..., None]
        policy = logits_with_gradient(model).log_softmax(-1).gather(-1, chosen)
        with torch.no_grad(), disable_adapter(model):
            reference = logits_with_gradient(model).log_softmax(-1).gather(-1, chosen)
        return (policy - reference).exp()

    first = ratio()
    assert (first == 1).all()
    (-first.log().mean() * 100 - first.mean()).backward()
    for optimizer in optimizers:
        optimizer.step()
    assert (ratio() > 1).float().mean() > 0.7


def logits_with_gradient(model):
    return model.head(model(TOKENS, torch.arange(TOKENS.shape[1]).expand(len(TOKENS), -1)))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizers_move_the_adapter_alone(base, name):
    model = add_adapter(load_model(base), LoraSettings(rank=4))
    frozen = {key: weight.clone() for key, weight in model.named_parameters() if not weight.requires_grad}
    optimizers = build_optimizers(model, OptimizerSettings(name=name))
    held = [weight for o in optimizers for group in o.param_groups for weight in group["params"]]
    assert {id(weight) for weight in held} == {id(w) for w in model.parameters() if w.requires_grad}
    for _ in range(2):
        logits_with_gradient(model).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(model.get_parameter(key), weight) for key, weight in frozen.items())
    assert not torch.equal(logits(model, TOKENS), logits(load_model(base), TOKENS))


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="needs a C++ compiler")
def test_a_compiled_step_is_the_uncompiled_one(settings):
    plain = run_sft(settings("plain", steps=3), quiet=True)
    compiled = run_sft(settings("compiled", steps=3, compile="yes"), quiet=True)
    assert compiled.training.settings.compile == "yes"
    one, other = (load_file(run.model / "adapter_model.safetensors") for run in (plain, compiled))
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=2e-4, rtol=1e-3)


def test_settings_are_read_from_the_command_line_and_told_by_the_help(base, chats):
    words = [f"parent={base}", f"data=[{chats}]", "lora.rank=8", "lora.target_modules=[q_proj, v_proj]"]
    read = SftSettings.load(None, words)
    assert read.lora == LoraSettings(rank=8, target_modules=("q_proj", "v_proj"))
    assert SftSettings.load(None, words[:2]).lora is None
    assert {"lora.rank", "lora.alpha", "lora.dropout"} <= {row[0] for row in describe(SftSettings)}
    with pytest.raises(UsageError, match=r"unknown setting 'lora\.rnk'; did you mean 'lora\.rank'"):
        SftSettings.load(None, [*words[:2], "lora.rnk=8"])


def test_a_recipe_that_was_written_without_an_adapter_can_be_given_one(base, chats, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(SftSettings.load(None, [f"parent={base}", f"data=[{chats}]"]).to_yaml())
    assert SftSettings.load(path, ["lora.rank=2"]).lora.rank == 2
