from pathlib import Path

import pytest
from exported_models import SHAPES, TEXTS, make_folder

from jielong.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(iter(TEXTS * 4), 640)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, Path]:
    """A model folder for each of `SHAPES`."""
    root = tmp_path_factory.mktemp("models")
    return {shape: make_folder(root / shape.replace(" ", "-"), tokenizer, shape) for shape in SHAPES}
