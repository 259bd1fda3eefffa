"""A tiny model that can chat, as a folder, and prompts for it."""

import json
from dataclasses import replace

import pytest

from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import read_chat_template, train_tokenizer

TEXT = [
    "台灣最高的山是玉山。高雄舊稱打狗。",
    "How many apples? 3 apples and 4 apples are 7 apples.",
    "你好！ Hello",
]


@pytest.fixture(scope="session")
def parent(tmp_path_factory):
    """A random network with a chat template; contexts of 96 tokens."""
    path = tmp_path_factory.mktemp("parent")
    tokenizer = train_tokenizer(iter(TEXT * 4), 330).with_chat_template(read_chat_template("plain_chat"))
    config = replace(qwen3_config(64, 1, tokenizer.vocab_size, 96), initializer_range=0.1)
    save_model(
        Transformer(config, seed=1),
        path,
        eos_id=tokenizer.eos_id,
        bos_id=tokenizer.bos_id,
        pad_id=tokenizer.pad_id,
    )
    tokenizer.save(path)
    return path


@pytest.fixture
def prompts(tmp_path):
    """Twelve questions with their answers."""
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"How many are {n} + 1?", "answer": str(n + 1)} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def comparisons(tmp_path):
    """Forty comparisons, in which the answer that says apples is always preferred."""
    path = tmp_path / "comparisons.jsonl"
    rows = [
        {"prompt": f"What are {n}?", "chosen": f"{n} apples", "rejected": f"{n % 7} 山 山"} for n in range(40)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path
