import pytest
from tokenizer_corpus import corpus

from jielong.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(corpus(), 500)
