"""Equal weights, answers and comparisons give the same losses and gradients as TRL's trainers, step by step.

Each step takes all of the data, so that the order in which either side draws it has no part in it.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.feedback_steps import TRL_FOLDER
from finished_run import metrics_of

from jielong.core.files import write_atomically
from jielong.feedback.dpo import preference_stage
from jielong.feedback.reward_model import RewardModel, reward_stage
from jielong.feedback.rewards import Answer
from jielong.feedback.rl_stage import rl_stage
from jielong.feedback.settings import PreferenceSettings, RewardSettings, RlSettings
from jielong.models import load_model, save_model
from jielong.tokenizer import Tokenizer
from jielong.training.stage import run_stage

trl = pytest.importorskip("trl", reason="these losses are compared with TRL's")
pytestmark = pytest.mark.slow

STEPS, LEARNING_RATE, KL, LONGEST, SAMPLES = 6, 1e-3, 0.05, 12, 3
QUIET = {
    "learning_rate": LEARNING_RATE, "lr_scheduler_type": "constant", "adam_beta1": 0.9, "adam_beta2": 0.95,
    "weight_decay": 0.0, "max_grad_norm": 1e9, "bf16": False, "use_cpu": True,
    "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1,
    "disable_tqdm": True,
    "dataloader_pin_memory": False, "max_steps": STEPS,
}  # fmt: skip


def training(rows):
    """Our loop with the optimizer of QUIET."""
    return {
        "steps": STEPS, "batch_rows": rows, "precision": "float32", "compile": "no", "device": "cpu",
        "schedule": {"kind": "constant", "warmup": 0}, "checkpoint_every": 1000,
        "optimizer": {"lr": LEARNING_RATE, "weight_decay": 0.0, "clip": 1e9, "head_factor": 1.0},
    }  # fmt: skip


def given_answer(prompt_ids, rollout, sample, vocabulary, fixed_length):
    """An answer that somebody else gave: random tokens that follow from their place."""
    draw = np.random.default_rng([rollout, sample, *prompt_ids])
    length = LONGEST if fixed_length else int(draw.integers(1, LONGEST + 1))
    return draw.integers(300, vocabulary, length).tolist()


class GivenAnswers:
    """A rollout backend that answers so."""

    def __init__(self, vocabulary, fixed_length):
        self.vocabulary, self.fixed_length = vocabulary, fixed_length

    def answer(self, _policy, prompts, _settings, streams):
        rollout = streams[0] // len(prompts)
        places = [sum(other is prompt for other in prompts[:n]) for n, prompt in enumerate(prompts)]
        given = [
            given_answer(prompt.ids, rollout, place, self.vocabulary, self.fixed_length)
            for prompt, place in zip(prompts, places, strict=True)
        ]
        return [Answer(prompt, ids, "", False) for prompt, ids in zip(prompts, given, strict=True)]


def earned(ids):
    return float(sum(ids) % 7)


def questions_of(prompts):
    return [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]


def causal(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def hf_tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def noting(trainer_class):
    """One of TRL's trainers that remembers its losses, and takes data that is in tokens already."""

    class Noting(trainer_class):
        def _prepare_dataset(self, dataset, *_):
            return dataset

        def compute_loss(self, *rest, **named):
            loss = super().compute_loss(*rest, **named)
            self.__dict__.setdefault("losses", []).append(loss.item())
            return loss

        def curves(self):
            norms = [float(row["grad_norm"]) for row in self.state.log_history if "grad_norm" in row]
            return self.losses, norms

    return Noting


def assert_same_curves(run, theirs):
    rows = metrics_of(run.out)
    losses, norms = theirs
    assert len(rows) == len(losses) == len(norms) == STEPS
    np.testing.assert_allclose([row["loss"] for row in rows], losses, rtol=0, atol=1e-4)
    np.testing.assert_allclose([row["grad_norm"] for row in rows], norms, rtol=2e-3)
    assert np.ptp(losses) > 1e-3  # there was something to learn, so that equal curves mean something


@pytest.mark.parametrize(("loss_type", "aggregation"), [("grpo", "sequence-mean"), ("dapo", "token-mean")])
def test_grpo(parent, prompts, tmp_path, loss_type, aggregation):
    from datasets import Dataset

    questions = questions_of(prompts)
    count = len(questions)
    run = RlSettings.parse({
        "out": tmp_path / "run", "parent": parent, "prompts": [prompts], "algorithm": "grpo",
        "prompts_per_rollout": count, "samples": SAMPLES, "epochs": 2, "max_tokens": LONGEST,
        "no_end_penalty": 0.0, "aggregation": aggregation, "kl": {"coefficient": KL},
        "rewards": [{"kind": "format", "pattern": "x"}], "training": training(count * SAMPLES),
    })  # fmt: skip
    stage = rl_stage(run)
    vocabulary = stage.tokenizer.vocab_size
    stage.batches.backend = GivenAnswers(vocabulary, fixed_length=False)
    stage.batches.rewards.parts = [(run.rewards[0], lambda answers: [earned(one.ids) for one in answers])]
    run_stage(stage, run, quiet=True)

    class Given(noting(trl.GRPOTrainer)):
        rollouts = 0

        def _generate_single_turn(self, prompt_ids, *_, **__):
            seen = {}
            given = []
            for ids in map(tuple, prompt_ids):
                seen[ids] = seen.get(ids, -1) + 1
                given.append(given_answer(ids, self.rollouts, seen[ids], vocabulary, fixed_length=False))
            self.rollouts += 1
            return given, None

    trainer = Given(
        model=causal(parent), processing_class=hf_tokenizer(parent),
        reward_funcs=lambda completion_ids, **_: [earned(ids) for ids in completion_ids],
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": q}]} for q in questions]),
        args=trl.GRPOConfig(
            output_dir=tmp_path / "trl", **QUIET, per_device_train_batch_size=count * SAMPLES,
            num_generations=SAMPLES, num_iterations=2, max_completion_length=LONGEST, beta=KL,
            use_bias_correction_kl=False, loss_type=loss_type,
        ),
    )  # fmt: skip
    trainer.train()
    assert_same_curves(run, trainer.curves())


def token_rows(pairs):
    """Comparisons in the columns that TRL's trainers make of texts, up to the ends of the answers."""
    rows = []
    for pair in pairs:
        begin = pair.chosen.counted.index(True)
        ends = [begin + sum(side.counted) for side in (pair.chosen, pair.rejected)]
        rows.append({
            "prompt_ids": pair.chosen.ids[:begin], "chosen_ids": pair.chosen.ids[begin : ends[0]],
            "rejected_ids": pair.rejected.ids[begin : ends[1]],
        })  # fmt: skip
    return rows


def test_dpo(parent, comparisons, tmp_path):
    from datasets import Dataset

    run = PreferenceSettings.parse({
        "out": tmp_path / "run", "parent": parent, "data": [comparisons], "heldout_share": 1e-6,
        "training": training(40),
    })  # fmt: skip
    stage = preference_stage(run)
    run_stage(stage, run, quiet=True)
    trainer = noting(trl.DPOTrainer)(
        model=causal(parent), ref_model=causal(parent), processing_class=hf_tokenizer(parent),
        train_dataset=Dataset.from_list(token_rows(stage.batches.items)),
        args=trl.DPOConfig(
            output_dir=tmp_path / "trl", **QUIET, per_device_train_batch_size=40, beta=run.beta
        ),
    )  # fmt: skip
    trainer.train()
    assert_same_curves(run, trainer.curves())


def test_reward_model(parent, comparisons, tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification

    run = RewardSettings.parse({
        "out": tmp_path / "run", "parent": parent, "data": [comparisons], "heldout_share": 1e-6,
        "training": training(40),
    })  # fmt: skip
    stage, _ = reward_stage(run)
    run_stage(stage, run, quiet=True)
    rows = [
        {side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")}
        for row in token_rows(stage.batches.items)
    ]
    trainer = noting(trl.RewardTrainer)(
        model=AutoModelForSequenceClassification.from_pretrained(scorer(parent, tmp_path / "scorer", 0.0)),
        processing_class=hf_tokenizer(parent), train_dataset=Dataset.from_list(rows),
        args=trl.RewardConfig(
            output_dir=tmp_path / "trl", **QUIET, per_device_train_batch_size=40,
            center_rewards_coefficient=run.centring,
        ),
    )  # fmt: skip
    trainer.train()
    assert_same_curves(run, trainer.curves())


def scorer(parent, folder, std):
    """The parent as a model that scores, with a head of random numbers."""
    model, tokenizer = load_model(parent), Tokenizer.load(parent)
    model.add_score()
    torch.nn.init.normal_(model.score.weight, std=std, generator=torch.Generator().manual_seed(0))
    save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(folder)
    return folder


def test_ppo(parent, prompts, tmp_path):
    installed = Path(__file__).parents[2] / TRL_FOLDER
    if not (installed / "trl").is_dir():
        pytest.skip(f"no {TRL_FOLDER}, TRL's last with PPO; `python -m benchmarks.ppo_step` installs it")
    count = len(questions_of(prompts))
    run = RlSettings.parse({
        "out": tmp_path / "run", "parent": parent, "prompts": [prompts], "algorithm": "ppo",
        "prompts_per_rollout": count, "epochs": 2, "max_tokens": LONGEST, "no_end_penalty": 0.0,
        "kl": {"coefficient": KL}, "value_weight": 0.1, "rewards": [{"kind": "format", "pattern": "x"}],
        "training": training(count),
    })  # fmt: skip
    stage = rl_stage(run)
    folder = scorer(parent, tmp_path / "scorer", 0.3)
    judge = RewardModel.load(folder)
    judge.dtype = torch.float32
    stage.batches.backend = GivenAnswers(stage.tokenizer.vocab_size, fixed_length=True)
    stage.batches.rewards.parts = [
        (run.rewards[0], lambda answers: judge.score_rows([one.token_row for one in answers]))
    ]
    chats = [prompt.ids for prompt in stage.batches.prompts]
    given = [
        [given_answer(ids, rollout, 0, stage.tokenizer.vocab_size, fixed_length=True) for ids in chats]
        for rollout in range(STEPS // 2)
    ]
    run_stage(stage, run, quiet=True)
    task = {
        "policy": str(parent), "critic": str(scorer(parent, tmp_path / "critic", 0.0)), "scorer": str(folder),
        "prompts": chats, "answers": given, "kl": KL, "value_weight": run.value_weight,
        "arguments": {**QUIET, "max_steps": -1, "output_dir": str(tmp_path / "trl")},
    }  # fmt: skip
    write_atomically(tmp_path / "task.json", json.dumps(task))
    program = Path(__file__).with_name("trl_ppo.py")
    command = [sys.executable, program, tmp_path / "task.json", installed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    rows = metrics_of(run.out)
    ours = {
        "policy": [row["loss"] - run.value_weight * row["value_loss"] for row in rows],
        "value": [row["value_loss"] for row in rows],
        "score": [row["score"] for row in rows],
        "kl": [row["kl"] * LONGEST for row in rows],
    }
    assert len(rows) == STEPS
    for name, found in ours.items():  # theirs are means over a rollout
        means = np.reshape(found, (-1, 2)).mean(1)
        np.testing.assert_allclose(means, theirs[name], rtol=0, atol=1e-4, err_msg=name)
    assert np.ptp(ours["value"]) > 1e-3
