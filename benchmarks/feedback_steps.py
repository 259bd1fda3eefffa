"""A step of learning from feedback, ours against TRL's: what grpo_step, ppo_step, dpo_step and reward_step
have in common.

Every contestant begins with the same model folder (3.67 million weights, Qwen3) and gets the same prompts or
comparisons, batch, lengths and learning rate, on one thread. The contestants live in processes of their own
and take turns; what counts is CPU time, and ratios are taken within a round. Set-up and the first two steps
are left out on both sides. Answers are 64 tokens long, for neither side may end one earlier.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import ENOUGH_STEPS, end_quietly
from benchmarks.paced import Turns, Worker
from jielong.core.files import to_jsonl, write_atomically
from jielong.feedback.dpo import preference_stage
from jielong.feedback.reward_model import reward_stage
from jielong.feedback.rewards import Answer
from jielong.feedback.rl_stage import rl_stage
from jielong.feedback.settings import PreferenceSettings, RewardSettings, RlSettings
from jielong.models import Transformer, count_parameters, qwen3_config, save_model
from jielong.tokenizer import Tokenizer, train_tokenizer
from jielong.training.loop import Trainer
from jielong.training.stage import Stage

WIDTH, LAYERS, VOCABULARY, CONTEXT = 256, 4, 2048, 256
QUESTIONS = 512
SAMPLES, ANSWERS, NEW_TOKENS, PAIRS = 8, 16, 64, 8
LEARNING_RATE, BETA, KL, VALUE_WEIGHT = 1e-4, 0.1, 0.05, 0.1
TARGET = 0.5
TRL_WITH_PPO = "trl==1.12.0"
"""The last one that has PPO; later ones are measured as they are installed."""
CACHE = Path("runs/feedback_steps")
TRL_FOLDER = CACHE / TRL_WITH_PPO.replace("==", "-")

CONTESTANTS = {
    "jielong": {"precision": "auto"},
    "jielong_float32": {"precision": "float32"},
    "trl": {"bf16": False},
    "trl_bfloat16": {"bf16": True},
}
"""TRL's trainers switch bfloat16 on by default; on this kind of processor float32 may be faster for them."""


def run_benchmark(name: str, kind: str, description: str | None) -> None:
    """Measure, print a table and, last, one JSON object; or be one of the contestants."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps of a turn")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for TRL's last PPO")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--worker", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(kind, options)
        return
    if kind == "ppo":
        trl_with_ppo(options.cache)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary))
        turns = _measure(name, Path(temporary), options)
    print(json.dumps(_result(name, options, turns)))


def _work(kind: str, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    given = CONTESTANTS[options.worker]
    if options.worker.startswith("jielong"):
        run_ours(kind, options.folder, Turns(), **given)
        return
    if kind == "ppo":
        sys.path.insert(0, str(trl_with_ppo(options.cache)))
    from benchmarks.trl_contestants import run_trl

    run_trl(kind, options.folder, Turns(), **given)


def _measure(name: str, folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """CPU seconds a step of every turn, by contestant."""
    workers: list[Worker] = []
    turns: dict[str, list[float]] = {}
    try:
        for who in options.only:
            command = ["-m", f"benchmarks.{name}", "--worker", who, "--folder", str(folder)]
            workers.append(Worker.start(who, [*command, "--cache", str(options.cache)]))
            taken = workers[-1].turn(2)
            print(f"{who} is ready ({taken['cpu_seconds'] / 2:.3f} CPU s a step)", flush=True)
        for number in range(options.rounds):
            for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
                seconds = worker.turn(options.steps)["cpu_seconds"] / options.steps
                turns.setdefault(worker.name, []).append(seconds)
    finally:
        for worker in workers:
            worker.stop()
    return turns


def _result(name: str, options: argparse.Namespace, turns: dict[str, list[float]]) -> dict[str, Any]:
    """Print the table; returns the last line."""
    median = {who: statistics.median(seconds) for who, seconds in turns.items()}
    for who, seconds in turns.items():
        spread = min(seconds) / max(seconds)
        print(f"{who:20s} {1e3 * median[who]:8.1f} ms CPU a step   spread {spread:4.0%}")

    def ratio(ours: str, theirs: str) -> float | None:
        if ours not in turns or theirs not in turns:
            return None
        return round(statistics.median(a / b for a, b in zip(turns[ours], turns[theirs], strict=True)), 3)

    peers = [who for who in turns if who.startswith("trl")]
    best = min(peers, key=lambda who: median[who], default="")
    return {
        "name": name,
        "value": round(median.get("jielong", 0.0), 4),
        "unit": "CPU s a step",
        "peer": round(median.get("trl", 0.0), 4),
        "ratio": ratio("jielong", "trl"),
        "target": TARGET,
        "ratio_float32": ratio("jielong_float32", "trl"),
        "best_peer": best,
        "ratio_to_best_peer": ratio("jielong", best),
        "cpu_seconds": {who: round(seconds, 4) for who, seconds in median.items()},
        "parameters": count_parameters(qwen3_config(WIDTH, LAYERS, VOCABULARY, CONTEXT)),
        "rounds": options.rounds,
        "steps": options.steps,
        "threads": 1,
    }


# --- what all contestants get


def prepare(folder: Path) -> None:
    """Write a policy, a reward model, prompts and comparisons."""
    tokenizer = train_tokenizer(_words(), VOCABULARY)
    config = qwen3_config(WIDTH, LAYERS, tokenizer.vocab_size, CONTEXT)
    policy, scorer = Transformer(config, seed=1), Transformer(config, seed=2)
    scorer.add_score()
    assert scorer.score is not None
    torch.nn.init.normal_(scorer.score.weight, std=0.05, generator=torch.Generator().manual_seed(3))
    for name, model in (("policy", policy), ("scorer", scorer)):
        special = {"eos_id": tokenizer.eos_id, "bos_id": tokenizer.bos_id, "pad_id": tokenizer.pad_id}
        save_model(model, folder / name, **special)
        tokenizer.save(folder / name)
    questions = [f"question {number} + {number + 1} = ?" for number in range(QUESTIONS)]
    right = [f"the answer to question {n} is {2 * n + 1}, for sure" for n in range(QUESTIONS)]
    wrong = [f"hard to say, perhaps {2 * n + n % 7 + 2}" for n in range(QUESTIONS)]
    write_atomically(folder / "prompts.jsonl", to_jsonl([{"prompt": question} for question in questions]))
    rows = zip(questions, right, wrong, strict=True)
    pairs = [{"prompt": question, "chosen": good, "rejected": bad} for question, good, bad in rows]
    write_atomically(folder / "pairs.jsonl", to_jsonl(pairs))


def _words() -> list[str]:
    """Text with enough different words for a full vocabulary."""
    draw = random.Random(0)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(3000)]
    numbers = [f"question {n} + {n + 1} = ? the answer to question {n} is {2 * n + 1}" for n in range(300)]
    return [" ".join(draw.choices(words, k=40_000)), *numbers]


def digits(text: str) -> float:
    """What an answer earns in GRPO: the digits in it."""
    return float(sum(character.isdigit() for character in text))


def trl_with_ppo(cache: Path) -> Path:
    """The folder of TRL's last version with PPO; it is installed there, apart, where it is missing."""
    folder = (cache / TRL_FOLDER.name).resolve()
    if not (folder / "trl").is_dir():
        print(f"installing {TRL_WITH_PPO} into {folder}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        if subprocess.run([*command, TRL_WITH_PPO], stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit(f"cannot install {TRL_WITH_PPO}, which this benchmark compares with")
    return folder


# --- ours


class NeverEnding:
    """A tokenizer whose end of turn never comes, so that every answer has its full length."""

    eos_id = 1 << 40

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def run_ours(kind: str, folder: Path, turns: Turns, precision: str) -> None:
    """Our stage as `jielong rl`, `dpo` and `reward` run it."""

    class Paced(Trainer):
        def _step(self, *rest: Any) -> None:
            super()._step(*rest)
            turns.step()

    with tempfile.TemporaryDirectory() as out:
        stage, training = make_stage(kind, folder, Path(out), precision)
        trainer = Paced(
            model=stage.model, batches=stage.batches, objective=stage.objective, settings=training,
            folder=Path(out), quiet=True,
        )  # fmt: skip
        end_quietly(trainer.run)


def make_stage(kind: str, folder: Path, out: Path, precision: str) -> tuple[Stage, Any]:
    """One of our stages on the prepared data."""
    training = {
        "steps": ENOUGH_STEPS, "checkpoint_every": ENOUGH_STEPS, "batch_rows": PAIRS, "compile": "no",
        "context": CONTEXT, "device": "cpu", "threads": 1, "precision": precision,
        "optimizer": {"lr": LEARNING_RATE, "weight_decay": 0.0},
        "schedule": {"kind": "constant", "warmup": 0},
    }  # fmt: skip
    given = {"out": out, "parent": folder / "policy", "training": training}
    pairs: dict[str, Any] = {"data": [folder / "pairs.jsonl"], "heldout_share": 1e-6}
    if kind == "dpo":
        preferences = PreferenceSettings.parse({**given, **pairs, "beta": BETA})
        return preference_stage(preferences), preferences.training
    if kind == "reward":
        reward = RewardSettings.parse({**given, **pairs, "centring": 0.0})
        return reward_stage(reward)[0], reward.training
    training["batch_rows"] = ANSWERS
    given |= {"prompts": [folder / "prompts.jsonl"], "max_tokens": NEW_TOKENS, "no_end_penalty": 0.0}
    by_digit = {"kind": "format", "pattern": r"\d"}
    by_model = {"kind": "model", "model": folder / "scorer"}
    recipes: dict[str, dict[str, Any]] = {
        "grpo": {"prompts_per_rollout": ANSWERS // SAMPLES, "samples": SAMPLES, "kl": {"coefficient": 0.0},
                 "aggregation": "token-mean", "rewards": [by_digit]},
        "ppo": {"prompts_per_rollout": ANSWERS, "samples": 1, "epochs": 1, "kl": {"coefficient": KL},
                "value_weight": VALUE_WEIGHT, "rewards": [by_model]},
    }  # fmt: skip
    settings = RlSettings.parse({**given, "algorithm": kind, **recipes[kind]})
    stage = rl_stage(settings)
    batches: Any = stage.batches
    batches.backend = replace(batches.backend, tokenizer=NeverEnding(stage.tokenizer))
    if kind == "grpo":
        batches.rewards.parts = [(settings.rewards[0], _digits_of)]
    return stage, settings.training


def _digits_of(answers: Sequence[Answer]) -> list[float]:
    return [digits(answer.text) for answer in answers]


