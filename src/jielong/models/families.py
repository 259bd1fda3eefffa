"""Model families as data: what each Hugging Face model type calls our switches and tensors.

A family is a row of this file and not a network: its switches are fixed values of `ModelConfig`, its keys say
where the other values stand in `config.json`, and its tensors say which tensors of the file make up one of
ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jielong.core.errors import JielongError
from jielong.models.config import ModelConfig

REQUIRED = object()
"""Default of a key that config.json must hold."""


@dataclass(frozen=True, slots=True)
class Key:
    """One value of config.json: the `ModelConfig` field, the name in the file, and what its absence means."""

    field: str
    name: str
    default: Any = REQUIRED


@dataclass(frozen=True, slots=True)
class TensorMap:
    """One of our tensors and the tensors of the file that it joins along its rows.

    Attributes:
        ours: our name; `{i}` is the layer, `{p}` is weight or bias.
        theirs: the names in the file, below the family's prefix where they start with a dot.
        split: how many rows each of `theirs` has: `whole`, `qkv` or `gate_up`.
        transposed: the file stores the matrix as [in, out] (GPT-2's Conv1D).
    """

    ours: str
    theirs: tuple[str, ...]
    split: Literal["whole", "qkv", "gate_up"] = "whole"
    transposed: bool = False

    def sizes(self, config: ModelConfig) -> tuple[int, ...] | None:
        """Rows of each of `theirs`, or None where there is one."""
        if self.split == "qkv" and len(self.theirs) == 3:
            query = config.num_attention_heads * config.head_dim
            key = config.num_key_value_heads * config.head_dim
            return query, key, key
        if self.split == "gate_up":
            return config.intermediate_size, config.intermediate_size
        return None


SCORE = TensorMap("score.weight", ("score.weight",))
"""The head of a reward model; every family's sequence classifiers call it so."""


@dataclass(frozen=True, slots=True)
class Family:
    """A Hugging Face model type.

    Attributes:
        model_type: as in config.json.
        architecture: class name for config.json.
        prefix: of the base model's tensors; files of a bare base model lack it.
        switches: fixed values of `ModelConfig`.
        keys: values of `ModelConfig` that stand in config.json.
        tensors: the name map.
        required_values: other keys of config.json and the only value of each that this network computes;
            written out when saving.
        written: further values for config.json, so that training with other tools behaves as here (no
            dropout).
        ignored: endings of tensors that hold no weights (masks and tables that old versions stored).
    """

    model_type: str
    architecture: str
    prefix: str
    keys: tuple[Key, ...]
    tensors: tuple[TensorMap, ...]
    switches: Mapping[str, Any] = field(default_factory=dict)
    required_values: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


_LLAMA_KEYS = (
    Key("vocab_size", "vocab_size"),
    Key("hidden_size", "hidden_size"),
    Key("intermediate_size", "intermediate_size"),
    Key("num_hidden_layers", "num_hidden_layers"),
    Key("num_attention_heads", "num_attention_heads"),
    Key("num_key_value_heads", "num_key_value_heads", None),
    Key("hidden_act", "hidden_act", "silu"),
    Key("max_position_embeddings", "max_position_embeddings"),
    Key("norm_eps", "rms_norm_eps", 1e-6),
    Key("tie_word_embeddings", "tie_word_embeddings", False),
    Key("initializer_range", "initializer_range", 0.02),
)
_LLAMA_SWITCHES = {"mlp": "gated", "norm": "rmsnorm", "position": "rope", "qk_norm": False}
_LLAMA_TENSORS = (
    TensorMap("embed.weight", (".embed_tokens.weight",)),
    TensorMap("norm.weight", (".norm.weight",)),
    TensorMap("lm_head.weight", ("lm_head.weight",)),
    TensorMap("blocks.{i}.mixer_norm.weight", (".layers.{i}.input_layernorm.weight",)),
    TensorMap("blocks.{i}.mlp_norm.weight", (".layers.{i}.post_attention_layernorm.weight",)),
    TensorMap(
        "blocks.{i}.mixer.qkv.{p}",
        (
            ".layers.{i}.self_attn.q_proj.{p}",
            ".layers.{i}.self_attn.k_proj.{p}",
            ".layers.{i}.self_attn.v_proj.{p}",
        ),
        split="qkv",
    ),
    TensorMap("blocks.{i}.mixer.out.{p}", (".layers.{i}.self_attn.o_proj.{p}",)),
    TensorMap("blocks.{i}.mixer.q_norm.weight", (".layers.{i}.self_attn.q_norm.weight",)),
    TensorMap("blocks.{i}.mixer.k_norm.weight", (".layers.{i}.self_attn.k_norm.weight",)),
    TensorMap(
        "blocks.{i}.mlp.gate_up.{p}",
        (".layers.{i}.mlp.gate_proj.{p}", ".layers.{i}.mlp.up_proj.{p}"),
        split="gate_up",
    ),
    TensorMap("blocks.{i}.mlp.down.{p}", (".layers.{i}.mlp.down_proj.{p}",)),
)
_HEAD_DIM = Key("head_dim", "head_dim", None)
_ROTARY_TABLES = ("rotary_emb.inv_freq",)
_NO_ATTENTION_DROPOUT = {"attention_dropout": 0.0}

QWEN3 = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    prefix="model",
    keys=(*_LLAMA_KEYS, Key("head_dim", "head_dim", 128), Key("qkv_bias", "attention_bias", False)),
    tensors=_LLAMA_TENSORS,
    switches={**_LLAMA_SWITCHES, "qk_norm": True},
    written=_NO_ATTENTION_DROPOUT,
    ignored=_ROTARY_TABLES,
)
QWEN2 = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    prefix="model",
    keys=_LLAMA_KEYS,
    tensors=_LLAMA_TENSORS,
    switches={**_LLAMA_SWITCHES, "qkv_bias": True},
    written=_NO_ATTENTION_DROPOUT,
    ignored=_ROTARY_TABLES,
)
LLAMA = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    prefix="model",
    keys=(
        *_LLAMA_KEYS,
        _HEAD_DIM,
        Key("qkv_bias", "attention_bias", False),
        Key("mlp_bias", "mlp_bias", False),
    ),
    tensors=_LLAMA_TENSORS,
    switches=_LLAMA_SWITCHES,
    written=_NO_ATTENTION_DROPOUT,
    ignored=_ROTARY_TABLES,
)
MISTRAL = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    prefix="model",
    keys=(*_LLAMA_KEYS, _HEAD_DIM, Key("sliding_window", "sliding_window", 4096)),
    tensors=_LLAMA_TENSORS,
    switches=_LLAMA_SWITCHES,
    written=_NO_ATTENTION_DROPOUT,
    ignored=_ROTARY_TABLES,
)
GPT2 = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer",
    keys=(
        Key("vocab_size", "vocab_size"),
        Key("hidden_size", "n_embd"),
        Key("intermediate_size", "n_inner", None),
        Key("num_hidden_layers", "n_layer"),
        Key("num_attention_heads", "n_head"),
        Key("hidden_act", "activation_function", "gelu_new"),
        Key("max_position_embeddings", "n_positions", 1024),
        Key("norm_eps", "layer_norm_epsilon", 1e-5),
        Key("tie_word_embeddings", "tie_word_embeddings", True),
        Key("initializer_range", "initializer_range", 0.02),
    ),
    tensors=(
        TensorMap("embed.weight", (".wte.weight",)),
        TensorMap("embed_positions.weight", (".wpe.weight",)),
        TensorMap("norm.{p}", (".ln_f.{p}",)),
        TensorMap("lm_head.weight", ("lm_head.weight",)),
        TensorMap("blocks.{i}.mixer_norm.{p}", (".h.{i}.ln_1.{p}",)),
        TensorMap("blocks.{i}.mlp_norm.{p}", (".h.{i}.ln_2.{p}",)),
        TensorMap("blocks.{i}.mixer.qkv.{p}", (".h.{i}.attn.c_attn.{p}",), transposed=True),
        TensorMap("blocks.{i}.mixer.out.{p}", (".h.{i}.attn.c_proj.{p}",), transposed=True),
        TensorMap("blocks.{i}.mlp.up.{p}", (".h.{i}.mlp.c_fc.{p}",), transposed=True),
        TensorMap("blocks.{i}.mlp.down.{p}", (".h.{i}.mlp.c_proj.{p}",), transposed=True),
    ),
    switches={
        "mlp": "plain",
        "norm": "layernorm",
        "position": "learned",
        "qk_norm": False,
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
    },
    required_values={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    written={"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    ignored=(".attn.bias", ".attn.masked_bias"),
)
OPT = Family(
    model_type="opt",
    architecture="OPTForCausalLM",
    prefix="model",
    keys=(
        Key("vocab_size", "vocab_size"),
        Key("hidden_size", "hidden_size"),
        Key("intermediate_size", "ffn_dim"),
        Key("num_hidden_layers", "num_hidden_layers"),
        Key("num_attention_heads", "num_attention_heads"),
        Key("hidden_act", "activation_function", "relu"),
        Key("max_position_embeddings", "max_position_embeddings"),
        Key("tie_word_embeddings", "tie_word_embeddings", True),
        Key("initializer_range", "init_std", 0.02),
        Key("qkv_bias", "enable_bias", True),
        Key("norm_affine", "layer_norm_elementwise_affine", True),
        Key("pre_norm", "do_layer_norm_before", True),
        Key("embedding_size", "word_embed_proj_dim", None),
    ),
    tensors=(
        TensorMap("embed.weight", (".decoder.embed_tokens.weight",)),
        TensorMap("embed_positions.weight", (".decoder.embed_positions.weight",)),
        TensorMap("project_in.weight", (".decoder.project_in.weight",)),
        TensorMap("project_out.weight", (".decoder.project_out.weight",)),
        TensorMap("norm.{p}", (".decoder.final_layer_norm.{p}",)),
        TensorMap("lm_head.weight", ("lm_head.weight",)),
        TensorMap("blocks.{i}.mixer_norm.{p}", (".decoder.layers.{i}.self_attn_layer_norm.{p}",)),
        TensorMap("blocks.{i}.mlp_norm.{p}", (".decoder.layers.{i}.final_layer_norm.{p}",)),
        TensorMap(
            "blocks.{i}.mixer.qkv.{p}",
            (
                ".decoder.layers.{i}.self_attn.q_proj.{p}",
                ".decoder.layers.{i}.self_attn.k_proj.{p}",
                ".decoder.layers.{i}.self_attn.v_proj.{p}",
            ),
            split="qkv",
        ),
        TensorMap("blocks.{i}.mixer.out.{p}", (".decoder.layers.{i}.self_attn.out_proj.{p}",)),
        TensorMap("blocks.{i}.mlp.up.{p}", (".decoder.layers.{i}.fc1.{p}",)),
        TensorMap("blocks.{i}.mlp.down.{p}", (".decoder.layers.{i}.fc2.{p}",)),
    ),
    switches={
        "mlp": "plain",
        "norm": "layernorm",
        "norm_eps": 1e-5,
        "position": "learned",
        "position_offset": 2,
        "qk_norm": False,
    },
    written={"attention_dropout": 0.0, "dropout": 0.0, "layerdrop": 0.0},
)
FAMILIES: Mapping[str, Family] = {
    family.model_type: family for family in (QWEN3, QWEN2, LLAMA, MISTRAL, GPT2, OPT)
}


def family_of(model_type: object, where: str) -> Family:
    """The family of a model type; `where` names the file for the error."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise JielongError(f"{where}: model_type {model_type!r} is not supported; known are {known}")
    return FAMILIES[model_type]


def tensor_sources(config: ModelConfig, names: list[str]) -> dict[str, tuple[TensorMap, tuple[str, ...]]]:
    """For each of our tensor names: its map, and the file's full names."""
    family = family_of(config.family, "model shape")
    by_pattern = {tensor.ours: tensor for tensor in (*family.tensors, SCORE)}
    sources = {}
    for name in names:
        layer, kind = _layer_of(name), name.rpartition(".")[2]
        pattern = name if layer is None else name.replace(f"blocks.{layer}.", "blocks.{i}.", 1)
        tensor = by_pattern.get(pattern) or by_pattern.get(pattern.removesuffix(kind) + "{p}")
        if tensor is None:
            raise JielongError(
                f"model shape: {family.model_type} files have no place for {name}; choose another family"
            )
        theirs = (theirs.format(i=layer, p=kind) for theirs in tensor.theirs)
        sources[name] = (tensor, tuple(family.prefix + t if t.startswith(".") else t for t in theirs))
    return sources


def _layer_of(name: str) -> int | None:
    return int(name.split(".", 2)[1]) if name.startswith("blocks.") else None
