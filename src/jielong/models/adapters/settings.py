"""Settings of adapters, for the recipe of any stage."""

from typing import Literal

from pydantic import Field

from jielong.core.recipe import Settings


class LoraSettings(Settings):
    """Low-rank adaptation (LoRA): a pair of narrow matrices beside each chosen one is all that is trained."""

    rank: int = Field(16, gt=0)
    """Inner width of every pair."""
    alpha: float = Field(32.0, gt=0)
    """Strength: what a pair computes is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of a pair's inputs that are set to zero while training."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Matrices that get a pair, by the names of the family's files: [q_proj, v_proj], [self_attn.o_proj];
    all-linear: every matrix but the output head."""
    rslora: bool = False
    """Multiply by alpha / sqrt(rank) instead, which keeps large ranks from learning slower."""

    @property
    def scaling(self) -> float:
        """What the output of a pair is multiplied by (arXiv 2106.09685, section 4.1; 2312.03732)."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)
