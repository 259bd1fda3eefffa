"""Settings of the main job."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from jielong.core.recipe import Settings

DEFAULT_MINUTES = {"tiny": 0.5, "small": 10.0, "medium": 60.0}


class QuickstartSettings(Settings):
    """One command from nothing to a chat."""

    out: Path = Path("runs/quickstart")
    """Run folder; an older one there is replaced."""
    size: Literal["tiny", "small", "medium"] = "small"
    """Size of the built-in world; tiny is for tests."""
    minutes: float | None = Field(None, gt=0)
    """Wall-clock budget of the whole job; by default 0.5, 10 or 60 by size."""
    data: tuple[Path, ...] = ()
    """Your own text, instead of the built-in world's: files, folders, globs, in any mixture."""
    instructions: tuple[Path, ...] = ()
    """Your own conversations in messages, Alpaca or ShareGPT form; needs `data`."""
    seed: int = 0
    """Seed of the world, the weights and the order of the data."""
    vocab_size: int | None = Field(None, ge=300)
    """Size of the tokenizer's vocabulary; by default chosen by the amount of text."""
    width: int | None = Field(None, gt=0)
    """Width of the network; by default chosen for this machine and the minutes given."""
    layers: int | None = Field(None, gt=0)
    """Layers of the network; goes with `width`."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.instructions and not self.data:
            raise ValueError("--instructions needs --data: say on which text to pretrain")
        if (self.width is None) != (self.layers is None):
            raise ValueError("--width and --layers go together: give both, or neither to have them chosen")
        return self

    @property
    def budget_seconds(self) -> float:
        """Seconds that the whole job may take."""
        return 60 * (self.minutes if self.minutes is not None else DEFAULT_MINUTES[self.size])
