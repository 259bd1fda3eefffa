"""`jielong pretrain`, `sft`, `reward`, `dpo`, `rl` and `distill`: run a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cyclopts import App

from jielong.cli.manners import Json, Overrides, print_result, settings_help
from jielong.feedback.settings import DistillSettings, PreferenceSettings, RewardSettings, RlSettings
from jielong.training.settings import PretrainSettings, SftSettings

if TYPE_CHECKING:
    from jielong.training.stage import StageResult

Recipe = TypeVar(
    "Recipe", PretrainSettings, SftSettings, RewardSettings, PreferenceSettings, RlSettings, DistillSettings
)


def _run_pretraining(settings: PretrainSettings, resume: bool, quiet: bool, force: bool) -> "StageResult":
    from jielong.training.pretrain import run_pretraining

    return run_pretraining(settings, resume, quiet, force)


def _run_sft(settings: SftSettings, resume: bool, quiet: bool, force: bool) -> "StageResult":
    from jielong.training.sft import run_sft

    return run_sft(settings, resume, quiet, force)


def _run_reward_modelling(settings: RewardSettings, resume: bool, quiet: bool, force: bool) -> "StageResult":
    from jielong.feedback.reward_model import run_reward_modelling

    return run_reward_modelling(settings, resume, quiet, force)


def _run_preference_learning(
    settings: PreferenceSettings, resume: bool, quiet: bool, force: bool
) -> "StageResult":
    from jielong.feedback.dpo import run_preference_learning

    return run_preference_learning(settings, resume, quiet, force)


def _run_rl(settings: RlSettings, resume: bool, quiet: bool, force: bool) -> "StageResult":
    from jielong.feedback.rl_stage import run_rl

    return run_rl(settings, resume, quiet, force)


def _run_distillation(settings: DistillSettings, resume: bool, quiet: bool, force: bool) -> "StageResult":
    from jielong.feedback.distill import run_distillation

    return run_distillation(settings, resume, quiet, force)


def _command(
    name: str, settings: type[Recipe], summary: str, run: Callable[[Recipe, bool, bool, bool], "StageResult"]
) -> App:
    """A command that runs recipes of one kind."""
    app = App(name=name, help=summary, help_format="plaintext", help_epilogue=settings_help(settings))

    @app.default
    def command(
        recipe: Path | None = None,
        /,
        *,
        overrides: Overrides = (),
        resume: bool = False,
        force: bool = False,
        json: Json = False,
    ) -> None:
        """Run a recipe.

        Args:
            recipe: YAML file of settings; --set adds to it or overrides it.
            overrides: settings as a.b=value.
            resume: go on from the newest checkpoint of the run folder; the run may be made longer.
            force: go on although recipe or data changed, or begin anew over a run that is not finished.
            json: print the result as JSON.
        """
        from jielong.training.distributed import is_main, process_group

        chosen = settings.load(recipe, overrides)
        with process_group(chosen.training.device):
            result = run(chosen, resume, json, force)
            if is_main():
                print_result(result.summary(), json)

    return app


pretrain_app = _command(
    "pretrain",
    PretrainSettings,
    "Train a network on documents, from random numbers or from a given model.",
    _run_pretraining,
)
sft_app = _command(
    "sft",
    SftSettings,
    "Fine-tune a model on conversations; only what the assistant says is learned.",
    _run_sft,
)
reward_app = _command(
    "reward",
    RewardSettings,
    "Train a reward model on comparisons of answers.",
    _run_reward_modelling,
)
dpo_app = _command(
    "dpo",
    PreferenceSettings,
    "Learn from comparisons directly: DPO, IPO, KTO, ORPO, SimPO.",
    _run_preference_learning,
)
rl_app = _command(
    "rl",
    RlSettings,
    "Reinforcement learning: PPO, GRPO, RLOO and others, on reward models or rules.",
    _run_rl,
)
distill_app = _command(
    "distill",
    DistillSettings,
    "On-policy distillation: a model answers, and learns what a teacher would have said at each token.",
    _run_distillation,
)
