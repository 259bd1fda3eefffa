"""What a training run measured."""

import math
from dataclasses import dataclass
from typing import Any, Self

from jielong.core.progress import format_seconds
from jielong.training.checkpoint import Progress
from jielong.training.pace import Pace
from jielong.training.settings import TrainingSettings


@dataclass
class TrainingResult:
    """What a run measured."""

    steps: int
    tokens: int
    seconds: float
    compile_seconds: float
    checkpoints: int
    """Written by this process, which may have resumed the run."""
    checkpoint_seconds: float
    """Time that they took, all together."""
    skipped_steps: int
    tokens_per_second: float
    utilisation: float | None
    """Share of the machine's fastest matrix multiplication (MFU); None for a run too short to tell."""
    final_loss: float
    bits_per_byte: float | None
    bits_per_byte_before: float | None
    settings: TrainingSettings
    """The settings with everything that was chosen on the way filled in; running them repeats the run."""

    @classmethod
    def of(
        cls,
        progress: Progress,
        pace: Pace,
        settings: TrainingSettings,
        utilisation: float | None,
        bits_per_byte: float | None,
    ) -> Self:
        """Put together what a run that has ended knows.

        Args:
            progress: where it stands.
            pace: its clock.
            settings: as they were given.
            utilisation: see above.
            bits_per_byte: on held-out text, of the final model.
        """
        used: dict[str, Any] = {
            **settings.model_dump(),
            "steps": progress.total, "epochs": None, "minutes": None,
            "plans": progress.plans if len(progress.plans) > 1 else (),
            **{name: progress.identity.computed_by[name] for name in ("device", "precision", "compile")},
        }  # fmt: skip
        return cls(
            steps=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            compile_seconds=pace.compile_seconds,
            checkpoints=pace.checkpoints,
            checkpoint_seconds=pace.checkpoint_seconds,
            tokens_per_second=progress.tokens / max(1e-9, progress.seconds - pace.compile_seconds),
            utilisation=utilisation,
            final_loss=math.nan if progress.health.smooth_loss is None else progress.health.smooth_loss,
            bits_per_byte=bits_per_byte,
            bits_per_byte_before=progress.bits_before,
            skipped_steps=progress.health.skipped,
            settings=TrainingSettings.parse(used),
        )

    def summary(self) -> str:
        """One line for the user."""
        share = "" if self.utilisation is None else f", {self.utilisation:.0%} of the matmul limit (MFU)"
        skipped = f"; {self.skipped_steps:,} bad steps were skipped" if self.skipped_steps else ""
        return (
            f"{self.steps:,} steps, {self.tokens:,} tokens in {format_seconds(self.seconds)}{share}{skipped}"
        )
