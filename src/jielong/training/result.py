"""What a training run measured."""

from dataclasses import dataclass

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
