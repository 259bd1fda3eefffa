"""Text <-> tokens: nothing is lost, special tokens are never forged, training is reproducible."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import JielongError, UsageError
from jielong.tokenizer import (
    SMALLEST_VOCABULARY,
    SPECIAL_TOKENS,
    StreamDecoder,
    Tokenizer,
    bytes_per_token,
    language_of,
    show,
    train_tokenizer,
)

SPECIAL = [text for text, _ in SPECIAL_TOKENS]
anything = st.text(st.characters(exclude_categories=("Cs",)))
with_specials = st.lists(st.sampled_from([*SPECIAL, "台", " ", "\n", "a", "<|", "|>", "1"])).map("".join)


@given(text=anything | with_specials)
def test_round_trip_is_exact(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@given(text=anything | with_specials)
def test_plain_text_never_becomes_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    assert not set(tokenizer.encode(text)) & set(tokenizer.special_tokens.values())


@given(texts=st.lists(anything, max_size=5))
def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@given(ids=st.lists(st.integers(0, 400)), skip_special=st.booleans())
def test_streaming_equals_decoding(tokenizer: Tokenizer, ids: list[int], skip_special: bool) -> None:
    stream = StreamDecoder(tokenizer, skip_special)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids, skip_special)


@given(text=anything)
def test_streaming_valid_text_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    stream = StreamDecoder(tokenizer)
    shown = ""
    for token in tokenizer.encode(text):
        shown += stream.push(token)
        assert text.startswith(shown)
    assert shown == text
    assert stream.flush() == ""


def test_special_tokens_are_recognised_on_request(tokenizer: Tokenizer) -> None:
    for text in SPECIAL:
        assert tokenizer.encode(text, special=True) == [tokenizer.special_tokens[text]]
    assert tokenizer.decode(tokenizer.encode("<think>好<|im_end|>", special=True)) == "<think>好"


def test_digits_stand_alone_and_words_merge_within_their_script(tokenizer: Tokenizer) -> None:
    def pieces(text: str) -> list[str]:
        return [tokenizer.token_bytes(token).decode(errors="replace") for token in tokenizer.encode(text)]

    assert pieces("12034") == list("12034")
    assert "台灣" in pieces("台灣最高")[0]
    assert " the" in pieces("on the mountain")
    every = [tokenizer.token_bytes(token).decode(errors="ignore") for token in range(tokenizer.vocab_size)]
    for piece in every[len(SPECIAL_TOKENS) :]:
        han = any("\u4e00" <= character <= "\u9fff" for character in piece)
        assert not (
            han and any(character in "，。：「」！ \n" or character.isascii() for character in piece)
        ), piece
        assert sum(character.isdigit() for character in piece) <= 1
    assert max(map(len, every[len(SPECIAL_TOKENS) :])) <= 18


def test_no_token_ends_in_the_middle_of_a_character(tokenizer: Tokenizer) -> None:
    """A token is whole characters, or a part of one character."""
    for token in range(tokenizer.vocab_size):
        piece = tokenizer.token_bytes(token)
        try:
            piece.decode()
        except UnicodeDecodeError:
            assert len(piece) < 4
            assert piece.decode(errors="ignore") == ""
            assert len([byte for byte in piece if not 0x80 <= byte < 0xC0]) <= 1  # at most one first byte


def test_roles_are_single_tokens_even_if_the_corpus_has_no_english() -> None:
    tokenizer = train_tokenizer(["天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。" * 50] * 20, 400)
    for role in ("system", "user", "assistant"):
        assert len(tokenizer.encode(role)) == 1


def test_every_byte_is_in_the_alphabet(tokenizer: Tokenizer) -> None:
    single = {tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= single


def test_same_texts_give_the_same_bytes_in_any_process(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "here")
    program = (
        "import sys; from pathlib import Path; from tokenizer_corpus import corpus; "
        "from jielong.tokenizer import train_tokenizer; "
        "train_tokenizer(corpus(), 500).save(Path(sys.argv[1]))"
    )
    for threads in ("1", "2"):
        there = tmp_path / threads
        environment = {"RAYON_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, "-c", program, str(there)], check=True, env=environment)
        for file in (tmp_path / "here").iterdir():
            assert (there / file.name).read_bytes() == file.read_bytes()


def test_saving_and_loading_changes_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    names = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert {file.name for file in (tmp_path / "b").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (0, 2, 0)
    assert loaded.vocab_size == tokenizer.vocab_size == 500


def test_too_small_a_vocabulary_and_no_text_are_errors() -> None:
    with pytest.raises(UsageError, match="too small"):
        train_tokenizer(["text"], SMALLEST_VOCABULARY - 1)
    with pytest.raises(JielongError, match="no text"):
        train_tokenizer([], 1000)


def test_bad_input_is_one_clear_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(JielongError, match="surrogates"):
        tokenizer.encode("\ud800")
    with pytest.raises(JielongError, match="not in this vocabulary"):
        tokenizer.decode([10**6])
    with pytest.raises(JielongError, match="not in this vocabulary"):
        tokenizer.token_bytes(-1)


def test_show_keeps_the_text_and_names_the_bytes_of_split_characters(tokenizer: Tokenizer) -> None:
    shown = show(tokenizer, "台灣 the 鼉")
    assert shown.plain.startswith("台灣")
    assert "<0xE9>" in shown.plain  # 鼉 was not in the corpus
    neighbours = [span.style for span in shown.spans]
    assert all(first != second for first, second in pairwise(neighbours))


def test_languages_are_told_by_script_and_measured_apart(tokenizer: Tokenizer) -> None:
    assert language_of("使用 Python 的電腦") == "zh"
    assert language_of("The mountain 玉山 is the highest of the island") == "en"
    texts = ["台灣最高的山是玉山", "the quick brown fox"]
    measured = bytes_per_token(tokenizer, texts)
    for language, text in zip(("zh", "en"), texts, strict=True):
        assert measured[language] == len(text.encode()) / len(tokenizer.encode(text))


@pytest.mark.parametrize("layer", ["data", "tokenizer"])
def test_importing_the_layer_does_not_import_torch(layer: str) -> None:
    program = f"import sys, jielong.{layer}; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
