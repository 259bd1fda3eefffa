from pathlib import Path

import pytest
import torch

from jielong.models import Transformer, count_parameters, qwen3_config
from jielong.training.settings import PretrainSettings

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("pretrain-*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_as_large_as_its_name_says(path):
    settings = PretrainSettings.load(path)
    shape, training = settings.model, settings.training
    config = qwen3_config(shape.width, shape.layers, settings.vocab_size, shape.max_context)
    with torch.device("meta"):
        model = Transformer(config)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters == count_parameters(config)
    assert parameters == pytest.approx(1e6 * int(path.stem.removeprefix("pretrain-").rstrip("m")), rel=0.1)
    assert training.batch_rows % 8 == 0
    tokens = training.steps * training.batch_rows * training.accumulate * training.context
    assert tokens == pytest.approx(20 * parameters, rel=0.05)


def test_there_are_recipes():
    assert len(RECIPES) == 3
