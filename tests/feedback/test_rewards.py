"""How the parts of a reward become one number."""

import numpy as np
import pytest

from jielong.feedback.prompts import Prompt
from jielong.feedback.rewards import Answer, Rewards
from jielong.feedback.settings import RlSettings

PROMPT = Prompt(
    [{"role": "user", "content": "How?"}], [1, 2], {"check": {"kind": "contains", "answers": ["42"]}}
)
TEXTS = ["bad 42", "bad", "good 42", "good"]


def rewards(combine, **values):
    parts = [
        {"kind": "check", "side": "helpful", "weight": -5.0},
        {"kind": "format", "pattern": "good", "side": "safe"},
    ]
    return Rewards(
        RlSettings.parse({"parent": "p", "prompts": ["x"], "rewards": parts, "combine": combine, **values,
                          "training": {"steps": 1, "batch_rows": 128}})
    )  # fmt: skip


def scores(together):
    return together([Answer(PROMPT, [3], text, True) for text in TEXTS])


def test_a_sum_weighs_the_parts():
    found, parts = scores(rewards("sum"))
    assert found.tolist() == [-5, 0, -4, 1]
    assert parts.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]


def test_through_the_gate_anything_safe_earns_more_than_anything_unsafe():
    found, _ = scores(rewards("gate"))
    assert min(found[2:]) > max(found[:2])
    assert found[3] > found[2]


def test_the_multiplier_grows_while_answers_are_not_safe_enough_and_falls_after():
    together = rewards("lagrangian", safe_enough=0.9)
    before, parts = scores(together)
    assert together.missing_safety(parts) == pytest.approx(0.4)
    for _ in range(200):
        together.learn(together.missing_safety(parts))
    after, _ = scores(together)
    assert together.multiplier > 10
    # Safety counts for more now.
    assert np.ptp(after[[0, 2]]) / np.ptp(after[[0, 1]]) > np.ptp(before[[0, 2]]) / np.ptp(before[[0, 1]])
    together.learn(-1.0)
    assert together.multiplier < 60
    for _ in range(500):
        together.learn(-0.5)
    assert 0 < together.multiplier < 0.1
