"""Reward models: a network that scores, as a folder that transformers opens with equal scores."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from jielong.core.errors import JielongError
from jielong.models import Transformer, load_model, qwen3_config, save_model
from jielong.models.sizes import count_parameters


def scored(config, seed=0):
    """A network whose scores are not all zero."""
    model = Transformer(config, seed=seed)
    model.add_score()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(1))
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_gives_the_same_scores(tmp_path, tied):
    from dataclasses import replace

    config = replace(qwen3_config(64, 2, 120, 64), tie_word_embeddings=tied)
    model = scored(config)
    save_model(model, tmp_path / "m", eos_id=2, bos_id=1, pad_id=0)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m").eval()
    tokens = torch.randint(3, 120, (3, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = theirs(tokens).logits.squeeze(-1)
        ours = model.scores(model(tokens, torch.arange(20).expand(3, 20))[:, -1])
        again = load_model(tmp_path / "m", scored=True)
        loaded = again.scores(again(tokens, torch.arange(20).expand(3, 20))[:, -1])
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours, loaded)


def test_a_fresh_head_scores_everything_zero_and_takes_the_place_of_an_untied_one():
    config = qwen3_config(64, 1, 50, 32)
    model = Transformer(config)
    model.add_score()
    tokens = torch.arange(10).unsqueeze(0)
    assert not model.scores(model(tokens, tokens)).any()
    assert model.lm_head is None
    both = Transformer(config)
    both.add_score(keep_head=True)
    assert sum(w.numel() for w in both.parameters()) == count_parameters(config) + config.hidden_size


def test_a_language_model_and_a_reward_model_are_not_taken_for_each_other(tmp_path):
    config = qwen3_config(64, 1, 50, 32)
    save_model(Transformer(config), tmp_path / "language", eos_id=2)
    save_model(scored(config), tmp_path / "reward", eos_id=2)
    with pytest.raises(JielongError, match="holds a reward model, not a language model"):
        load_model(tmp_path / "reward")
    with pytest.raises(JielongError, match="holds a language model, not a reward model"):
        load_model(tmp_path / "language", scored=True)
    with pytest.raises(JielongError, match="no head that scores"):
        Transformer(config).scores(torch.zeros(1, 64))
