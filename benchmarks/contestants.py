"""The trainers that are compared: ours, plain torch loops over transformers' Qwen3, transformers' Trainer."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.paced import Finished, Turns
from jielong.data import Packed
from jielong.models import ModelConfig, Transformer
from jielong.models.hf_config import config_to_hf

ENOUGH_STEPS = 1_000_000


def run_ours(config: ModelConfig, rows: int, context: int, turns: Turns, **training: Any) -> None:
    """Our loop as `jielong pretrain` runs it: its Trainer, with the settings' defaults."""
    from jielong.training.batches import PackedBatches
    from jielong.training.loop import Trainer
    from jielong.training.losses import next_token_loss
    from jielong.training.settings import TrainingSettings

    class Paced(Trainer):
        def _step(self, *rest: Any) -> None:
            super()._step(*rest)
            turns.step()

    tokens = random_tokens(config.vocab_size, 4 * rows, context)
    positions = np.broadcast_to(np.arange(context, dtype=np.int32), tokens.shape)
    learned = np.ones(tokens.shape, np.bool_)
    learned[:, -1] = False
    packed = Packed(tokens, positions, np.ones(tokens.shape, np.int32), learned)
    settings = TrainingSettings.parse(
        {
            "steps": ENOUGH_STEPS, "batch_rows": rows, "context": context, "compile": "yes", "device": "cpu",
            "checkpoint_every": ENOUGH_STEPS, "threads": torch.get_num_threads(), **training,
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = Paced(
            model=Transformer(config), batches=PackedBatches(packed, rows, 0), objective=next_token_loss,
            settings=settings, folder=Path(folder), quiet=True,
        )  # fmt: skip
        end_quietly(trainer.run)


def run_plain_loop(config: ModelConfig, rows: int, context: int, turns: Turns, bfloat16: bool) -> None:
    """The loop of every tutorial: forward, backward, clip, AdamW; nothing compiled."""
    model = qwen3(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = torch.from_numpy(random_tokens(config.vocab_size, 4 * rows, context).astype(np.int64))

    def loop() -> None:
        for step in range(ENOUGH_STEPS):
            batch = data[torch.arange(step * rows, (step + 1) * rows) % len(data)]
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
            turns.step()

    end_quietly(loop)


def run_trainer(config: ModelConfig, rows: int, context: int, turns: Turns, **arguments: Any) -> None:
    """transformers' Trainer with its defaults but for the batch size, or with other arguments."""
    from transformers import TrainerCallback

    class Paced(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.step()

    attention = arguments.pop("attention", "sdpa")
    data = random_tokens(config.vocab_size, 64 * rows, context)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(qwen3(config, attention), data, rows, folder, [Paced()], **arguments)
        end_quietly(trainer.train)


def make_trainer(
    model: Any,
    tokens: np.ndarray,
    rows: int,
    folder: str,
    callbacks: list[Any],
    optimizers: tuple[Any, Any] = (None, None),
    **arguments: Any,
) -> Any:
    """A Trainer on full rows of tokens: every token but the first of a row is a target."""
    from transformers import Trainer, TrainingArguments

    settings = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=rows,
        max_steps=ENOUGH_STEPS,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,  # True only warns on a CPU
        **arguments,
    )
    return Trainer(
        model=model, args=settings, train_dataset=FullRows(tokens), callbacks=callbacks, optimizers=optimizers
    )


class FullRows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Rows of tokens without padding, in the form that causal models of transformers take."""

    def __init__(self, tokens: np.ndarray) -> None:
        self._tokens = torch.from_numpy(tokens.astype(np.int64))

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"input_ids": self._tokens[row], "labels": self._tokens[row]}


def qwen3(config: ModelConfig, attention: str = "sdpa", seed: int = 0) -> Any:
    """transformers' network of the same shape, float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    values = dict(config_to_hf(config))
    shape = AutoConfig.for_model(values.pop("model_type"), **values)
    return AutoModelForCausalLM.from_config(shape, attn_implementation=attention, dtype=torch.float32).train()


def random_tokens(vocab_size: int, rows: int, context: int) -> np.ndarray:
    """Full rows: what they say does not matter to the clock. Shape [rows, context]."""
    return np.random.default_rng(0).integers(0, vocab_size, (rows, context), dtype=np.int32)


def end_quietly(work: Callable[[], Any]) -> None:
    """Run until the parent needs no more steps."""
    try:
        work()
    except Finished:
        return
