"""Tiny random models of transformers: the oracle."""

from pathlib import Path

import torch
import transformers


def _rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


_COMMON = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
_OPT = {
    "vocab_size": 97,
    "hidden_size": 32,
    "ffn_dim": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
_LLAMA3 = {
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

# One row a variant: the class of transformers and the values of its configuration.
VARIANTS = {
    "qwen3": ("Qwen3", {**_COMMON, "head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-untied-biased": ("Qwen3", {**_COMMON, "head_dim": 8, "attention_bias": True}),
    "qwen3-no-groups": ("Qwen3", {**_COMMON, "head_dim": 8, "num_key_value_heads": 4}),
    "qwen3-yarn": (
        "Qwen3",
        {
            **_COMMON,
            "head_dim": 16,
            "rope_parameters": _rope("yarn", factor=4.0, original_max_position_embeddings=16),
        },
    ),
    "qwen3-window": (
        "Qwen3",
        {**_COMMON, "head_dim": 8, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen2": ("Qwen2", {**_COMMON, "tie_word_embeddings": True}),
    "qwen2-untied": ("Qwen2", {**_COMMON, "rms_norm_eps": 1e-5}),
    "llama": ("Llama", {**_COMMON}),
    "llama-biased-tied": (
        "Llama",
        {**_COMMON, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 12},
    ),
    "llama-llama3-rope": ("Llama", {**_COMMON, "rope_parameters": _rope("llama3", **_LLAMA3)}),
    "llama-linear-rope": ("Llama", {**_COMMON, "rope_parameters": _rope("linear", factor=2.0)}),
    "llama-multi-query": ("Llama", {**_COMMON, "num_key_value_heads": 1, "hidden_act": "gelu"}),
    "mistral": ("Mistral", {**_COMMON, "sliding_window": None}),
    "mistral-window": ("Mistral", {**_COMMON, "sliding_window": 7, "head_dim": 16}),
    "gpt2": ("GPT2", _GPT2),
    "gpt2-untied": (
        "GPT2",
        {**_GPT2, "tie_word_embeddings": False, "n_inner": 72, "activation_function": "relu"},
    ),
    "opt": ("OPT", _OPT),
    "opt-no-bias-untied": (
        "OPT",
        {**_OPT, "enable_bias": False, "layer_norm_elementwise_affine": False, "tie_word_embeddings": False},
    ),
    "opt-post-norm-projected": ("OPT", {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "opt-without-final-norm": ("OPT", {**_OPT, "_remove_final_layer_norm": True}),
}
HEADS = {"GPT2": "GPT2LMHeadModel"}


def make_peer(variant: str, folder: Path, **saving):
    """A random model of transformers, every weight perturbed so that each one matters, saved to a folder."""
    name, values = VARIANTS[variant]
    torch.manual_seed(sum(map(ord, variant)))
    config = getattr(transformers, f"{name}Config")(**values)
    peer = getattr(transformers, HEADS.get(name, f"{name}ForCausalLM"))(config).eval()
    with torch.no_grad():
        for weight in peer.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    peer.save_pretrained(folder, **saving)
    return peer
