"""The same numbers under other names: how `transformers` and GGUF files keep a GPT-2 and a Llama, and this package both.

Four things differ besides the names. GPT-2's file keeps its matrices transposed, and query, key and value as one. A Llama turns
the numbers of a head in pairs: `transformers` pairs the first half with the second, we and GGUF pair neighbours, so the rows of
queries and keys are in another order. A tied head is in no file, or twice. And GGUF may keep the numbers in a few bits each.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..config import GPTConfig
from .composed import ComposedConfig

# ours: (of transformers, of GGUF); the star is the number of the layer
LLAMA = {
    "token_embedding.weight": ("model.embed_tokens.weight", "token_embd.weight"),
    "blocks.*.norm1.weight": ("model.layers.*.input_layernorm.weight", "blk.*.attn_norm.weight"),
    "blocks.*.attention.query.weight": ("model.layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight"),
    "blocks.*.attention.key.weight": ("model.layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight"),
    "blocks.*.attention.value.weight": ("model.layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"),
    "blocks.*.attention.output.weight": ("model.layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"),
    "blocks.*.norm2.weight": ("model.layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight"),
    "blocks.*.feed_forward.gate.weight": ("model.layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"),
    "blocks.*.feed_forward.widen.weight": ("model.layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"),
    "blocks.*.feed_forward.narrow.weight": ("model.layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"),
    "norm.weight": ("model.norm.weight", "output_norm.weight"),
    "head.weight": ("lm_head.weight", "output.weight"),
}
# ours without .weight and .bias: that of transformers
GPT2 = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "blocks.*.norm1": "transformer.h.*.ln_1",
    "blocks.*.attention.output": "transformer.h.*.attn.c_proj",
    "blocks.*.norm2": "transformer.h.*.ln_2",
    "blocks.*.feed_forward.widen": "transformer.h.*.mlp.c_fc",
    "blocks.*.feed_forward.narrow": "transformer.h.*.mlp.c_proj",
    "norm": "transformer.ln_f",
    "head": "lm_head",
}
GPT2_QKV = ("blocks.*.attention.query", "blocks.*.attention.key", "blocks.*.attention.value")
GPT2_QKV_THEIRS = "transformer.h.*.attn.c_attn"
ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu"}


def pairs_from_halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys, (heads D, C), in which each head pairs its first half with its second, so that neighbours are
    pairs.

    >>> pairs_from_halves(torch.tensor([[0], [1], [10], [11]]), heads=1).flatten()
    tensor([ 0, 10,  1, 11])
    """
    return weight.view(heads, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def halves_from_pairs(weight: Tensor, heads: int) -> Tensor:
    """The way back from `pairs_from_halves`."""
    return weight.view(heads, -1, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def config_from_transformers(settings: Mapping[str, Any]) -> ComposedConfig:
    """Our settings of the model that the config.json of a transformers folder describes: a GPT-2 or a Llama. Any other, and
    a choice within these that is not known here, is a `ValueError`."""
    kind = settings.get("model_type")
    if kind not in ("gpt2", "llama"):
        raise ValueError(f"it describes a model of the kind {kind!r}, and only 'gpt2' and 'llama' are known here")
    try:
        return _gpt2_config(settings) if kind == "gpt2" else _llama_config(settings)
    except KeyError as error:
        raise ValueError(f"it lacks the setting {error}") from None


def _refuse(settings: Mapping[str, Any], **usual: tuple[Any, ...]) -> None:
    for name, values in usual.items():
        if name in settings and settings[name] not in values:
            raise ValueError(f"its {name} is {settings[name]!r}, and only {values[0]!r} is known here")


def _gpt2_config(s: Mapping[str, Any]) -> ComposedConfig:
    activation = s.get("activation_function", "gelu_new")
    if activation not in ACTIVATIONS:
        raise ValueError(f"its activation_function is {activation!r}: those known are {', '.join(ACTIVATIONS)}")
    _refuse(s, scale_attn_by_inverse_layer_idx=(False,), scale_attn_weights=(True,), add_cross_attention=(False,))
    return ComposedConfig(
        s["vocab_size"],
        block_size=s["n_positions"],
        n_layer=s["n_layer"],
        n_head=s["n_head"],
        n_embd=s["n_embd"],
        end_id=s.get("eos_token_id"),
        norm_eps=s.get("layer_norm_epsilon", 1e-5),
        feed_forward=ACTIVATIONS[activation],
        n_hidden=s.get("n_inner"),
        tied=s.get("tie_word_embeddings", True),
        start="scaled",
    )


def _llama_config(s: Mapping[str, Any]) -> ComposedConfig:
    rope = s.get("rope_parameters") or s.get("rope_scaling") or {}  # the older name held only what is unusual
    _refuse(rope, rope_type=("default",), type=("default",))
    _refuse(s, hidden_act=("silu",), attention_bias=(False,), mlp_bias=(False,))
    _refuse(s, head_dim=(s["hidden_size"] // s["num_attention_heads"], None))
    end = s.get("eos_token_id")
    return ComposedConfig(
        s["vocab_size"],
        block_size=s["max_position_embeddings"],
        n_layer=s["num_hidden_layers"],
        n_head=s["num_attention_heads"],
        n_embd=s["hidden_size"],
        end_id=end[0] if isinstance(end, list) else end,
        norm="rms",
        norm_eps=s["rms_norm_eps"],
        rope_base=float(rope.get("rope_theta") or s.get("rope_theta", 10_000)),
        n_kv_head=s.get("num_key_value_heads"),
        feed_forward="swiglu",
        n_hidden=s["intermediate_size"],
        bias=False,
        tied=s.get("tie_word_embeddings", False),
    )


def config_from_gguf(metadata: Mapping[str, Any]) -> ComposedConfig:
    """Our settings of the Llama that the metadata of a GGUF file describe, tied: `load_gguf` unties it where there is a head."""
    kind = metadata.get("general.architecture")
    if kind != "llama":
        raise ValueError(f"it holds a model of the kind {kind!r}, and only 'llama' is known here")
    s = {name.removeprefix("llama."): value for name, value in metadata.items()}
    _refuse(s, **{"rope.scaling.type": ("none",)})
    try:
        _refuse(s, **{"rope.dimension_count": (s["embedding_length"] // s["attention.head_count"],)})
        return ComposedConfig(
            len(metadata["tokenizer.ggml.tokens"]),
            block_size=s["context_length"],
            n_layer=s["block_count"],
            n_head=s["attention.head_count"],
            n_embd=s["embedding_length"],
            end_id=metadata.get("tokenizer.ggml.eos_token_id"),
            norm="rms",
            norm_eps=s["attention.layer_norm_rms_epsilon"],
            rope_base=s.get("rope.freq_base", 10_000.0),
            n_kv_head=s.get("attention.head_count_kv"),
            feed_forward="swiglu",
            n_hidden=s["feed_forward_length"],
            bias=False,
            tied=True,
        )
    except KeyError as error:
        raise ValueError(f"its metadata lack {error}") from None


def _each_layer(names: Mapping[str, Any], n_layer: int) -> list[tuple[str, Any, int]]:
    """The entries of a table of names with the star of each layer filled in: ours, theirs, and which layer."""
    filled = []
    for own, other in names.items():
        for layer in range(n_layer) if "*" in own else (0,):
            filled.append((own.replace("*", str(layer)), other.replace("*", str(layer)), layer))
    return filled


def weights_from_llama(tensors: Mapping[str, Tensor], config: ComposedConfig, *, gguf: bool) -> dict[str, Tensor]:
    """Our weights of a Llama: of a GGUF file's tensors, or of those of transformers."""
    names = {own: pair[gguf] for own, pair in LLAMA.items() if not (config.tied and own == "head.weight")}
    weights = {}
    for own, theirs, _ in _each_layer(names, config.n_layer):
        weights[own] = _take(tensors, theirs)
        if not gguf and own.endswith(("query.weight", "key.weight")):
            heads = config.n_head if own.endswith("query.weight") else config.key_heads
            weights[own] = pairs_from_halves(weights[own], heads)
    return weights


def weights_for_llama(weights: Mapping[str, Tensor], config: ComposedConfig, *, gguf: bool) -> dict[str, Tensor]:
    """The way back from `weights_from_llama`."""
    names = {own: pair[gguf] for own, pair in LLAMA.items() if own != "head.weight" or not config.tied}
    tensors = {}
    for own, theirs, _ in _each_layer(names, config.n_layer):
        tensors[theirs] = weights[own]
        if not gguf and own.endswith(("query.weight", "key.weight")):
            heads = config.n_head if own.endswith("query.weight") else config.key_heads
            tensors[theirs] = halves_from_pairs(weights[own], heads)
    return tensors


def weights_from_gpt2(tensors: Mapping[str, Tensor], config: ComposedConfig) -> dict[str, Tensor]:
    """Our weights of a GPT-2 of transformers, whose names may begin with "transformer." or not."""
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    weights = {}
    for own, theirs, _ in _each_layer(GPT2, config.n_layer):
        for end in _ends(own, config):
            tensor = _take(tensors, f"{theirs.removeprefix('transformer.')}.{end}")
            weights[f"{own}.{end}"] = tensor.T if _transposed(own, end) else tensor
    for own, theirs, _ in _each_layer({",".join(GPT2_QKV): GPT2_QKV_THEIRS}, config.n_layer):
        for end in ("weight", "bias"):
            parts = _take(tensors, f"{theirs.removeprefix('transformer.')}.{end}").chunk(3, dim=-1)
            weights |= {
                f"{name}.{end}": part.T if end == "weight" else part
                for name, part in zip(own.split(","), parts, strict=True)
            }
    return {name: tensor.contiguous() for name, tensor in weights.items()}


def weights_for_gpt2(weights: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The way back from `weights_from_gpt2`, of a plain GPT too."""
    tensors = {}
    for own, theirs, _ in _each_layer(GPT2, config.n_layer):
        for end in _ends(own, config):
            tensor = weights[f"{own}.{end}"]
            tensors[f"{theirs}.{end}"] = tensor.T if _transposed(own, end) else tensor
    for own, theirs, _ in _each_layer({",".join(GPT2_QKV): GPT2_QKV_THEIRS}, config.n_layer):
        for end in ("weight", "bias"):
            whole = torch.cat([weights[f"{name}.{end}"] for name in own.split(",")])
            tensors[f"{theirs}.{end}"] = whole.T if end == "weight" else whole
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _ends(own: str, config: GPTConfig) -> tuple[str, ...]:
    if own == "head":
        return () if getattr(config, "tied", False) else ("weight",)
    return ("weight",) if own.endswith("embedding") else ("weight", "bias")


def _transposed(own: str, end: str) -> bool:
    return end == "weight" and own.endswith(("output", "widen", "narrow"))


def _take(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"the tensor {name} is missing")
    return tensors[name].float()
