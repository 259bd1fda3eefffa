"""Who answers is the policy: a fast copy of it changes neither its answers nor the policy."""

import pytest
import torch

from jielong.data import Problems
from jielong.feedback.prompts import read_prompts
from jielong.feedback.rollouts import EngineRollouts
from jielong.generation import Engine, Request, SamplingSettings
from jielong.models import load_model
from jielong.tokenizer import Tokenizer

SETTINGS = SamplingSettings(temperature=1.0, max_tokens=8, seed=3)


@pytest.fixture
def tokenizer(parent):
    return Tokenizer.load(parent)


def test_the_answers_are_those_that_the_policy_itself_gives(parent, prompts, tokenizer):
    policy = load_model(parent).train()
    before = {name: weight.clone() for name, weight in policy.named_parameters()}
    asked = read_prompts([prompts], tokenizer, 64, Problems())
    streams = range(len(asked))
    answers = EngineRollouts(tokenizer).answer(policy, asked, SETTINGS, streams)
    assert policy.training
    for name, weight in policy.named_parameters():
        assert weight.requires_grad
        assert torch.equal(weight, before[name])
    requests = [Request(prompt.ids, SETTINGS, stream) for prompt, stream in zip(asked, streams, strict=True)]
    wanted = Engine(policy.eval(), tokenizer).run(requests)
    assert [answer.ids for answer in answers] == [one.ids for one in wanted]


def test_training_in_bfloat16_answers_with_the_probabilities_that_are_trained(parent, tokenizer):
    policy = load_model(parent)
    fast = EngineRollouts(tokenizer, dtype=torch.bfloat16)._answering(policy, narrow=False)
    tokens = torch.arange(300, 320).unsqueeze(0)
    positions = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        exact, rolled = (model.head(model(tokens, positions)).log_softmax(-1) for model in (policy, fast))
        with torch.autocast("cpu", torch.bfloat16):
            trained = policy.head(policy(tokens, positions)).float().log_softmax(-1)
    assert 0 < (rolled - trained).abs().max() < 2 * (exact - trained).abs().max()
