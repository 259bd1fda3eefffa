"""TRL's trainers on the data of `feedback_steps`, each step reported to whoever paces them."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import ENOUGH_STEPS, end_quietly
from benchmarks.feedback_steps import (
    ANSWERS,
    BETA,
    KL,
    LEARNING_RATE,
    NEW_TOKENS,
    PAIRS,
    SAMPLES,
    VALUE_WEIGHT,
    digits,
)
from benchmarks.paced import Turns


def run_trl(kind: str, folder: Path, turns: Turns, bf16: bool) -> None:
    """A trainer of TRL's, with its defaults but for what both sides must have alike."""
    from transformers import TrainerCallback

    class Paced(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.step()

    with tempfile.TemporaryDirectory() as out:
        common = {
            "output_dir": out, "learning_rate": LEARNING_RATE, "lr_scheduler_type": "constant", "bf16": bf16,
            "use_cpu": True, "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no",
            "disable_tqdm": True, "dataloader_pin_memory": False,
        }  # fmt: skip
        trainer = MAKERS[kind](folder, common, Paced())
        end_quietly(trainer.train)


def _grpo(folder: Path, common: dict[str, Any], callback: Any) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [digits(completion[0]["content"]) for completion in completions]

    config = GRPOConfig(
        **common, per_device_train_batch_size=ANSWERS, num_generations=SAMPLES, beta=0.0, temperature=1.0,
        max_completion_length=NEW_TOKENS, generation_kwargs={"min_new_tokens": NEW_TOKENS},
        max_steps=ENOUGH_STEPS,
    )  # fmt: skip
    return GRPOTrainer(
        model=language_model(folder), args=config, reward_funcs=reward, processing_class=tokenizer_of(folder),
        train_dataset=_dataset([{"prompt": _asked(row)} for row in rows_of(folder / "prompts.jsonl")]),
        callbacks=[callback],
    )  # fmt: skip


def _ppo(folder: Path, common: dict[str, Any], callback: Any) -> Any:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    config = PPOConfig(
        **common, per_device_train_batch_size=ANSWERS, gradient_accumulation_steps=1, num_ppo_epochs=1,
        num_mini_batches=1, total_episodes=ENOUGH_STEPS * ANSWERS, response_length=NEW_TOKENS,
        temperature=1.0, kl_coef=KL, vf_coef=VALUE_WEIGHT, num_sample_generations=0,
    )  # fmt: skip
    tokenizer = tokenizer_of(folder)
    tokenizer.padding_side = "left"
    prompts = [
        tokenizer.apply_chat_template(_asked(row), add_generation_prompt=True, return_dict=False)
        for row in rows_of(folder / "prompts.jsonl")
    ]
    return PPOTrainer(
        args=config, processing_class=tokenizer, model=language_model(folder),
        ref_model=language_model(folder),
        reward_model=classifier(folder / "scorer"), value_model=classifier(folder / "policy"),
        train_dataset=_dataset([{"input_ids": ids} for ids in prompts]), callbacks=[callback],
    )  # fmt: skip


def _dpo(folder: Path, common: dict[str, Any], callback: Any) -> Any:
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(**common, per_device_train_batch_size=PAIRS, beta=BETA, max_steps=ENOUGH_STEPS)
    return DPOTrainer(
        model=language_model(folder), ref_model=language_model(folder), args=config,
        processing_class=tokenizer_of(folder), train_dataset=_pairs(folder), callbacks=[callback],
    )  # fmt: skip


def _reward(folder: Path, common: dict[str, Any], callback: Any) -> Any:
    from trl import RewardConfig, RewardTrainer

    config = RewardConfig(**common, per_device_train_batch_size=PAIRS, max_steps=ENOUGH_STEPS)
    return RewardTrainer(
        model=classifier(folder / "policy"), args=config, processing_class=tokenizer_of(folder),
        train_dataset=_pairs(folder), callbacks=[callback],
    )  # fmt: skip


MAKERS = {"grpo": _grpo, "ppo": _ppo, "dpo": _dpo, "reward": _reward}


def language_model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32)


def classifier(folder: Path) -> Any:
    """A network with a head that scores, which is fresh where the folder holds a language model."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "policy")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _asked(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["prompt"]}]


def _pairs(folder: Path) -> Any:
    """Comparisons as TRL wants them: prompt and answers are messages."""
    return _dataset(
        [
            {
                "prompt": _asked(row),
                **{side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")},
            }
            for row in rows_of(folder / "pairs.jsonl")
        ]
    )


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)
