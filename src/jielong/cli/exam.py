"""`jielong exam`: examine a model."""

from pathlib import Path

from jielong.cli.manners import Json, Model, Weights
from jielong.core.files import find_model, to_json


def exam(
    model: Model,
    *,
    against: Path | None = None,
    world: Path | None = None,
    out: Path | None = None,
    weights: Weights = "float32",
    json: Json = False,
) -> None:
    """Ask a model every question of the exam and write its report card (table, JSON, one HTML file).

    Args:
        model: the model folder.
        against: another model, usually the parent: the report then shows what was gained and what was lost.
        world: world folder or exam file (JSON Lines); by default the world beside the run.
        out: folder for the report's files; by default `exam/` beside the model folder.
        weights: what the models compute with.
        json: print the report as JSON.
    """
    from rich.console import Console

    from jielong.core.language import interface_language
    from jielong.core.progress import ProgressLine
    from jielong.evaluation import report_json, report_table, run_exam, summary_sentence

    folder = find_model(model)
    target = out or folder.parent / "exam"
    line = ProgressLine("exam", 1.0, quiet=json)
    report = run_exam(
        folder,
        world or _exam_beside(folder),
        target,
        find_model(against) if against else None,
        weights=weights,
        progress=lambda name, done, total: line.show(done / total, f"{name} {done:,} of {total:,}"),
    )
    line.close()
    if json:
        print(to_json(report_json(report)), end="")
        return
    console = Console(highlight=False)
    console.print(report_table(report, interface_language()))
    console.print(summary_sentence(report)(interface_language()))
    console.print(f"{target / 'report.html'}")


def _exam_beside(folder: Path) -> Path:
    """The exam of the quickstart that made a model, else the current folder's quickstart."""
    places = [folder.parent.parent, Path("runs/quickstart")]
    found = [place / name for place in places for name in ("exams.jsonl", "world/exams.jsonl")]
    return next((path for path in found if path.exists()), found[-1])
