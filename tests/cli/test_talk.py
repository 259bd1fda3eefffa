"""`jielong complete` with a form that the text must have."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.cli import main
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["台灣最高的山是玉山。The highest mountain is Yushan."] * 4, 300)
    config = replace(qwen3_config(32, 1, tokenizer.vocab_size, 96), initializer_range=0.15)
    save_model(Transformer(config, seed=1), folder, eos_id=tokenizer.eos_id, bos_id=0, pad_id=0)
    tokenizer.save(folder)
    return folder


def complete(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main(["complete", *map(str, arguments)])
    return str(json.loads(capsys.readouterr().out)["text"])


def test_the_text_has_the_form_that_is_asked_for(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = complete(capsys, model, "山", "--regex", "[0-9]{3}山", "--json")
    assert re.fullmatch("[0-9]{3}山", text)
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"山": {"enum": ["玉", "雪"]}}, "required": ["山"]}')
    text = complete(capsys, model, "山", "--json-schema", schema, "--json", "--max-tokens", 90)
    assert text.startswith('{"山": "')


def test_guessing_ahead_changes_no_text(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = complete(capsys, model, "山", "--temperature", 0, "--max-tokens", 40, "--json")
    for guessing in [["--lookup"], ["--draft", model]]:
        assert plain == complete(
            capsys, model, "山", "--temperature", 0, "--max-tokens", 40, "--json", *guessing
        )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--draft", "/nowhere"], 1, "/nowhere is not a model folder"),
        (["--draft", "x", "--lookup"], 2, "give one of them"),
        (["--regex", "(", "--max-tokens", "3"], 1, "unclosed group"),
        (["--json-schema", "/nowhere"], 1, "/nowhere does not exist"),
        (["--json-schema", "x", "--regex", "a"], 2, "give one of them"),
    ],
)
def test_a_form_that_is_none_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["complete", str(model), "山", *arguments])
    said = capsys.readouterr().err.strip()
    assert left.value.code == status
    assert words in said
    assert len(said.splitlines()) == 1
