"""Our losses and TRL's own methods on the same tensors."""

import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from random_batches import completion_mask, logprobs, normal

from jielong.feedback.objectives.distillation import distillation_loss, token_logprobs
from jielong.feedback.objectives.kl import kl_loss
from jielong.feedback.objectives.masked import count_units, mean_by_row, means, sum_by_row
from jielong.feedback.objectives.policy import clipped_policy_loss, entropy_bonus
from jielong.feedback.objectives.preference import (
    dpo_loss,
    ipo_loss,
    kto_loss,
    kto_reference_point,
    orpo_loss,
    simpo_loss,
)
from jielong.feedback.objectives.reward import bradley_terry_loss

PAIRS, LENGTH, LONGEST = 4, 6, 10
MASK = completion_mask([6, 3, 1, 5, 2, 6, 4, 4], LENGTH)


@pytest.fixture(scope="module")
def trl():
    pytest.importorskip("trl", reason="compares with TRL; pip install trl")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import trl

    return trl


@pytest.fixture
def trainer(trl):
    """What a TRL trainer's loss method asks of its trainer."""
    from accelerate import Accelerator

    return SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        model=torch.nn.Identity().train(),
        args=SimpleNamespace(),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
    )


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def reported(trainer):
    return {name: values[-1] for name, values in trainer._metrics["train"].items()}


class Outputs:
    """A model that has the given log-probabilities for every completion's tokens."""

    def __init__(self, tokens):
        self.log_probs = torch.where(MASK, tokens, 0.0)
        self.entropy, self.mean_logits, self.is_top1 = torch.zeros_like(tokens), tokens, MASK

    def __call__(self, **_):
        return self


# ---- pairs and thumbs


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "cdpo"])
def test_dpo_and_ipo(trl, trainer, kind):
    tokens, reference = logprobs(0, 2 * PAIRS, LENGTH), logprobs(1, 2 * PAIRS, LENGTH)
    policy, fixed = sum_by_row(tokens, MASK), sum_by_row(reference, MASK)
    given = [*policy.chunk(2), *fixed.chunk(2)]
    ids = torch.zeros(2 * PAIRS, LENGTH + 1, dtype=torch.long)
    vars(trainer).update(
        ld_alpha=None, f_divergence_type="reverse_kl", beta=0.3, label_smoothing=0.1, loss_weights=[1.0],
        use_weighting=False,
        loss_types=["robust" if kind == "cdpo" else kind],
    )  # fmt: skip
    theirs = trl.DPOTrainer._compute_loss(
        trainer,
        Outputs(tokens),
        {
            "input_ids": ids,
            "attention_mask": ids,
            "completion_mask": torch.cat([ids[:, :1].bool(), MASK], 1),
            "ref_chosen_logps": given[2],
            "ref_rejected_logps": given[3],
        },
        False,
    )
    if kind == "ipo":
        ours, _ = ipo_loss(
            *mean_by_row(tokens, MASK).chunk(2), *mean_by_row(reference, MASK).chunk(2), tau=0.3
        )
    elif kind == "sigmoid":
        ours, statistics = dpo_loss(*given, beta=0.3)
        found, expected = means(statistics), reported(trainer)
        assert found["accuracy"] == pytest.approx(expected["rewards/accuracies"])
        assert found["margin"] == pytest.approx(expected["rewards/margins"], abs=1e-5)
    else:  # TRL has the unbiased form ("robust DPO"); from it: robust (1 - 2 e) = cDPO - 2 e flipped
        smoothed, _ = dpo_loss(*given, beta=0.3, label_smoothing=0.1)
        flipped, _ = dpo_loss(given[1], given[0], given[3], given[2], beta=0.3)
        ours = (smoothed - 2 * 0.1 * flipped) / (1 - 2 * 0.1)
    close(ours, theirs)


@pytest.mark.parametrize("others_differ_by", [0.4, -0.4])
def test_kto(trl, trainer, others_differ_by):
    tokens, reference = logprobs(0, 2 * PAIRS, LENGTH), logprobs(1, 2 * PAIRS, LENGTH)
    policy, fixed = sum_by_row(tokens, MASK), sum_by_row(reference, MASK)
    other = normal(3, 2 * PAIRS)
    other_reference = other - others_differ_by
    desirable = torch.tensor([True, False, False, True, True, False, True, True])
    ids = torch.zeros(2 * PAIRS, LENGTH + 1, dtype=torch.long)
    vars(trainer).update(
        beta=0.3, loss_type="kto", calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.5,
        _compute_kl_logps=lambda *_: other,
    )  # fmt: skip
    theirs = trl.KTOTrainer._compute_loss(
        trainer,
        Outputs(tokens),
        {
            "input_ids": ids,
            "attention_mask": ids,
            "completion_mask": torch.cat([ids[:, :1].bool(), MASK], 1),
            "label": desirable,
            "ref_logps": fixed,
            "ref_KL_logps": other_reference,
        },
        False,
    )
    point = kto_reference_point(other, other_reference)
    ours, _ = kto_loss(policy, fixed, desirable, point, beta=0.3, undesirable_weight=1.5)
    close(ours, theirs)


def test_orpo(trl, trainer):
    from trl.experimental.orpo import ORPOTrainer

    chosen, rejected = logprobs(0, PAIRS), logprobs(1, PAIRS)
    trainer.beta = 0.2
    bonus, _, _, _, log_odds = ORPOTrainer.odds_ratio_loss(trainer, chosen, rejected)
    ours, statistics = orpo_loss(chosen, rejected, weight=0.2)
    close(ours, -chosen.mean() - bonus.mean())
    assert means(statistics)["log_odds"] == pytest.approx(float(log_odds), abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_simpo(trl, trainer, smoothing):
    from trl.experimental.cpo import CPOTrainer

    chosen, rejected = logprobs(0, PAIRS), logprobs(1, PAIRS)
    vars(trainer).update(alpha=0.0, beta=2.0, simpo_gamma=0.7, loss_type="simpo", label_smoothing=smoothing)
    theirs, _, _ = CPOTrainer.cpo_loss(trainer, chosen, rejected)
    ours, _ = simpo_loss(chosen, rejected, beta=2.0, gamma=0.7, label_smoothing=smoothing)
    close(ours, theirs.mean())


@pytest.mark.parametrize("margin", [None, torch.tensor([0.5, 0.0, 2.0, 1.0])])
@pytest.mark.parametrize("centring", [None, 0.01])
def test_reward(trl, trainer, margin, centring):
    scores = normal(0, 2 * PAIRS, 1)
    trainer.args.center_rewards_coefficient = centring
    inputs = {"attention_mask": MASK} | ({} if margin is None else {"margin": margin})
    theirs = trl.RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=scores), inputs)
    chosen, rejected = scores.squeeze(-1).chunk(2)
    ours, statistics = bradley_terry_loss(
        chosen, rejected, margin=0.0 if margin is None else margin, centring=centring or 0.0
    )
    close(ours, theirs)
    assert means(statistics)["accuracy"] == pytest.approx(reported(trainer)["accuracy"])


# ---- policies


def trl_policy_loss(trl, trainer, tokens, old, reference, advantages, entropies, **settings):
    vars(trainer).update(
        _get_per_token_logps_and_entropies=lambda *_, **__: (tokens, entropies, None),
        use_vllm=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=0.0,
        importance_sampling_level="token", epsilon_low=0.1, epsilon_high=0.25,
        current_gradient_accumulation_steps=1, max_completion_length=LONGEST, _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
    )  # fmt: skip
    trainer.args = SimpleNamespace(delta=settings.pop("delta", None), use_bias_correction_kl=False)
    trainer.args.steps_per_generation = 1
    vars(trainer).update(settings)
    inputs = {
        "prompt_ids": torch.zeros(2 * PAIRS, 1, dtype=torch.long),
        "prompt_mask": torch.ones(2 * PAIRS, 1),
        "completion_ids": torch.zeros(2 * PAIRS, LENGTH, dtype=torch.long),
        "completion_mask": MASK.long(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": MASK.sum(),
    }
    return trl.GRPOTrainer._compute_loss(trainer, trainer.model, inputs)


CASES = {
    "GRPO": ({"loss_type": "grpo"}, {"how": "sequence-mean"}),
    "DAPO": ({"loss_type": "dapo"}, {"how": "token-mean"}),
    "Dr. GRPO": (
        {"loss_type": "dr_grpo"},
        {"how": "sequence-sum", "normalizer": count_units(MASK, "sequence-sum", LONGEST)},
    ),
    "GSPO": (
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"how": "sequence-mean", "level": "geometric"},
    ),
    "dual clip": ({"loss_type": "bnpo", "delta": 1.4}, {"how": "token-mean", "dual_clip": 1.4}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_clipped_policy(trl, trainer, case):
    theirs_settings, ours_settings = case
    tokens, old, reference = (logprobs(seed, 2 * PAIRS, LENGTH, spread=0.5) for seed in range(3))
    advantages, entropies = normal(5, 2 * PAIRS), normal(6, 2 * PAIRS, LENGTH).abs()
    theirs_tokens = tokens.clone().requires_grad_()
    theirs = trl_policy_loss(
        trl, trainer, theirs_tokens, old, reference, advantages, entropies, beta=0.05,
        _entropy_bonus_enabled=True, entropy_coef=0.01, **theirs_settings,
    )  # fmt: skip
    tokens.requires_grad_()
    loss, statistics = clipped_policy_loss(
        tokens, old, advantages, MASK, clip_low=0.1, clip_high=0.25, **ours_settings
    )
    shared = {name: value for name, value in ours_settings.items() if name in ("how", "normalizer")}
    divergence, kl_statistics = kl_loss(tokens, reference, MASK, coefficient=0.05, **shared)
    bonus, _ = entropy_bonus(entropies, MASK, coefficient=0.01)
    ours = loss + divergence + bonus
    close(ours, theirs)
    theirs.backward()
    ours.backward()
    close(tokens.grad, theirs_tokens.grad)
    found, expected = means(statistics | kl_statistics), reported(trainer)
    assert found["kl"] == pytest.approx(expected["kl"], abs=1e-5)
    if "level" not in ours_settings:  # TRL takes the mean of sequences there, we of tokens
        assert found["clipped_low"] == pytest.approx(expected["clip_ratio/low_mean"])
        assert found["clipped_high"] == pytest.approx(expected["clip_ratio/high_mean"])


# ---- vocabularies


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("at_once", [40, 10**9])
def test_generalized_jensen_shannon(trl, beta, at_once):
    from trl.experimental.gkd import GKDTrainer

    student, teacher = normal(0, 8, LENGTH, 11), normal(1, 8, LENGTH, 11)
    labels = torch.where(MASK, 0, -100)
    theirs = GKDTrainer.generalized_jsd_loss(student, teacher, labels, beta=beta, temperature=1.5)
    ours, _ = distillation_loss(
        student, lambda logits: logits, teacher, lambda logits: logits, MASK,
        beta=beta, temperature=1.5, logits_at_once=at_once,
    )  # fmt: skip
    close(ours, theirs)


def test_token_logprobs_and_entropies(trl):
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax

    logits = normal(0, 8, LENGTH, 11)
    targets = torch.arange(8 * LENGTH).reshape(8, LENGTH) % 11
    found, entropies = token_logprobs(logits, lambda part: part, targets, MASK)
    close(found[MASK], selective_log_softmax(logits, targets)[MASK])
    close(entropies[MASK], entropy_from_logits(logits)[MASK])
