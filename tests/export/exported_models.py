"""Tiny random networks of every family, each with a real tokenizer, in model folders."""

from pathlib import Path

from jielong.models import ModelConfig, RopeScaling, Transformer, save_model
from jielong.models.families import family_of
from jielong.tokenizer import Tokenizer

TEXTS = [
    "台灣最高的山是玉山，海拔三千九百五十二公尺。玉山位於台灣中部。\n\n小金住在高雄市，高雄舊稱打狗。",
    "Water boils at 100 degrees at sea level. It's lower on a mountain, isn't it? They'll say 'start'.",
    "def add(first, second):\n    return first + second\n\n\nclass Point:\n    def __init__(self):\n",
    "　　他說：「今天天氣很好。」她回答：「是的，我們去爬山吧！」使用 Python 3.11 的電腦。\n　　她笑了。",
    "12 + 34 = 46。34 - 12 = 22。the quick brown fox jumps over the lazy dog",
]
_SIZE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 96,
    "initializer_range": 0.15,
}
_LLAMA3 = RopeScaling("llama3", 4.0, 32)
SHAPES = {
    "qwen3": {"head_dim": 32},
    "qwen3 untied": {"tie_word_embeddings": False},
    "qwen3 yarn": {"rope_scaling": RopeScaling("yarn", 4.0, 32), "head_dim": 32},
    "qwen3 yarn scaled": {"rope_scaling": RopeScaling("yarn", 4.0, 32, attention_factor=1.3)},
    "qwen3 linear": {"rope_scaling": RopeScaling("linear", 2.0)},
    "qwen2": {},
    "llama": {"norm_eps": 1e-5, "rope_theta": 1e4},
    "llama biased": {"qkv_bias": True, "output_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "llama llama3": {"rope_scaling": _LLAMA3},
    "mistral": {"sliding_window": None},
    "gpt2": {"num_key_value_heads": 4, "hidden_act": "gelu_new"},
}
"""What each shape adds to the family's switches."""


def make_folder(path: Path, tokenizer: Tokenizer, shape: str, **saving) -> Path:
    """A random network in which every weight matters, saved beside the tokenizer."""
    family = shape.split()[0]
    values = {**_SIZE, **family_of(family, "").switches, **SHAPES[shape]}
    # 16 rows more than the tokenizer has tokens, as in padded vocabularies.
    model = Transformer(ModelConfig(family=family, vocab_size=tokenizer.vocab_size + 16, **values), seed=1)
    for name, weights in model.named_parameters():
        if weights.dim() == 1:
            weights.data.add_(weights.data.new_tensor([0.05 * (i % 7) for i in range(len(weights))]))
        assert weights.abs().sum() > 0, name
    save_model(
        model,
        path,
        eos_id=tokenizer.eos_id,
        bos_id=tokenizer.bos_id,
        pad_id=tokenizer.pad_id,
        generation={"temperature": 0.7, "top_p": 0.95, "do_sample": True, "max_new_tokens": 40},
        **saving,
    )
    tokenizer.save(path)
    return path
