"""Tokenizers of other models: they load unchanged, and what is missing or broken is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizer_corpus import corpus
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from jielong.core.errors import JielongError
from jielong.tokenizer import StreamDecoder, Tokenizer

TEXT = "The mountain 玉山 is 3952 m high.\n  鼉 <s> end"


def write(folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def sentencepiece_like() -> Backend:
    """Llama-2's kind: Metaspace, byte fallback, special tokens <s> and </s>."""
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=60
    )
    backend.train_from_iterator(corpus(), trainer)
    tree = json.loads(backend.to_str())
    for token in fallback:
        tree["model"]["vocab"][token] = len(tree["model"]["vocab"])
    return Backend.from_str(json.dumps(tree))


def gpt2_like() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus(), trainer)
    return backend


@pytest.mark.parametrize("make", [sentencepiece_like, gpt2_like])
def test_ids_and_text_are_those_of_the_original(tmp_path: Path, make: Any) -> None:
    backend = make()
    source = backend.to_str(pretty=True)
    write(tmp_path / "model", {"tokenizer.json": source, "tokenizer_config.json": {"eos_token": "</s>"}})
    tokenizer = Tokenizer.load(tmp_path / "model")
    clean = TEXT.replace("<s>", "")
    assert tokenizer.encode(clean) == backend.encode(clean, add_special_tokens=False).ids
    assert tokenizer.decode(tokenizer.encode(clean)) == clean
    assert tokenizer.encode(TEXT, special=True) == backend.encode(TEXT, add_special_tokens=False).ids
    assert backend.token_to_id("<s>") not in tokenizer.encode(TEXT)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    stream = StreamDecoder(tokenizer)
    streamed = "".join(map(stream.push, tokenizer.encode(TEXT))) + stream.flush()
    assert streamed.removeprefix(" ") == TEXT
    tokenizer.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "tokenizer.json").read_text(encoding="utf-8") == source
    assert not (tmp_path / "copy" / "chat_template.jinja").exists()
    with pytest.raises(JielongError, match="no chat template"):
        tokenizer.render_chat([{"role": "user", "content": "a"}])


def test_added_tokens_that_are_shortcuts_for_text_stay_in_use(tmp_path: Path) -> None:
    backend = gpt2_like()
    backend.add_tokens([AddedToken("      ", normalized=False)])
    backend.add_tokens([AddedToken("<mine>", normalized=False)])
    files = {"tokenizer.json": backend.to_str(), "tokenizer_config.json": {"eos_token": "</s>"}}
    tokenizer = Tokenizer.load(write(tmp_path / "model", files))
    spaces, mine = backend.token_to_id("      "), backend.token_to_id("<mine>")
    assert tokenizer.encode("a      b<mine>") == backend.encode("a      b<mine>").ids
    # A template that writes it makes it a control token.
    chatty = tokenizer.with_chat_template("<mine>{{ messages[0].content }}")
    ids = chatty.encode_chat([{"role": "user", "content": "a      b<mine>"}])
    assert (ids.count(mine), ids.count(spaces)) == (1, 1)


def test_vocab_and_merges_alone_make_the_same_tokenizer(tmp_path: Path) -> None:
    """Older GPT-2 and OPT folders have no tokenizer.json."""
    backend = gpt2_like()
    tree = json.loads(backend.to_str())["model"]
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in tree["merges"])
    files = {"vocab.json": tree["vocab"], "merges.txt": merges}
    files["special_tokens_map.json"] = {"eos_token": {"content": "</s>"}, "bos_token": "<s>"}
    tokenizer = Tokenizer.load(write(tmp_path / "model", files))
    assert tokenizer.encode(TEXT, special=True) == backend.encode(TEXT).ids
    assert (tokenizer.bos_id, tokenizer.eos_id) == (0, 1)
    tokenizer.save(tmp_path / "copy")
    assert Tokenizer.load(tmp_path / "copy").encode(TEXT) == tokenizer.encode(TEXT)


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": {"eos_token": {"content": "</s>"}}},
        {"tokenizer_config.json": {"eos_token": None}, "special_tokens_map.json": {"eos_token": "</s>"}},
        {"generation_config.json": {"eos_token_id": [1, 0]}},
        {"config.json": {"eos_token_id": 1}},
        {"generation_config.json": {}, "config.json": {"eos_token_id": 1}},
    ],
)
def test_eos_is_found_wherever_it_is_named(tmp_path: Path, files: dict[str, Any]) -> None:
    tokenizer = Tokenizer.load(write(tmp_path / "model", {"tokenizer.json": gpt2_like().to_str(), **files}))
    assert tokenizer.eos_id == 1
    assert tokenizer.bos_id == tokenizer.pad_id == 1  # none named: the end is the best there is
    tokenizer.save(tmp_path / "copy")
    assert Tokenizer.load(tmp_path / "copy").eos_id == 1
    assert "bos_token" not in json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text())


def test_the_template_is_found_wherever_it_is(tmp_path: Path) -> None:
    tree = {"tokenizer.json": gpt2_like().to_str()}
    chat = [{"role": "user", "content": "a"}]
    listed = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "{{ bos_token }}d"}]
    for template, expected in (("{{ eos_token }}c", "</s>c"), (listed, "<s>d")):
        config = {"eos_token": "</s>", "bos_token": "<s>", "chat_template": template}
        folder = write(tmp_path / "model", tree | {"tokenizer_config.json": config})
        assert Tokenizer.load(folder).render_chat(chat) == expected
    write(folder, {"chat_template.jinja": "file"})
    assert Tokenizer.load(folder).render_chat(chat) == "file"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no tokenizer.json"),
        ({"tokenizer.json": "{"}, "not valid JSON"),
        ({"tokenizer.json": "{}"}, "not a tokenizer"),
        ({"tokenizer.json": "GOOD"}, "does not say which token ends"),
        ({"tokenizer.json": "GOOD", "tokenizer_config.json": "["}, "not valid JSON"),
        ({"tokenizer.json": "GOOD", "tokenizer_config.json": []}, "must hold a JSON object"),
        ({"tokenizer.json": "GOOD", "tokenizer_config.json": {"eos_token": "<no>"}}, "not in the vocabulary"),
        (
            {"tokenizer.json": "GOOD", "tokenizer_config.json": {"eos_token": "<s>", "chat_template": 3}},
            "must be a text",
        ),
        (
            {
                "tokenizer.json": "GOOD",
                "tokenizer_config.json": {"eos_token": "<s>"},
                "chat_template.jinja": "{%",
            },
            "Jinja",
        ),
        ({"vocab.json": "{}", "merges.txt": "x y z"}, "not a BPE vocabulary"),
    ],
)
def test_missing_and_broken_files_are_one_clear_line(
    tmp_path: Path, files: dict[str, Any], words: str
) -> None:
    files = {name: gpt2_like().to_str() if value == "GOOD" else value for name, value in files.items()}
    folder = write(tmp_path / "model", files)
    with pytest.raises(JielongError, match=words) as caught:
        Tokenizer.load(folder)
    assert "\n" not in str(caught.value)
    assert "model" in str(caught.value) or "Jinja" in words


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JielongError, match="nowhere"):
        Tokenizer.load(tmp_path / "nowhere")
