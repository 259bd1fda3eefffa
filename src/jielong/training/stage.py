"""What every stage does around the loop: note the recipe, save the model folder with its lineage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.errors import UsageError
from jielong.core.files import folder_written_atomically, remove_leftovers, write_atomically
from jielong.core.recipe import Settings
from jielong.data import Problems, find_sources
from jielong.models import Transformer, load_model, save_model, write_lineage
from jielong.tokenizer import Tokenizer
from jielong.training.checkpoint import newest_checkpoint, read_progress
from jielong.training.identity import plain_recipe, recipe_differences, refuse_changes
from jielong.training.loop import Trainer
from jielong.training.result import TrainingResult


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
            **({"skipped_steps": training.skipped_steps} if training.skipped_steps else {}),
        }


def start_run(settings: Settings, out: Path, resume: bool = False, force: bool = False) -> None:
    """Make the run folder ready and write the recipe into it, so that a run that dies can be taken up again.

    Args:
        settings: the recipe.
        out: the run folder.
        resume: go on with the run that is there, instead of beginning anew.
        force: resume though the recipe has changed, or begin anew over a run that is not finished.

    Raises:
        UsageError: the recipe has changed, or an unfinished run would be lost, without `force`.
    """
    checkpoints = out / "checkpoints"
    for folder in (out, checkpoints):
        remove_leftovers(folder)
    newest = newest_checkpoint(checkpoints)
    if newest is not None:
        progress = read_progress(newest)
        if resume:
            refuse_changes(
                out, "recipe", recipe_differences(progress.identity, plain_recipe(settings)), force
            )
        elif not progress.finished and not force:
            raise UsageError(
                f"{out} holds a run that stopped after step {progress.step:,}: --resume goes on with it, "
                "--force begins anew over it, and another `out` leaves it alone"
            )
    write_atomically(out / "recipe.yaml", settings.to_yaml())


def listed_files(paths: Sequence[Path]) -> dict[str, int] | None:
    """Names and bytes of the files that paths stand for, to say which one changed; None for very many."""
    sources = find_sources(paths, Problems())
    return {source.name: source.path.stat().st_size for source in sources} if len(sources) <= 1000 else None


def fingerprint_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Name and hash of a tokenizer, for the identity of a run."""
    return {"name": "tokenizer", "tokens": tokenizer.vocab_size, "sha256": tokenizer.fingerprint()}


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
