"""A real server process with a tiny random model, and OpenAI's own client."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from server_process import CONTEXT, Server, started

from jielong.generation import Engine, load_engine
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer

TEXT = [
    "台灣最高的山是玉山。高雄舊稱打狗。",
    "Water boils at 100 degrees. The highest mountain is Yushan.",
    '你好！🙂 Hello {"name": "weather", "arguments": {"city": "Taipei", "days": 3}}',
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, wide enough that the next token is neither certain nor uniform."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = train_tokenizer(iter(TEXT * 4), 400)
    config = qwen3_config(32, 1, tokenizer.vocab_size, CONTEXT)
    model = Transformer(replace(config, initializer_range=0.15), seed=1)
    save_model(model, path, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(path)
    return path


@pytest.fixture(scope="session")
def engine(folder: Path) -> Engine:
    """The same model in this process."""
    return load_engine(folder)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    with started(folder) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return server.client()
