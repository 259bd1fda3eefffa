"""GGUF files opened by llama.cpp itself. It is built from source, so these tests skip where it is not."""

import math

import numpy as np
import pytest
import torch
from exported_models import SHAPES, TEXTS, make_folder
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers

from jielong.export import write_gguf
from jielong.generation import SamplingSettings, load_engine
from jielong.models import load_model
from jielong.tokenizer import Tokenizer

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (pip install llama-cpp-python)")
from benchmarks.llamacpp import Llama

PROMPTS = ["台灣最高的山", "Water boils at", "　　他說：「", "12 + 34 ="]
CHAT = [{"role": "user", "content": "玉山在哪裡？ Where is it?"}]
SAME = [
    *TEXTS[:1],
    *TEXTS[2:],
    "It's 5 o'clock, isn't it? They'll say: “It’s fine.”",
    "  1. first\n  2. second\n\n\n    indented\tTabs\t\tand  double  spaces   ",
    "全形標點，「引號」、（括號）……──！？ＡＢＣ１２３ ㄅㄆㄇ",
    "　　「今天天氣很好。」\n　　　三個空格 end\n　　Latin",
    "混合 mixed 文字と日本語のテキスト、한국어 텍스트 🙂👨‍👩‍👧 emoji",
    "https://example.org/a_b-c?d=e&f=(g)[h]{i}<j> $x^2$ `code` **bold** ~~~",
    "\r\n\r\n windows\r\nlines \n \n",
]


@pytest.fixture(scope="module")
def exported(folders, tmp_path_factory):
    """The GGUF file of each shape, float32."""
    root = tmp_path_factory.mktemp("gguf")
    for shape, folder in folders.items():
        write_gguf(folder, root / f"{shape}.gguf")
    return root


def our_logits(folder, ids):
    model = load_model(folder)
    with torch.inference_mode():
        hidden = model(torch.tensor([ids]), torch.arange(len(ids))[None])
        return model.head(hidden)[0].numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_of_float32_files_agree(shape, folders, exported, tokenizer):
    ids = [tokenizer.bos_id, *tokenizer.encode("".join(TEXTS))][:90]
    llama = Llama(exported / f"{shape}.gguf", exact=True)
    try:
        found, wanted = llama.logits(ids), our_logits(folders[shape], ids)
    finally:
        llama.close()
    assert found.shape == wanted.shape
    # gpt2: llama.cpp looks GELU up in a table of half-precision values.
    tolerance = 2e-3 if shape == "gpt2" else 1e-5
    np.testing.assert_allclose(found, wanted, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("shape", ["qwen3", "qwen2", "llama"])
def test_greedy_tokens_are_our_engines(shape, folders, exported):
    engine = load_engine(folders[shape])
    llama = Llama(exported / f"{shape}.gguf", exact=True)
    try:
        for prompt in PROMPTS:
            ids = [engine.tokenizer.bos_id, *engine.tokenizer.encode(prompt)]
            done = engine.generate([ids], SamplingSettings(temperature=0.0, max_tokens=24))[0].ids
            rolled = [step[0] for step in llama.greedy([ids], len(done))]
            assert rolled == done, prompt
    finally:
        llama.close()


@pytest.mark.parametrize(
    ("kind", "closeness"), [("f16", 0.003), ("bf16", 0.03), ("q8_0", 0.06), ("q4_0", 0.5)]
)
def test_smaller_types_stay_close(kind, closeness, folders, tokenizer, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf", kind)
    ids = [tokenizer.bos_id, *tokenizer.encode("".join(TEXTS))][:90]
    llama = Llama(tmp_path / "m.gguf")
    try:
        found = llama.logits(ids)
    finally:
        llama.close()
    wanted = our_logits(folders["qwen3"], ids)
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    assert error < closeness
    if kind in ("f16", "bf16"):
        ahead = np.sort(wanted)[:, -1] - np.sort(wanted)[:, -2] > 0.5
        assert ahead.mean() > 0.5
        assert (found.argmax(-1) == wanted.argmax(-1))[ahead].all()


def test_text_is_cut_into_the_same_tokens(exported, tokenizer):
    llama = Llama(exported / "qwen3.gguf")
    try:
        for text in SAME:
            assert llama.tokenize(text) == tokenizer.encode(text), text
            assert b"".join(map(llama.piece, llama.tokenize(text))).decode() == text
    finally:
        llama.close()


def test_chats_are_cut_into_the_same_tokens(exported, tokenizer):
    llama = Llama(exported / "qwen3.gguf")
    try:
        text = tokenizer.render_chat(CHAT, add_generation_prompt=True)
        # As llama.cpp's programs do: control tokens are found, and BOS comes first only if the file says so.
        assert llama.tokenize(text, special=True, ends=True) == tokenizer.encode_chat(
            CHAT, add_generation_prompt=True
        )
        # A person who types a control token's text gets plain text.
        assert tokenizer.eos_id not in llama.tokenize("<|im_end|>")
        assert llama.piece(tokenizer.eos_id, special=False) == b""
    finally:
        llama.close()


def sentencepiece():
    """A tokenizer of Llama 2's kind: whole characters, ▁ for spaces, bytes for what is not known."""
    words = ["▁t", "▁th", "▁the", "he", "▁a", "qu", "ick"]
    merges = [
        ("▁", "t"),
        ("▁t", "h"),
        ("▁th", "e"),
        ("h", "e"),
        ("▁", "a"),
        ("q", "u"),
        ("ic", "k"),
        ("i", "c"),
    ]
    words = [*words, "ic"]
    characters = ["▁", *"abcdefghijklmnopqrstuvwxyz", "山"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *words]
    merges.sort(key=lambda pair: tokens.index("".join(pair)))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Backend(models.BPE(vocabulary, merges, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(backend.to_str(), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


def test_a_tokenizer_of_llama_2_cuts_the_same(tmp_path):
    other = sentencepiece()
    write_gguf(make_folder(tmp_path / "m", other, "llama"), tmp_path / "m.gguf")
    llama = Llama(tmp_path / "m.gguf")
    try:
        for text in ["the quick fox", "a  the", "那座山 the", "thethe"]:
            assert llama.tokenize(text) == other.encode(text), text
            assert llama.tokenize(text, ends=True) == [other.bos_id, *other.encode(text)]
    finally:
        llama.close()


def test_a_gguf_opens_in_as_long_a_context_as_the_model_has(exported):
    llama = Llama(exported / "qwen3.gguf", context=96)
    try:
        assert math.isfinite(float(llama.logits(list(range(20, 116))).sum()))
    finally:
        llama.close()
