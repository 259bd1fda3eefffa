"""The one training loop: batches in, a trained model out, whatever the objective."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from jielong.core.errors import JielongError
from jielong.core.files import hash_json
from jielong.core.progress import ProgressLine, console
from jielong.models import Transformer
from jielong.training.ahead import Ahead
from jielong.training.allocator import freed_memory_kept
from jielong.training.averaging import TailAverage, first_that_depends_on_length
from jielong.training.batches import Batch, Batches
from jielong.training.checkpoint import (
    Progress,
    last_good,
    read_state,
    remove_checkpoints,
    save_checkpoint,
    step_of,
)
from jielong.training.compiling import compile_objective, may_go_on_uncompiled
from jielong.training.distributed import (
    any_process,
    is_main,
    require_same,
    share,
    share_of,
    sum_of_all,
    world_size,
)
from jielong.training.gradients import Objective, accumulate_gradients, clip_gradients
from jielong.training.health import broken_weight
from jielong.training.identity import RunIdentity, computer, computer_differences, join
from jielong.training.interrupt import InterruptGuard, TrainingStoppedError
from jielong.training.length import LengthPlanner, first_plans, most_steps
from jielong.training.metrics import MetricsLog
from jielong.training.optimizer import build_optimizers
from jielong.training.pace import Pace
from jielong.training.parallel import build_network, whole_model
from jielong.training.peak import matmul_peak, model_flops_utilisation
from jielong.training.precision import choose_compiling, choose_device, choose_precision, computing_in
from jielong.training.result import TrainingResult
from jielong.training.resuming import find_resume_point
from jielong.training.schedule import learning_rate_factor
from jielong.training.settings import TrainingSettings
from jielong.training.state import random_state, restore_random_state, restore_state, state_of
from jielong.training.validation import BitsPerByte

Sampler = Callable[[Transformer], list[dict[str, str]]]
"""Sample texts of the model as it is now, for people to read."""

_SECONDS_WORTH_A_PEAK = 5.0  # of training, from which 0.3 s more to measure the machine's limit are spent


@dataclass
class Trainer:
    """One run of the loop. Build it with what it needs, then call `run` once."""

    model: Transformer
    batches: Batches
    objective: Objective
    settings: TrainingSettings
    folder: Path
    """The run folder: metrics.jsonl and checkpoints/ are written here."""
    identity: RunIdentity = field(default_factory=RunIdentity)
    """Recipe and data; a resumed run must have the same ones."""
    validation: BitsPerByte | None = None
    sampler: Sampler | None = None
    title: str = "training"
    quiet: bool = False

    def run(self, resume: bool = False, force: bool = False) -> TrainingResult:
        """Train to the end of the run.

        Args:
            resume: go on from the newest checkpoint in the run folder, if there is one. Where the length
                (steps, epochs, minutes) was changed, go on from the newest one that a run of the new length
                would have written too, so that the longer run is what it would have been from the start.
            force: resume although the data changed, or from a checkpoint of another length.

        Raises:
            TrainingStoppedError: on Ctrl-C or SIGTERM, after a checkpoint was written.
            JielongError: when the loss is not finite or diverges; the last good checkpoint is kept.
        """
        with InterruptGuard() as guard, freed_memory_kept():
            self._prepare(resume, force)
            line = ProgressLine(self.title, 1.0, self.quiet)
            try:
                self._train(line, guard)
                self.average.put_into_model()
                bits = self._validate(final=True)
                self.utilisation = self._utilisation()
            finally:
                line.close()
                self.ahead.close()
                self.metrics.close()
        return self._result(bits)

    def _train(self, line: ProgressLine, guard: InterruptGuard) -> None:
        while True:
            self.progress.plans = self.planner.plan(self.progress.step, self.progress.plans)
            between = self.progress.step % self.batches.period == 0
            stopping = between and any_process(guard.requested)
            self.progress.ended = self.progress.ended or self.batches.exhausted
            ended = self.progress.finished
            if stopping or ended or self._checkpoint_is_due(between):
                self._save()
            if ended:
                return
            if stopping:
                raise TrainingStoppedError(
                    f"stopped after step {self.progress.step}; saved {self._checkpoint}. "
                    "Run the same command with --resume to go on"
                )
            self._step_or_stop(line, guard)
            self._validate_and_sample()

    def _step_or_stop(self, line: ProgressLine, guard: InterruptGuard) -> None:
        try:
            self._step(line)
        except Exception as error:
            # Ctrl-C in a terminal goes to the C++ compiler too, and torch.compile fails for it.
            # Of several processes only all together can stop.
            if guard.requested and not isinstance(error, JielongError) and world_size() == 1:
                raise TrainingStoppedError(
                    f"stopped in step {self.progress.step + 1}, which is not saved; "
                    f"{last_good(self._checkpoints)}. Run the same command with --resume to go on"
                ) from error
            first = self.compiled and self.pace.compile_seconds == 0
            if not (first and may_go_on_uncompiled(error, self.settings.compile)):
                raise
            self._stop_compiling()
            self._step(line)

    def _stop_compiling(self) -> None:
        self.compiled = self.progress.compiled = False
        self.progress.identity.computed_by["compile"] = "no"
        self.loss = self.objective
        self._forget_gradients()

    # --- set-up

    def _prepare(self, resume: bool, force: bool) -> None:
        settings = self.settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.device = choose_device(settings.device)
        self.dtype = choose_precision(settings.precision, self.device)
        self.model.to(self.device).train()
        # With its number: the thread that prepares batches has a current GPU of its own.
        self.device = next(self.model.parameters()).device
        self.model.recompute = settings.activation_checkpointing
        self.rows = share_of(settings.batch_rows, "training.batch_rows")
        require_same(hash_json(asdict(self.identity)), "recipe and data")
        self.network = build_network(self.model, settings.parallel, self.dtype)
        self.optimizers = build_optimizers(self.model, settings.optimizer)
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.average = TailAverage(self.model, settings)
        most = most_steps(settings, self.batches.per_epoch)
        self.progress = Progress(plans=first_plans(settings, most))
        self._checkpoints = self.folder / "checkpoints"
        self._checkpoint: Path | None = None
        if resume:
            self._resume(force)
        elif is_main():
            remove_checkpoints(self._checkpoints)
        self.ahead = Ahead(self._draw, wanted=not self.batches.on_policy)
        self.metrics = MetricsLog(self.folder / "metrics.jsonl", self.progress.metrics_bytes)
        parameters = sum(weight.numel() for weight in self.model.parameters())
        self.compiled = self.progress.compiled = choose_compiling(
            settings, self.device, parameters, self.progress.total, self.progress.compiled
        )
        self.loss = compile_objective(self.objective) if self.compiled else self.objective
        self._note_computer()
        self.pace = Pace(settings, self.progress.seconds)
        self.planner = LengthPlanner(settings, most, self.pace, self.progress.step)
        if self._checkpoint is None:
            self.progress.bits_before = self._validate()

    def _resume(self, force: bool) -> None:
        """Take over the state of a checkpoint; without one the run begins at its beginning."""
        found = find_resume_point(self._checkpoints, self.identity, self.settings, self.progress.plans, force)
        if found is None:
            console().print(f"no checkpoint in {self.folder}; starting from the beginning")
            return
        self._checkpoint, self.progress = found
        require_same(str(self._checkpoint), "newest checkpoint")
        state = read_state(self._checkpoint, self.model, self.optimizers)
        restore_state(state, self.model, self.optimizers, self._checkpoint)
        self.average.restore(state.get("average", {}))
        self.batches.restore(state.get("batches", {}))
        restore_random_state(state["random"])

    def _note_computer(self) -> None:
        """Keep what computes this run; say so where it is not what computed it so far."""
        now = computer(self.device, self.dtype, self.compiled)
        changes = computer_differences(self.progress.identity.computed_by, now)
        if changes:
            console().print(f"the last bits may differ from those of a run without a stop: {join(changes)}")
        self.progress.identity = replace(self.identity, computed_by=now)

    # --- one step

    def _step(self, line: ProgressLine) -> None:
        began = time.monotonic()
        step = self.progress.step
        rate = learning_rate_factor(step, self.progress.plans, self.settings.schedule)
        drawn = self.ahead.take(step)
        figures = accumulate_gradients(self.network, self.loss, drawn, self.dtype)
        norm = clip_gradients(self.model, self.settings.optimizer.clip)
        bad = self.progress.health.judge(figures.loss, norm, self.settings)
        if self.progress.health.must_stop:
            raise self._diverged(str(bad))
        if bad is None:
            self._update(step, rate)
        self._forget_gradients()
        self._count(step, figures.tokens, time.monotonic() - began)
        speed = figures.tokens / self.pace.seconds_per_step
        outcome = {"loss": figures.loss} if bad is None else {"skipped": bad}
        self.metrics.write(
            step=step + 1, **outcome, lr=rate * self.settings.optimizer.lr, grad_norm=norm,
            learned=figures.learned, tokens=self.progress.tokens, tokens_per_second=round(speed),
            seconds=round(self.progress.seconds, 2), **figures.statistics,
        )  # fmt: skip
        self._show(line, speed)

    def _update(self, step: int, rate: float) -> None:
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate
            optimizer.step()
        self.average.update(step, self.progress.plans)

    def _forget_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _draw(self, step: int) -> list[Batch[Any]]:
        """All micro-batches of a step."""
        count = self.settings.accumulate
        return [self.batches.draw(step * count + number, self.device, share()) for number in range(count)]

    def _diverged(self, reason: str) -> JielongError:
        return JielongError(
            f"training diverged at step {self.progress.step + 1}: {reason}; {last_good(self._checkpoints)}. "
            "Try a lower optimizer.lr or a longer schedule.warmup, or on_bad_step=skip for a few bad steps"
        )

    def _count(self, step: int, tokens: int, seconds: float) -> None:
        self.pace.count_step(seconds, self.compiled)
        self.progress.step = step + 1
        self.progress.tokens += tokens
        self.progress.seconds = self.pace.seconds

    # --- now and then

    def _validate_and_sample(self) -> None:
        step = self.progress.step
        if self.progress.finished:
            return
        if step % self.settings.validate_every == 0:
            self._validate()
        if self.sampler and step % (self.settings.sample_every or 2 * self.settings.validate_every) == 0:
            self._sample()

    def _validate(self, final: bool = False) -> float | None:
        if self.validation is None:
            return None
        rows = self.settings.validation_rows * (4 if final else 1)
        with computing_in(self.dtype, self.device):
            bits = self.validation.measure(self.network, self.rows, rows, self.device)
        self.metrics.write(step=self.progress.step, validation_bits_per_byte=bits)
        self.last_bits = bits
        if final and self.sampler:
            self._sample()
        return bits

    def _sample(self) -> None:
        assert self.sampler is not None  # noqa: S101  (the callers have looked)
        self.model.eval()
        model = whole_model(self.model)
        if is_main() and model is not None:
            self.metrics.write(step=self.progress.step, samples=self.sampler(model))
        self.model.train()

    def _checkpoint_is_due(self, between: bool) -> bool:
        """Before the rate falls, and else as the settings say; never within a rollout."""
        step, settings = self.progress.step, self.settings
        if between and step == self._last_common_step() > 0:
            return True
        if step == 0 or not between:
            return False
        if settings.keep_every and step % settings.keep_every == 0:
            return True
        every = settings.checkpoint_every
        return any_process(self.pace.checkpoint_is_due) if every is None else step % every == 0

    def _last_common_step(self) -> int:
        """Steps after which this run is still the same as a longer one; -1 while its length is not known."""
        plans = self.progress.plans
        return first_that_depends_on_length(plans, self.settings) if plans else -1

    def _save(self) -> None:
        """Write a checkpoint of the present step, unless there is one already."""
        progress, settings = self.progress, self.settings
        if self._checkpoint is not None and step_of(self._checkpoint) == progress.step:
            return
        began = time.monotonic()
        broken = broken_weight(self.model)
        if broken is not None:
            raise self._diverged(f"the weight {broken} is not finite")
        progress.metrics_bytes = self.metrics.flush_to_disk()
        state = state_of(self.model, self.optimizers)
        state |= {"average": self.average.tensors, "batches": self.batches.state(), "random": random_state()}
        self._checkpoint = save_checkpoint(
            self._checkpoints, state, progress, settings.keep_checkpoints, self._last_common_step(),
            settings.keep_every,
        )  # fmt: skip
        self.pace.count_checkpoint(time.monotonic() - began)

    def _show(self, line: ProgressLine, speed: float) -> None:
        progress = self.progress
        bits = getattr(self, "last_bits", None)
        shown = f"  {bits:.3f} bits/byte" if bits is not None else ""
        loss = progress.health.smooth_loss or 0.0
        detail = f"step {progress.step:,}  loss {loss:.3f}{shown}  {speed:,.0f} tokens/s"
        if progress.total is None:
            left = self.pace.seconds_left
            share = progress.seconds / (progress.seconds + max(left, 0.0))
        else:
            left = (progress.total - progress.step) * self.pace.seconds_per_step
            share = progress.step / progress.total
        line.show(share, detail, eta=left)

    # --- the end

    def _utilisation(self) -> float | None:
        """Note how much of the machine's limit the last steps reached, of all processes' together."""
        progress = self.progress
        if not any_process(progress.seconds >= _SECONDS_WORTH_A_PEAK):
            return None
        peak = matmul_peak(self.device, self.dtype)
        (limit,) = sum_of_all(peak.flops)
        speed = progress.tokens / progress.step / self.pace.seconds_per_step
        mfu = model_flops_utilisation(
            self.model.config, self.settings.context, speed, replace(peak, flops=limit),
            frozen=self.model.adapter is not None,
        )  # fmt: skip
        self.metrics.write(step=progress.step, mfu=round(mfu, 4), peak_flops=round(limit))
        return mfu

    def _result(self, bits: float | None) -> TrainingResult:
        result = TrainingResult.of(self.progress, self.pace, self.settings, self.utilisation, bits)
        if not self.quiet:
            console().print(f"{self.title}: {result.summary()}")
        return result
