"""The two sides of benchmarks/equal_time.py, and the one measurement of both."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.contestants import make_trainer, qwen3
from benchmarks.real_text import Material
from jielong.models import qwen3_config
from jielong.tokenizer import Tokenizer

CONTEXT = 256
WARM_UP = 0.03  # share of the time in which the Trainer's rate rises
IGNORED = -100


def train_ours(job: dict[str, Any], material: Material) -> dict[str, Any]:
    """`jielong pretrain` with a time budget; its clock starts with the training and counts compiling."""
    from jielong.training.pretrain import run_pretraining
    from jielong.training.settings import PretrainSettings

    never = 1_000_000
    settings = PretrainSettings.load(
        None,
        [
            f"out={Path(job['folder']) / 'run'}", f"data=[{material.train}]", f"heldout=[{material.heldout}]",
            f"tokenizer={material.folder / 'tokenizer'}", f"seed={job['seed']}",
            f"model={{width: {job['width']}, layers: {job['layers']}, max_context: {CONTEXT}}}",
            f"training.minutes={job['seconds'] / 60}", f"training.context={CONTEXT}",
            f"training.threads={job['threads']}", f"training.validate_every={never}",
            f"training.sample_every={never}", "training.validation_rows=16", "training.device=cpu",
            *job["settings"],
        ],
    )  # fmt: skip
    done = run_pretraining(settings)
    return {
        "model": str(done.model),
        "parameters": done.parameters,
        "tokens": done.training.tokens,
        "seconds": done.training.seconds,
        "first_step": done.training.compile_seconds,
    }


def train_trainer(job: dict[str, Any], material: Material) -> dict[str, Any]:
    """transformers' Trainer, bfloat16, until the seconds are over."""
    from transformers import TrainerCallback

    torch.set_num_threads(job["threads"])
    tokenizer = material.tokenizer
    rows = stream_rows(tokenizer, material.texts(material.train), CONTEXT)
    began = time.monotonic()
    config = qwen3_config(job["width"], job["layers"], tokenizer.vocab_size, CONTEXT)
    model = qwen3(config, seed=job["seed"])
    clock = Clock(began, job["seconds"])

    class Stop(TrainerCallback):
        def on_step_end(self, _arguments: Any, _state: Any, control: Any, **_: Any) -> None:
            clock.step()
            control.should_training_stop = clock.over

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=job["rate"], betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    trainer = make_trainer(
        model, rows, job["rows"], job["folder"], [Stop()],
        (optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _step: clock.rate())),
        bf16=True, torch_compile=job["compile"], logging_strategy="no", seed=job["seed"],
    )  # fmt: skip
    trainer.train()
    seconds = time.monotonic() - began
    folder = Path(job["folder"]) / "model"
    model.save_pretrained(folder)
    return {
        "model": str(folder),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "tokens": clock.steps * job["rows"] * CONTEXT,
        "seconds": seconds,
        "first_step": clock.first,
    }


class Clock:
    """Turns the time into a learning rate: warm-up and cosine after the first step, which compiles.

    Args:
        began: `time.monotonic()` of the start.
        seconds: until the end.
    """

    def __init__(self, began: float, seconds: float) -> None:
        self._began, self._seconds = began, seconds
        self.first = 0.0
        self.steps = 0

    def step(self) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps == 1:
            self.first = time.monotonic() - self._began

    @property
    def over(self) -> bool:
        """Whether another step would end after the end, if it is like those so far."""
        spent = time.monotonic() - self._began
        each = (spent - self.first) / max(1, self.steps - 1)
        return spent + 0.5 * each >= self._seconds

    def rate(self) -> float:
        """Share of the peak rate now."""
        if self.steps == 0:
            return 0.01
        spent = time.monotonic() - self._began - self.first
        share = min(1.0, spent / max(1e-9, self._seconds - self.first))
        return min(share / WARM_UP, cosine(share))


def cosine(share: float) -> float:
    """From 1 to 0.02 over the time."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


def stream_rows(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> np.ndarray:
    """Texts one after the other with start and end tokens, cut into full rows. Shape [rows, context].

    Every row begins with the start token, as the held-out pieces do.
    """
    stream = [
        token for ids in tokenizer.encode_batch(texts) for token in (tokenizer.bos_id, *ids, tokenizer.eos_id)
    ]
    step = context - 1
    pieces = np.array(stream[: len(stream) // step * step], np.int32).reshape(-1, step)
    return np.concatenate([np.full((len(pieces), 1), tokenizer.bos_id, np.int32), pieces], axis=1)


def held_out_bits(
    folder: Path, tokenizer: Tokenizer, texts: Sequence[str], context: int, most_rows: int
) -> float:
    """Bits per byte of held-out texts, in float32, by transformers alone.

    Each text is read in pieces that begin with the start token; a token is predicted from those before it in
    its piece. The nats of all tokens of the texts (start and end tokens are not among them) are divided by
    ln 2 and by the texts' bytes.

    Args:
        folder: a model in Hugging Face layout.
        tokenizer: of both contestants.
        texts: held-out texts.
        context: longest piece, with its start token.
        most_rows: an even sample of so many pieces is measured.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    step = context - 1
    pieces = [
        ids[start : start + step]
        for ids in tokenizer.encode_batch(texts)
        for start in range(0, len(ids), step)
    ]
    drawn = np.random.default_rng(0).permutation(len(pieces))[:most_rows]
    chosen = sorted((pieces[index] for index in drawn), key=len)
    nats, spelled = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(chosen), 16):
            batch = chosen[start : start + 16]
            longest = len(batch[-1])
            # Padding stands at the end, where causal attention does not look at it.
            inputs = torch.tensor(
                [[tokenizer.bos_id, *ids, *[tokenizer.pad_id] * (longest - len(ids))] for ids in batch]
            )
            targets = torch.tensor([[*ids, *[IGNORED] * (longest - len(ids))] for ids in batch])
            logits = model(input_ids=inputs).logits[:, :-1].flatten(0, 1)
            nats += F.cross_entropy(
                logits.float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
            spelled += sum(len(tokenizer.token_bytes(token)) for ids in batch for token in ids)
    return nats / math.log(2) / spelled
