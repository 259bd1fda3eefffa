"""Rollouts by vLLM, as far as they can be seen without a GPU: what it is given, what becomes of answers."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from finished_run import metrics_of
from transformers import AutoModelForCausalLM

from jielong.core.errors import UsageError
from jielong.data import Problems
from jielong.feedback import vllm_rollouts
from jielong.feedback.answers import answer_logprobs, pack_answers
from jielong.feedback.policy import Actor
from jielong.feedback.prompts import read_prompts
from jielong.feedback.rl_stage import run_rl
from jielong.feedback.settings import RlSettings
from jielong.feedback.vllm_rollouts import VllmRollouts
from jielong.generation import SamplingSettings
from jielong.models import load_model, weights_by_hf_name
from jielong.tokenizer import Tokenizer

CPU = torch.device("cpu")
SAMPLING = SamplingSettings(max_tokens=6, temperature=0.8, seed=3)


@pytest.fixture
def stand_in(monkeypatch):
    """A vLLM that can be imported, and a machine that says it has a GPU."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "vllm_stand_in"))
    monkeypatch.setattr(vllm_rollouts, "_has_gpu", lambda: True)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    yield
    sys.modules.pop("vllm", None)


@pytest.fixture
def asked(parent, prompts):
    return read_prompts([prompts], Tokenizer.load(parent), 90, Problems())[:4]


def moved(parent):
    """A policy, with a critic's head, whose weights are not the folder's any more."""
    policy = Actor(load_model(parent), "shared").policy
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return policy


def test_answers_come_from_the_policys_weights_with_the_log_probabilities_they_were_rolled_with(
    stand_in, parent, asked
):
    tokenizer, policy = Tokenizer.load(parent), moved(parent)
    rollouts = VllmRollouts(parent, tokenizer)
    for scale in (1.0, 0.5):  # and again, after they moved
        with torch.no_grad():
            policy.embed.weight.mul_(scale)
        answers = rollouts.answer(policy, asked, SAMPLING, range(4))
        inputs = pack_answers([answer.token_row for answer in answers], tokenizer.pad_id, CPU)
        logprobs, _ = answer_logprobs(policy, inputs, SAMPLING.temperature)
        for row, answer in enumerate(answers):
            assert answer.rolled == pytest.approx(logprobs[row, : len(answer.ids)].tolist(), abs=1e-4)
            assert answer.finished == (answer.ids[-1] == tokenizer.eos_id)
            assert len(answer.ids) == SAMPLING.max_tokens or answer.finished
            assert answer.text == tokenizer.decode(answer.ids)


def test_an_answer_follows_from_its_prompt_and_its_stream(stand_in, parent, asked):
    rollouts, policy = VllmRollouts(parent, Tokenizer.load(parent)), moved(parent)
    together = rollouts.answer(policy, asked, SAMPLING, [5, 6, 7, 8])
    (alone,) = rollouts.answer(policy, asked[2:3], SAMPLING, [7])
    (other,) = rollouts.answer(policy, asked[2:3], SAMPLING, [9])
    assert alone.ids == together[2].ids != other.ids


def test_the_weights_are_those_of_transformers_by_name_shape_and_value(parent):
    theirs = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32).state_dict()
    given = list(vllm_rollouts._weights(Actor(load_model(parent), "shared").policy))
    tied = {"lm_head.weight"} if "lm_head.weight" not in dict(given) else set()
    assert {name for name, _ in given} == set(theirs) - tied
    assert len(given) == len(theirs) - len(tied)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in given)


def test_they_are_views_and_not_copies(parent):
    model = load_model(parent)
    weights = weights_by_hf_name(model)
    with torch.no_grad():
        model.blocks[0].mlp.down.weight.zero_()
    assert not weights["model.layers.0.mlp.down_proj.weight"].any()


def test_a_run_learns_from_its_answers(stand_in, tmp_path, parent, prompts):
    training = {"steps": 4, "batch_rows": 16, "precision": "float32", "compile": "no", "device": "cpu",
                "validate_every": 100, "optimizer": {"lr": 3e-3}, "schedule": {"warmup": 0}}  # fmt: skip
    run = RlSettings.parse({
        "out": tmp_path / "run", "parent": parent, "prompts": [prompts], "max_tokens": 6, "samples": 4,
        "rewards": [{"kind": "format", "pattern": "[aeiou]"}], "prompts_per_rollout": 4,
        "rollout_backend": "vllm", "training": training,
    })  # fmt: skip
    run_rl(run, quiet=True)
    rows = metrics_of(run.out)
    assert len(rows) == 4
    assert any(row["grad_norm"] > 0 for row in rows)
    # The same weights to within rounding, so that there is next to nothing to correct.
    assert all(row["rollout_weight"] == pytest.approx(1.0, abs=1e-3) for row in rows)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_one_line_says_what_to_do(parent):
    with pytest.raises(UsageError, match="not installed: `pip install vllm`"):
        VllmRollouts(parent, Tokenizer.load(parent))


def test_without_a_gpu_one_line_says_what_to_do(stand_in, monkeypatch, parent):
    monkeypatch.setattr(vllm_rollouts, "_has_gpu", lambda: False)
    with pytest.raises(UsageError, match="needs a GPU"):
        VllmRollouts(parent, Tokenizer.load(parent))
