import json

import pytest

from jielong.training.settings import PretrainSettings


@pytest.fixture
def corpus(tmp_path):
    """Sixty short documents in both languages."""
    path = tmp_path / "corpus.jsonl"
    rows = [{"text": f"小明有 {n} 顆蘋果。Ming has {n} apples, and {n} + 1 is {n + 1}."} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recipe(tmp_path, corpus):
    """A pretraining recipe that takes a second."""

    def make(name="run", **training):
        values = {"steps": 12, "batch_rows": 4, "context": 48, "validate_every": 6, "validation_rows": 8,
                  "checkpoint_every": 5, "schedule": {"warmup": 2}, "precision": "float32", "compile": "no",
                  "device": "cpu", **training}  # fmt: skip
        return PretrainSettings.parse(
            {
                "out": tmp_path / name,
                "data": [corpus],
                "vocab_size": 320,
                "heldout_share": 0.1,
                "model": {"width": 32, "layers": 2, "max_context": 64},
                "training": values,
            }
        )

    return make
