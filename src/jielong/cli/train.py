"""`jielong pretrain` and `jielong sft`: run a recipe."""

from pathlib import Path

from cyclopts import App

from jielong.cli.manners import Json, Overrides, print_result, settings_help
from jielong.training.settings import PretrainSettings, SftSettings

pretrain_app = App(name="pretrain", help_format="plaintext", help_epilogue=settings_help(PretrainSettings))
sft_app = App(name="sft", help_format="plaintext", help_epilogue=settings_help(SftSettings))


@pretrain_app.default
def pretrain(
    recipe: Path | None = None,
    /,
    *,
    overrides: Overrides = (),
    resume: bool = False,
    force: bool = False,
    json: Json = False,
) -> None:
    """Train a network on documents, from random numbers or from a given model.

    Args:
        recipe: YAML file of settings; --set adds to it or overrides it.
        overrides: settings as a.b=value.
        resume: go on from the newest checkpoint of the run folder; steps, epochs or minutes may be more now.
        force: go on although recipe or data changed, or begin anew over a run that is not finished.
        json: print the result as JSON.
    """
    from jielong.training.pretrain import run_pretraining

    settings = PretrainSettings.load(recipe, overrides)
    print_result(run_pretraining(settings, resume=resume, quiet=json, force=force).summary(), json)


@sft_app.default
def sft(
    recipe: Path | None = None,
    /,
    *,
    overrides: Overrides = (),
    resume: bool = False,
    force: bool = False,
    json: Json = False,
) -> None:
    """Fine-tune a model on conversations; only what the assistant says is learned.

    Args:
        recipe: YAML file of settings; --set adds to it or overrides it.
        overrides: settings as a.b=value.
        resume: go on from the newest checkpoint of the run folder; steps, epochs or minutes may be more now.
        force: go on although recipe or data changed, or begin anew over a run that is not finished.
        json: print the result as JSON.
    """
    from jielong.training.sft import run_sft

    settings = SftSettings.load(recipe, overrides)
    print_result(run_sft(settings, resume=resume, quiet=json, force=force).summary(), json)
