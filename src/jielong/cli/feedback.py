"""`jielong rollouts` and `jielong judge`: data for learning from feedback."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from jielong.cli.manners import Json, Overrides, print_result, settings_help
from jielong.feedback.settings import RolloutSettings

rollouts_app = App(
    name="rollouts",
    help="Let a model answer prompts many times, and score and rank the answers: data for rejection "
    "sampling, reward models and judges.",
    help_format="plaintext",
    help_epilogue=settings_help(RolloutSettings),
)


@rollouts_app.default
def rollouts(recipe: Path | None = None, /, *, overrides: Overrides = (), json: Json = False) -> None:
    """Answer all prompts of a recipe.

    Args:
        recipe: YAML file of settings; --set adds to it or overrides it.
        overrides: settings as a.b=value.
        json: print the result as JSON.
    """
    from jielong.feedback.rollout_files import write_rollouts

    print_result(write_rollouts(RolloutSettings.load(recipe, overrides), quiet=json), json)


def judge(
    model: str,
    answers: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    pairs: Literal["neighbours", "all"] = "neighbours",
    json: Json = False,
) -> None:
    """Let a language model say which answers are better, each pair in both orders, and write preferences.

    Args:
        model: the judge: a model folder, the name of a run, or a server's URL (`https://.../v1#name`).
        answers: files with `prompt` and `completions` (`jielong rollouts` writes them), or pairs.
        out: file of preferences (JSON Lines) for `jielong reward` and `jielong dpo`.
        pairs: compare each answer with the next one, or all with all.
        json: print the result as JSON.
    """
    from jielong.feedback.ai_judge import write_ai_preferences
    from jielong.lm import open_model

    judging = open_model(model)
    try:
        result = write_ai_preferences(judging, answers, out, neighbours_only=pairs == "neighbours")
    finally:
        judging.close()
    print_result(result, json)
