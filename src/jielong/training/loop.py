"""The one training loop: batches in, a trained model out, whatever the objective."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jielong.core.errors import JielongError, UsageError
from jielong.core.progress import ProgressLine, console, format_seconds
from jielong.models import Transformer
from jielong.training.batches import PackedBatches
from jielong.training.checkpoint import Progress, load_checkpoint, newest_checkpoint, save_checkpoint
from jielong.training.interrupt import InterruptGuard
from jielong.training.metrics import MetricsLog
from jielong.training.optimizer import build_optimizers
from jielong.training.peak import matmul_peak, model_flops_utilisation
from jielong.training.precision import can_compile, choose_device, choose_precision
from jielong.training.schedule import decay_steps, learning_rate_factor, total_when_decay_begins
from jielong.training.settings import TrainingSettings
from jielong.training.validation import BitsPerByte

Objective = Callable[[Transformer, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Sum of losses of a micro-batch: (model, tokens, positions, segments, targets) -> scalar."""

Sampler = Callable[[Transformer], list[dict[str, str]]]
"""Sample texts of the model as it is now, for people to read."""

_DIVERGED_BY = 2.0  # nats above the first loss
_SPEED_WINDOW = 40  # steps whose speed predicts the rest
_SECONDS_WORTH_A_PEAK = 5.0  # of training, from which 0.3 s more to measure the machine's limit are spent


class TrainingStoppedError(JielongError):
    """The user asked the run to stop; a checkpoint was written."""


@dataclass
class TrainingResult:
    """What a run measured."""

    steps: int
    tokens: int
    seconds: float
    compile_seconds: float
    tokens_per_second: float
    utilisation: float | None
    """Share of the machine's fastest matrix multiplication (MFU); None for a run too short to tell."""
    final_loss: float
    bits_per_byte: float | None
    bits_per_byte_before: float | None
    settings: TrainingSettings
    """The settings with everything that was chosen on the way filled in; running them repeats the run."""


@dataclass
class Trainer:
    """One run of the loop. Build it with what it needs, then call `run` once."""

    model: Transformer
    batches: PackedBatches
    objective: Objective
    settings: TrainingSettings
    folder: Path
    """The run folder: metrics.jsonl and checkpoints/ are written here."""
    identity: dict[str, str] = field(default_factory=dict)
    """Hashes of recipe and data; a resumed run must have the same ones."""
    validation: BitsPerByte | None = None
    sampler: Sampler | None = None
    title: str = "training"
    quiet: bool = False

    def run(self, resume: bool = False) -> TrainingResult:
        """Train to the end of the run.

        Args:
            resume: go on from the newest checkpoint in the run folder, if there is one.

        Raises:
            TrainingStoppedError: on Ctrl-C or SIGTERM, after a checkpoint was written.
            JielongError: when the loss is not finite or diverges; the last good checkpoint is kept.
        """
        self._prepare(resume)
        line = ProgressLine(self.title, 1.0, self.quiet)
        try:
            with InterruptGuard() as guard:
                while not self._finished():
                    self._step(line)
                    if guard.requested:
                        self._stop_early()
            bits = self._validate(final=True)
            self.utilisation = self._utilisation()
        finally:
            line.close()
            self.metrics.close()
        return self._result(bits)

    # --- set-up

    def _prepare(self, resume: bool) -> None:
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.device = choose_device(self.settings.device)
        self.dtype = choose_precision(self.settings.precision, self.device)
        self.model.to(self.device).train()
        self.optimizers = build_optimizers(self.model, self.settings.optimizer)
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.most_steps = self._most_steps()
        timed = self.settings.minutes is not None
        self.progress = Progress(total=None if timed else self.most_steps, identity=self.identity)
        if resume:
            self._resume()
        self.metrics = MetricsLog(self.folder / "metrics.jsonl", self.progress.metrics_bytes)
        self.compiled = self._worth_compiling()
        self.loss = torch.compile(self.objective, dynamic=False) if self.compiled else self.objective
        self.compile_seconds = 0.0
        self.step_seconds: list[float] = []
        self.started = time.monotonic() - self.progress.seconds
        self.bits_before = self._validate() if self.progress.step == 0 else None

    def _resume(self) -> None:
        path = newest_checkpoint(self.folder / "checkpoints")
        if path is None:
            console().print(f"no checkpoint in {self.folder}; starting from the beginning")
            return
        self.progress = load_checkpoint(path, self.model, self.optimizers)
        changed = [name for name, value in self.identity.items() if self.progress.identity.get(name) != value]
        if changed:
            raise JielongError(
                f"cannot resume {self.folder}: {' and '.join(changed)} changed since the checkpoint; "
                "use the same ones, or start a new run folder"
            )

    def _most_steps(self) -> int | None:
        """The steps that settings.steps and settings.epochs allow; None where only the time is limited."""
        settings = self.settings
        limits = [settings.steps] if settings.steps is not None else []
        if settings.epochs is not None:
            limits.append(max(1, math.ceil(settings.epochs * self.batches.per_epoch / settings.accumulate)))
        if not limits and settings.minutes is None:
            raise JielongError("training needs steps, epochs or minutes")
        return min(limits, default=None)

    def _worth_compiling(self) -> bool:
        """Compiling costs some 30 s and then saves about half the time, so short runs are better without.

        Decided by the work to do, not by a stopwatch, so that a rerun decides alike.
        """
        if self.settings.compile == "yes" and not can_compile(self.device):
            raise UsageError(
                "training.compile is yes, but there is no C++ compiler (g++); install one, or use auto"
            )
        if self.settings.compile != "auto" or not can_compile(self.device):
            return self.settings.compile == "yes"
        if self.progress.total is None:
            return self.settings.minutes is not None and self.settings.minutes >= 2
        settings = self.settings
        tokens = self.progress.total * settings.accumulate * settings.batch_rows * settings.context
        operations = 6.0 * sum(weight.numel() for weight in self.model.parameters()) * tokens
        return operations > (1e13 if self.device.type == "cpu" else 1e15)

    # --- one step

    def _step(self, line: ProgressLine) -> None:
        began = time.monotonic()
        step = self.progress.step
        rate = self._learning_rate_factor(step)
        loss, learned, tokens = self._accumulate_gradients(step)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.clip))
        self._refuse_bad(loss, norm)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._count(step, loss, tokens, time.monotonic() - began)
        speed = tokens / self._seconds_per_step()
        self.metrics.write(
            step=step + 1, loss=loss, lr=rate * self.settings.optimizer.lr, grad_norm=norm, learned=learned,
            tokens=self.progress.tokens, tokens_per_second=round(speed),
            seconds=round(self.progress.seconds, 2),
        )  # fmt: skip
        self._show(line, speed)
        self._now_and_then()

    def _accumulate_gradients(self, step: int) -> tuple[float, int, int]:
        """Gradients of the mean loss over all micro-batches; returns (mean loss, targets, tokens)."""
        count = self.settings.accumulate
        drawn = [self.batches.draw(step * count + number, self.device) for number in range(count)]
        learned = sum(batch.learned for batch in drawn)
        if learned == 0:
            raise JielongError(
                f"step {step + 1} has no token to learn; is the loss mask of the data all zero?"
            )
        total = 0.0
        for batch in drawn:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                loss = self.loss(self.model, batch.tokens, batch.positions, batch.segments, batch.targets)
            torch.autograd.backward(loss / learned)
            total += loss.item()
        tokens = sum(int((batch.segments > 0).sum()) for batch in drawn)
        return total / learned, learned, tokens

    def _learning_rate_factor(self, step: int) -> float:
        schedule = self.settings.schedule
        if self.progress.total is None and self._decay_must_begin(step):
            self.progress.total = total_when_decay_begins(step, schedule)
        # Until a time budget has fixed the length the decay is far away, wherever it will be.
        total = self.progress.total if self.progress.total is not None else 1 << 40
        return learning_rate_factor(step, total, schedule)

    def _decay_must_begin(self, step: int) -> bool:
        """Whether the steps or the time left are what the decay will need at the present speed."""
        schedule = self.settings.schedule
        if self.most_steps is not None and total_when_decay_begins(step + 1, schedule) > self.most_steps:
            return True
        if len(self.step_seconds) < 3:
            return False
        to_come = decay_steps(total_when_decay_begins(step, schedule), schedule)
        return self._seconds_left() <= to_come * self._seconds_per_step()

    def _seconds_left(self) -> float:
        assert self.settings.minutes is not None  # noqa: S101  (only timed runs ask)
        return self.settings.minutes * 60 - (time.monotonic() - self.started)

    def _seconds_per_step(self) -> float:
        # Until a second step is done, all that is known is the one that compiled.
        recent = self.step_seconds[-_SPEED_WINDOW:] or [self.compile_seconds]
        return sum(recent) / len(recent)

    def _refuse_bad(self, loss: float, norm: float) -> None:
        """Stop before a bad step touches the weights."""
        reason = None
        if not math.isfinite(loss) or not math.isfinite(norm):
            reason = f"the {'gradient' if math.isfinite(loss) else 'loss'} is not finite"
        elif (self.progress.smooth_loss or 0) > (self.progress.first_loss or 0) + _DIVERGED_BY:
            reason = f"the loss rose from {self.progress.first_loss:.2f} to {self.progress.smooth_loss:.2f}"
        if reason is None:
            return
        kept = newest_checkpoint(self.folder / "checkpoints")
        where = f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet"
        raise JielongError(
            f"training diverged at step {self.progress.step + 1}: {reason}; {where}. "
            "Try a lower optimizer.lr or a longer schedule.warmup"
        )

    def _count(self, step: int, loss: float, tokens: int, seconds: float) -> None:
        progress = self.progress
        if self.compiled and self.compile_seconds == 0.0:
            self.compile_seconds = seconds  # the first step compiles; it says nothing about speed
        else:
            self.step_seconds.append(seconds)
        progress.step = step + 1
        progress.tokens += tokens
        progress.seconds = time.monotonic() - self.started
        progress.first_loss = loss if progress.first_loss is None else progress.first_loss
        smooth = progress.smooth_loss
        progress.smooth_loss = loss if smooth is None else 0.95 * smooth + 0.05 * loss

    # --- now and then

    def _now_and_then(self) -> None:
        step = self.progress.step
        if self._finished():
            return
        if step % self.settings.validate_every == 0:
            self._validate()
        if self.sampler and step % (self.settings.sample_every or 2 * self.settings.validate_every) == 0:
            self._sample()
        if step % self.settings.checkpoint_every == 0:
            self._save()

    def _validate(self, final: bool = False) -> float | None:
        if self.validation is None:
            return None
        rows = self.settings.validation_rows * (4 if final else 1)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            bits = self.validation.measure(self.model, self.settings.batch_rows, rows, self.device)
        self.metrics.write(step=self.progress.step, validation_bits_per_byte=bits)
        self.last_bits = bits
        if final and self.sampler:
            self._sample()
        return bits

    def _sample(self) -> None:
        assert self.sampler is not None  # noqa: S101  (the callers have looked)
        self.model.eval()
        self.metrics.write(step=self.progress.step, samples=self.sampler(self.model))
        self.model.train()

    def _save(self) -> Path:
        self.progress.metrics_bytes = self.metrics.size
        folder = self.folder / "checkpoints"
        return save_checkpoint(
            folder, self.model, self.optimizers, self.progress, self.settings.keep_checkpoints
        )

    def _stop_early(self) -> None:
        if self._finished():
            return
        path = self._save()
        raise TrainingStoppedError(
            f"stopped after step {self.progress.step}; saved {path}. "
            "Run the same command with --resume to go on"
        )

    def _finished(self) -> bool:
        return self.progress.total is not None and self.progress.step >= self.progress.total

    def _show(self, line: ProgressLine, speed: float) -> None:
        progress = self.progress
        bits = getattr(self, "last_bits", None)
        shown = f"  {bits:.3f} bits/byte" if bits is not None else ""
        detail = f"step {progress.step:,}  loss {progress.smooth_loss:.3f}{shown}  {speed:,.0f} tokens/s"
        if progress.total is None:
            left = self._seconds_left()
            share = progress.seconds / (progress.seconds + max(left, 0.0))
        else:
            left = (progress.total - progress.step) * self._seconds_per_step()
            share = progress.step / progress.total
        line.show(share, detail, eta=left)

    # --- the end

    def _utilisation(self) -> float | None:
        """Note how much of the machine's limit the last steps reached."""
        progress = self.progress
        if progress.seconds < _SECONDS_WORTH_A_PEAK:
            return None
        peak = matmul_peak(self.device, self.dtype)
        speed = progress.tokens / progress.step / self._seconds_per_step()
        mfu = model_flops_utilisation(self.model.config, self.settings.context, speed, peak)
        self.metrics.write(step=progress.step, mfu=round(mfu, 4), peak_flops=round(peak.flops))
        return mfu

    def _result(self, bits: float | None) -> TrainingResult:
        progress = self.progress
        if not self.quiet:
            share = "" if self.utilisation is None else f", {self.utilisation:.0%} of the matmul limit (MFU)"
            console().print(
                f"{self.title}: {progress.step:,} steps, {progress.tokens:,} tokens "
                f"in {format_seconds(progress.seconds)}{share}"
            )
        used: dict[str, Any] = {
            **self.settings.model_dump(),
            "steps": progress.total, "epochs": None, "minutes": None,
            "precision": "bfloat16" if self.dtype == torch.bfloat16 else "float32",
            "compile": "yes" if self.compiled else "no",
            "device": self.device.type,
        }  # fmt: skip
        return TrainingResult(
            steps=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            compile_seconds=self.compile_seconds,
            tokens_per_second=progress.tokens / max(1e-9, progress.seconds - self.compile_seconds),
            utilisation=self.utilisation,
            final_loss=progress.smooth_loss if progress.smooth_loss is not None else math.nan,
            bits_per_byte=bits,
            bits_per_byte_before=self.bits_before,
            settings=TrainingSettings.parse(used),
        )
