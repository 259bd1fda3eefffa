"""GGUF files, read back without llama.cpp: gguf's own reader and name table are the oracle."""

import json
import sys

import gguf
import numpy as np
import pytest
import torch
from exported_models import SHAPES, TEXTS, make_folder
from safetensors.torch import load_file
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from jielong.cli import main
from jielong.core.errors import JielongError, UsageError
from jielong.export import GGUF_TYPES, write_gguf
from jielong.models import ModelConfig, RopeScaling, Transformer, save_model
from jielong.models.families import family_of
from jielong.tokenizer import Tokenizer

ARCHITECTURES = {"qwen3": "QWEN3", "qwen2": "QWEN2", "llama": "LLAMA", "mistral": "LLAMA", "gpt2": "GPT2"}
# The expression of "qwen2" as llama.cpp has it (src/llama-vocab.cpp).
QWEN2 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def read(path):
    """Metadata and tensors (as float32 arrays) of a file."""
    reader = gguf.GGUFReader(path)
    values = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {
        tensor.name: (tensor.tensor_type.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in reader.tensors
    }
    return values, tensors


def expected_tensors(folder, family, heads=4, kv_heads=2):
    """The folder's own tensors under the names that gguf's table gives them."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[ARCHITECTURES[family]], 2)
    for name, weights in load_file(folder / "model.safetensors").items():
        found = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if family == "gpt2" and weights.dim() == 2 and ".h." in name:
            weights = weights.t()  # Conv1D
        if family in ("llama", "mistral") and (".q_proj" in name or ".k_proj" in name):
            # convert_hf_to_gguf.py, LlamaModel.permute
            n = heads if ".q_proj" in name else kv_heads
            shape = weights.shape
            weights = weights.reshape(n, 2, shape[0] // n // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
        yield found, weights.float().numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_tensor_is_there_once_and_equal(shape, folders, tmp_path):
    family = shape.split()[0]
    write_gguf(folders[shape], tmp_path / "m.gguf")
    values, tensors = read(tmp_path / "m.gguf")
    expected = dict(expected_tensors(folders[shape], family))
    if shape == "llama llama3":
        assert tensors["rope_freqs.weight"][1].shape == (8,)
        del tensors["rope_freqs.weight"]
    assert set(tensors) == set(expected)
    for name, weights in expected.items():
        kind, found = tensors[name]
        assert kind == "F32"
        np.testing.assert_array_equal(found, weights, err_msg=name)
    assert values["general.architecture"] == ARCHITECTURES[family].lower()
    assert values["general.file_type"] == gguf.LlamaFileType.ALL_F32


def test_metadata_is_complete(folders, tokenizer, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf")
    values, tensors = read(tmp_path / "m.gguf")
    rows = tokenizer.vocab_size + 16
    wanted = {
        "qwen3.context_length": 96,
        "qwen3.embedding_length": 64,
        "qwen3.block_count": 2,
        "qwen3.feed_forward_length": 96,
        "qwen3.attention.head_count": 4,
        "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 32,
        "qwen3.attention.value_length": 32,
        "qwen3.rope.dimension_count": 32,
        "qwen3.rope.freq_base": 1e6,
        "qwen3.vocab_size": rows,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.bos_token_id": tokenizer.bos_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
        "general.name": "qwen3",
        "general.sampling.top_k": 0,
    }
    assert {key: values.get(key) for key in wanted} == wanted
    assert values["general.sampling.temp"] == pytest.approx(0.7)
    assert values["general.sampling.top_p"] == pytest.approx(0.95)
    assert values["qwen3.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert len(values["tokenizer.ggml.tokens"]) == len(values["tokenizer.ggml.token_type"]) == rows
    assert len(set(values["tokenizer.ggml.tokens"])) == rows  # llama.cpp asserts it
    assert "generation" not in values["tokenizer.chat_template"].replace("add_generation_prompt", "")
    assert tensors["token_embd.weight"][1].shape == (rows, 64)


def test_kinds_of_tokens(folders, tokenizer, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf")
    values, _ = read(tmp_path / "m.gguf")
    kinds = dict(zip(values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"], strict=True))
    control, user_defined, unused = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED, gguf.TokenType.UNUSED
    assert kinds["<|im_end|>"] == kinds["<|reserved_0|>"] == control
    assert kinds["<think>"] == kinds["<tool_call>"] == user_defined
    assert kinds["　　"] == user_defined
    assert [kind for kind in kinds.values() if kind == unused] == [unused] * 16


def test_exported_template_renders_the_same(tokenizer, folders, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf")
    values, _ = read(tmp_path / "m.gguf")
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2", "reasoning_content": "one and one"},
        {"role": "user", "content": "3+4?"},
    ]
    exported = tokenizer.with_chat_template(values["tokenizer.chat_template"])
    for going_on in (False, True):
        assert exported.render_chat(chat, add_generation_prompt=going_on) == tokenizer.render_chat(
            chat, add_generation_prompt=going_on
        )


def backend_of(values):
    """A tokenizer built from nothing but the file, as llama.cpp builds it."""
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in values["tokenizer.ggml.merges"]]
    backend = Backend(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    found_first = [t for t, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.USER_DEFINED]
    backend.add_tokens([AddedToken(token, normalized=False) for token in found_first])
    return backend


SAME = [
    *TEXTS[:1],
    *TEXTS[2:],
    "It's 5 o'clock, isn't it? They'll say: “It’s fine.”",
    "  1. first\n  2. second\n\n\n    indented\tTabs\t\tand  double  spaces   ",
    "全形標點，「引號」、（括號）……──！？ＡＢＣ１２３",
    "　　「今天天氣很好。」\n　　　三個空格 end\n　　Latin",
    "混合 mixed 文字と日本語のテキスト、한국어 텍스트 🙂👨‍👩‍👧 emoji",
    "https://example.org/a_b-c?d=e&f=(g)[h]{i}<j> $x^2$ `code` **bold** ~~~",
    "\r\n\r\n windows\r\nlines \n \n",
    "",
]


@pytest.mark.parametrize("text", SAME)
def test_text_is_cut_into_the_same_tokens(text, folders, tokenizer, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf")
    values, _ = read(tmp_path / "m.gguf")
    assert backend_of(values).encode(text).ids == tokenizer.encode(text)


def test_the_known_difference_is_a_contraction_that_is_none(folders, tokenizer, tmp_path):
    """docs/export.md states it; the text stays the same."""
    write_gguf(folders["qwen3"], tmp_path / "m.gguf")
    backend = backend_of(read(tmp_path / "m.gguf")[0])
    ids = backend.encode("'start'").ids
    assert ids != tokenizer.encode("'start'")
    assert tokenizer.decode(ids) == "'start'"


@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_types_keep_what_they_promise(kind, folders, tmp_path):
    write_gguf(folders["qwen3"], tmp_path / "m.gguf", kind)
    values, tensors = read(tmp_path / "m.gguf")
    # Half a step of the rounding, as a part of the largest weight of a block.
    steps = {"f32": 0, "f16": 2**-11, "bf16": 2**-8, "q8_0": 1 / 254 + 2**-11, "q5_1": 1 / 30, "q5_0": 1 / 15}
    steps |= {"q4_1": 1 / 14, "q4_0": 1 / 7}
    for name, weights in expected_tensors(folders["qwen3"], "qwen3"):
        written, found = tensors[name]
        if weights.ndim == 1:
            assert written == "F32"
            np.testing.assert_array_equal(found, weights)
            continue
        low = kind.startswith(("q4", "q5"))
        assert written == ("Q8_0" if low and name == "token_embd.weight" else kind.upper())
        blocks = np.abs(weights.reshape(-1, 32)).max(axis=1, keepdims=True)
        error = np.abs(found.reshape(-1, 32) - weights.reshape(-1, 32))
        assert (error <= blocks * steps[kind] * 1.02 + 1e-7).all(), name
    name = "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"
    assert values["general.file_type"] == gguf.LlamaFileType[name]


def test_the_default_type_loses_nothing(tokenizer, tmp_path):
    folder = make_folder(tmp_path / "half", tokenizer, "qwen3", dtype=torch.bfloat16)
    made = write_gguf(folder, tmp_path / "m.gguf")
    assert made["type"] == "bf16"
    _, tensors = read(tmp_path / "m.gguf")
    for name, weights in expected_tensors(folder, "qwen3"):
        np.testing.assert_array_equal(tensors[name][1], weights)


def test_rows_that_are_no_whole_number_of_blocks_stay_half_precision(tokenizer, tmp_path):
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=64, intermediate_size=72, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=32,
    )  # fmt: skip
    save_model(Transformer(config), tmp_path / "m", eos_id=tokenizer.eos_id)
    tokenizer.save(tmp_path / "m")
    write_gguf(tmp_path / "m", tmp_path / "m.gguf", "q8_0")
    _, tensors = read(tmp_path / "m.gguf")
    assert tensors["blk.0.ffn_down.weight"][0] == "F16"
    assert tensors["blk.0.ffn_up.weight"][0] == "Q8_0"


def test_within_the_sliding_window_is_the_context(tokenizer, tmp_path):
    values = {**family_of("mistral", "").switches, "sliding_window": 24}
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=64,
        family="mistral", **values,
    )  # fmt: skip
    save_model(Transformer(config), tmp_path / "m", eos_id=tokenizer.eos_id)
    tokenizer.save(tmp_path / "m")
    write_gguf(tmp_path / "m", tmp_path / "m.gguf")
    assert read(tmp_path / "m.gguf")[0]["llama.context_length"] == 24


@pytest.mark.parametrize(
    ("family", "values", "words"),
    [
        ("opt", {"hidden_act": "relu", "num_key_value_heads": 2, "position_offset": 2}, ["opt", "qwen3"]),
        ("qwen3", {"qkv_bias": True, "output_bias": True}, ["attention_bias"]),
        ("llama", {"hidden_act": "gelu"}, ["hidden_act", "gelu"]),
        ("qwen3", {"rope_scaling": RopeScaling("llama3", 4.0, 32)}, ["rope", "llama3"]),
    ],
)
def test_networks_that_llama_cpp_cannot_compute_are_refused(family, values, words, tokenizer, tmp_path):
    shape = {
        "vocab_size": tokenizer.vocab_size, "hidden_size": 32, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": 32,
    }  # fmt: skip
    config = ModelConfig(family=family, **{**shape, **family_of(family, "").switches, **values})
    save_model(Transformer(config), tmp_path / "m", eos_id=tokenizer.eos_id)
    tokenizer.save(tmp_path / "m")
    with pytest.raises(JielongError) as caught:
        write_gguf(tmp_path / "m", tmp_path / "m.gguf")
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.gguf").exists()


def test_an_unknown_type_and_an_unknown_pretokenizer_are_named(folders, tokenizer, tmp_path):
    with pytest.raises(UsageError, match="q3_x"):
        write_gguf(folders["qwen3"], tmp_path / "m.gguf", "q3_x")
    tree = json.loads((folders["qwen3"] / "tokenizer.json").read_text())
    tree["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{Greek}+"
    other = tmp_path / "other"
    other.mkdir()
    for file in folders["qwen3"].iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(JielongError, match="Greek"):
        write_gguf(other, tmp_path / "m.gguf")
    assert list(tmp_path.glob("*.gguf")) == list(tmp_path.glob(".*")) == []


def test_without_the_package_gguf_one_line_says_what_to_install(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gguf", None)  # what Python does where it is not installed
    with pytest.raises(SystemExit) as ended:
        main(["export", "gguf", str(folders["qwen3"]), "-o", str(tmp_path / "m.gguf")])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.count("\n") == 1
    assert "pip install 'jielong[export]'" in said


def test_a_tokenizer_of_gpt2_keeps_its_own_pretokenizer(tokenizer, tmp_path):
    backend = Backend(models.BPE({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    other = Tokenizer(backend.to_str(), {"eos_token": "<|endoftext|>"})
    folder = make_folder(tmp_path / "m", other, "gpt2")
    write_gguf(folder, tmp_path / "m.gguf")
    values, _ = read(tmp_path / "m.gguf")
    assert values["tokenizer.ggml.pre"] == "gpt-2"
    # It only continues texts, and `jielong complete` begins those with BOS.
    assert values["tokenizer.ggml.add_bos_token"] is True
    assert "tokenizer.chat_template" not in values
