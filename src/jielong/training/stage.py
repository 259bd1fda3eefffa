"""What every stage does around the loop: note the recipe, save the model folder with its lineage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.files import folder_written_atomically, hash_json, write_atomically
from jielong.core.recipe import Settings
from jielong.data import Problems
from jielong.models import Transformer, load_model, save_model, write_lineage
from jielong.tokenizer import Tokenizer
from jielong.training.loop import Trainer, TrainingResult
from jielong.training.settings import TrainingSettings


@dataclass
class StageResult:
    """What a stage made and measured."""

    run: Path
    model: Path
    parameters: int
    training: TrainingResult
    problems: Problems

    def summary(self) -> dict[str, Any]:
        """The result as plain values, for printing."""
        return {
            "run": str(self.run),
            "model": str(self.model),
            **self.measured(),
            "tokens_per_second": round(self.training.tokens_per_second),
            "mfu": _rounded(self.training.utilisation),
            "skipped": self.problems.counts,
        }

    def measured(self) -> dict[str, Any]:
        """What lineage keeps of the run: figures that a rerun repeats."""
        training = self.training
        return {
            "parameters": self.parameters,
            "steps": training.steps,
            "tokens": training.tokens,
            "loss": round(training.final_loss, 4),
            "bits_per_byte_before": _rounded(training.bits_per_byte_before),
            "bits_per_byte": _rounded(training.bits_per_byte),
        }


def start_run(settings: Settings, out: Path) -> None:
    """Make the run folder and write the recipe into it, so that a run that dies can be taken up again."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "recipe.yaml", settings.to_yaml())


def recipe_hash(settings: Settings) -> str:
    """Hash of everything in a recipe that shapes the weights: where the run is written does not."""
    return hash_json({key: value for key, value in settings.model_dump(mode="json").items() if key != "out"})


def finish_run(
    stage: str,
    settings: Settings,
    trainer: Trainer,
    result: TrainingResult,
    tokenizer: Tokenizer,
    data_hashes: list[dict[str, Any]],
    problems: Problems,
    parent: Path | None = None,
    temperature: float = 0.7,
) -> StageResult:
    """Write the model folder (network, tokenizer, lineage) and the recipe as it was really run."""
    out = trainer.folder
    used = settings.model_copy(update={"training": result.settings})
    write_atomically(out / "recipe.yaml", used.to_yaml())
    model = trainer.model.to("cpu").eval()
    done = StageResult(
        out, out / "model", sum(weight.numel() for weight in model.parameters()), result, problems
    )
    with folder_written_atomically(out / "model") as folder:
        save_model(
            model,
            folder,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            generation={"do_sample": True, "temperature": temperature, "top_p": 0.95},
        )
        tokenizer.save(folder)
        write_lineage(
            folder,
            stage=stage,
            recipe=used.model_dump(mode="json"),
            seed=int(getattr(settings, "seed", 0)),
            data=data_hashes,
            parents=[parent] if parent else [],
            measured=done.measured(),
        )
    return done


def load_parent(folder: Path) -> tuple[Transformer, Tokenizer]:
    """The network and the tokenizer of a model folder."""
    tokenizer = Tokenizer.load(folder)
    return load_model(folder), tokenizer


def with_steps(training: TrainingSettings, **changes: Any) -> TrainingSettings:
    """The settings with some values changed, checked again."""
    return TrainingSettings.parse({**training.model_dump(), **changes})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
