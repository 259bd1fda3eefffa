"""The stage of reinforcement learning."""

from functools import partial
from typing import cast

import torch

from jielong.core.errors import UsageError
from jielong.core.files import find_model
from jielong.data import Problems
from jielong.feedback.policy import Actor, Reference, policy_objective
from jielong.feedback.prompts import fingerprint, read_prompts
from jielong.feedback.rewards import Rewards
from jielong.feedback.rl import RolloutBatches
from jielong.feedback.rollouts import EngineRollouts, RolloutBackend
from jielong.feedback.settings import RlSettings
from jielong.models import Transformer
from jielong.tokenizer import Tokenizer
from jielong.training.distributed import share_of
from jielong.training.loop import Sampler
from jielong.training.precision import choose_device, choose_precision
from jielong.training.sft import answer_prompts
from jielong.training.stage import Stage, StageResult, load_parent, train_stage

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
        raise UsageError(
            "reinforcement learning needs training.parallel = ddp: who answers needs whole weights"
        )
    if settings.dynamic_sampling:  # groups change their places, and each is to stay in equal parts
        share_of(settings.samples, "samples")
    return train_stage(partial(rl_stage, settings), settings, resume, quiet, force)


def rl_stage(settings: RlSettings) -> Stage:
    """What a recipe brings to the loop."""
    parent = find_model(settings.parent)
    model, tokenizer = load_parent(parent, settings.lora, settings.seed)
    device = choose_device(settings.training.device)
    dtype = choose_precision(settings.training.precision, device)
    problems = Problems()
    longest = model.config.max_position_embeddings - settings.max_tokens
    prompts = read_prompts(settings.prompts, tokenizer, longest, problems)
    tied = settings.kl.coefficient or settings.kl.stop_at
    reference = Reference.of(model.to(device)) if tied else None
    rewards = Rewards(settings)
    actor = Actor(model, settings.critic)
    batches = RolloutBatches(
        settings, actor, reference, prompts, rewards, _backend(settings, tokenizer, dtype),
        tokenizer.pad_id, dtype,
    )  # fmt: skip
    shown = settings.sample_prompts or [prompt.text for prompt in prompts[:_SHOWN_PROMPTS]]
    return Stage(
        name=settings.algorithm,
        title=settings.algorithm.upper(),
        model=cast(Transformer, actor),
        tokenizer=tokenizer,
        batches=batches,
        objective=partial(policy_objective, settings, rewards.names),
        data=[{"name": "prompts", "documents": len(prompts), "sha256": fingerprint(prompts)}],
        problems=problems,
        paths=settings.prompts,
        parent=parent,
        sampler=_answers_of_policy(answer_prompts(tokenizer, shown)),
        result=Actor.language_model,
        temperature=0.3,
    )


def _answers_of_policy(sampler: Sampler | None) -> Sampler | None:
    return None if sampler is None else lambda actor: sampler(cast(Actor, actor).policy)


def _backend(settings: RlSettings, tokenizer: Tokenizer, dtype: torch.dtype) -> RolloutBackend:
    if settings.rollout_backend == "vllm":
        from jielong.feedback.vllm_rollouts import VllmRollouts

        return VllmRollouts(find_model(settings.parent), tokenizer, settings.vllm_memory)
    return EngineRollouts(tokenizer, settings.rollout_weights, dtype)
