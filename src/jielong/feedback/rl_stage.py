"""The stage of reinforcement learning."""

import copy
from functools import partial

from jielong.core.errors import UsageError
from jielong.core.files import find_model
from jielong.data import Problems
from jielong.feedback.policy import Actor, policy_objective, save_policy
from jielong.feedback.prompts import fingerprint, read_prompts
from jielong.feedback.rewards import Rewards
from jielong.feedback.rl import RolloutBatches
from jielong.feedback.rollouts import EngineRollouts, RolloutBackend
from jielong.feedback.settings import RlSettings
from jielong.models import save_model
from jielong.tokenizer import Tokenizer
from jielong.training.distributed import main_first
from jielong.training.precision import choose_device, choose_precision
from jielong.training.sft import answer_prompts
from jielong.training.stage import Stage, StageResult, load_parent, run_folder, run_stage

_SHOWN_PROMPTS = 4


def run_rl(
    settings: RlSettings, resume: bool = False, quiet: bool = False, force: bool = False
) -> StageResult:
    """Let the parent answer prompts, make likely what earns much, and write `out/model`.

    Args:
        settings: the recipe.
        resume: go on from the newest checkpoint of `out`.
        quiet: no progress on standard error.
        force: resume though recipe or data changed, or begin anew over an unfinished run.

    Raises:
        JielongError: no usable prompt, or training failed.
    """
    if settings.training.parallel == "fsdp":
        raise UsageError("reinforcement learning runs with training.parallel = ddp; the engine needs whole weights")
    with run_folder(settings, settings.out, resume, force):
        with main_first():
            stage = rl_stage(settings)
        return run_stage(stage, settings, resume, quiet, force)


def rl_stage(settings: RlSettings) -> Stage:
    parent = find_model(settings.parent)
    model, tokenizer = load_parent(parent)
    device = choose_device(settings.training.device)
    dtype = choose_precision(settings.training.precision, device)
    problems = Problems()
    longest = model.config.max_position_embeddings - settings.max_tokens
    prompts = read_prompts(settings.prompts, tokenizer, longest, problems)
    reference = None
    if settings.kl.coefficient or settings.kl.stop_at:
        reference = copy.deepcopy(model).to(device).eval().requires_grad_(False)
    rewards = Rewards(settings)
    actor = Actor.of(model, settings.critic)
    batches = RolloutBatches(
        settings, actor, reference, prompts, rewards, _backend(settings, tokenizer), tokenizer.pad_id, dtype
    )
    shown = settings.sample_prompts or [prompt.text for prompt in prompts[:_SHOWN_PROMPTS]]
    return Stage(
        name=settings.algorithm,
        title=settings.algorithm.upper(),
        model=actor,
        tokenizer=tokenizer,
        batches=batches,
        objective=partial(policy_objective, settings, rewards.names),
        data=[{"name": "prompts", "documents": len(prompts), "sha256": fingerprint(prompts)}],
        problems=problems,
        paths=settings.prompts,
        parent=parent,
        sampler=answer_prompts(tokenizer, shown),
        save=partial(save_policy, save_model),
        temperature=0.3,
    )


def _backend(settings: RlSettings, tokenizer: Tokenizer) -> RolloutBackend:
    if settings.rollout_backend == "vllm":
        from jielong.feedback.vllm_rollouts import VllmRollouts

        return VllmRollouts(settings.parent, tokenizer)
    return EngineRollouts(tokenizer, settings.rollout_weights)
