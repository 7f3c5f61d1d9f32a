"""The way back: a model of this package for those who read GPT-2s and Llamas, `transformers` and GGUF files' readers."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ..config import GPTConfig
from ..files import write_atomic
from ..model import GPT
from ..tokenizer import Coder
from .byte_level import ByteLevelBPETokenizer
from .composed import ComposedConfig
from .formats import ACTIVATIONS, weights_for_gpt2, weights_for_llama
from .real import optional

# what each kind demands of our settings; what neither names may be anything
GPT2_PARTS = {"norm": "layer", "rope_base": None, "n_kv_head": None, "bias": True}
LLAMA_PARTS = {"norm": "rms", "feed_forward": "swiglu", "bias": False}
NEITHER = {"qk_norm": False, "softcap": None, "previous_tokens": 0, "norm_input": False, "logit_scale": 1.0}


def kind_of(config: GPTConfig) -> str:
    """Which of the published kinds has exactly these parts: "gpt2" or "llama". None is a `ValueError` that names a part.

    >>> kind_of(GPTConfig(vocab_size=65))
    'gpt2'
    """
    own = composed(config)
    for name, value in NEITHER.items():
        if getattr(own, name) != value:
            raise ValueError(
                f"{name}={getattr(own, name)!r} cannot be expressed: neither a GPT-2 nor a Llama has such a part"
            )
    if all(getattr(own, name) == value for name, value in LLAMA_PARTS.items()) and own.rope_base is not None:
        return "llama"
    wrong = [f"{name}={getattr(own, name)!r}" for name, value in GPT2_PARTS.items() if getattr(own, name) != value]
    if own.feed_forward not in ACTIVATIONS.values():
        wrong.append(f"feed_forward={own.feed_forward!r}")
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} cannot be expressed: a GPT-2 has other parts, and a Llama has others besides"
        )
    return "gpt2"


def composed(config: GPTConfig) -> ComposedConfig:
    """The settings of a plain GPT as those of a composed one; others as they are."""
    if isinstance(config, ComposedConfig):
        return config
    if type(config) is not GPTConfig:
        raise ValueError(f"a model of {type(config).__name__} has parts that are not known here")
    return ComposedConfig(**{field.name: getattr(config, field.name) for field in fields(GPTConfig)})


def save_for_transformers(model: GPT, folder: str | Path) -> None:
    """Write config.json and model.safetensors so that `transformers` loads them, as a GPT-2 or as a Llama, and writes the same
    ids. The tokenizer stays ours. What neither kind can express, or a folder that holds a model already, is a `ValueError`.

    >>> save_for_transformers(model, "for-others")                                      # doctest: +SKIP
    >>> AutoModelForCausalLM.from_pretrained("for-others").generate(ids)                # doctest: +SKIP
    """
    folder = Path(folder)
    config, kind = composed(model.config), kind_of(model.config)
    if taken := [name for name in ("config.json", "model.safetensors") if (folder / name).exists()]:
        raise ValueError(f"{folder} already holds a {taken[0]}: name another folder")
    weights = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    tensors = weights_for_gpt2(weights, config) if kind == "gpt2" else weights_for_llama(weights, config, gguf=False)
    settings = _gpt2_settings(config) if kind == "gpt2" else _llama_settings(config)
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"})
    write_atomic(folder / "model.safetensors", content)
    write_atomic(folder / "config.json", json.dumps(settings, indent=1).encode("utf-8"))


def _gpt2_settings(config: ComposedConfig) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": config.n_hidden,
        "activation_function": next(name for name, own in ACTIVATIONS.items() if own == config.feed_forward),
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "attn_pdrop": 0.0,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "bos_token_id": config.end_id,
        "eos_token_id": config.end_id,
    }


def _llama_settings(config: ComposedConfig) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.block_size,
        "hidden_size": config.n_embd,
        "intermediate_size": config.n_hidden or 4 * config.n_embd,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.key_heads,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,  # as versions before 5 read it
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.end_id,
        "eos_token_id": config.end_id,
    }


def save_gguf(model: GPT, tokenizer: Coder, path: str | Path) -> None:
    """Write a Llama-shaped model as one GGUF file of float32 numbers. A byte-level tokenizer goes with it whole; of another one
    only the tokens, so that a reader knows how many there are. A model of other parts is a `ValueError`, and so is a path that
    exists.

    >>> save_gguf(model, tokenizer, "llama.gguf")                                       # doctest: +SKIP
    """
    gguf = optional("gguf", "to write GGUF files")
    path, config = Path(path), composed(model.config)
    if kind_of(config) != "llama":
        raise ValueError("a GGUF file is written of a Llama-shaped model only, and this one has the parts of a GPT-2")
    if path.exists():
        raise ValueError(f"{path} exists already: name another file")
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(config.n_hidden or 4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_head_count_kv(config.key_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_rope_dimension_count(config.n_embd // config.n_head)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokenizer.tokens)
    if isinstance(tokenizer, ByteLevelBPETokenizer):
        writer.add_tokenizer_pre("smollm" if tokenizer.digits else "gpt-2")
        writer.add_token_types([3 if token in tokenizer.special_ids else 1 for token in tokenizer.tokens])
        writer.add_token_merges([" ".join(pair) for pair in tokenizer.ranks])
    writer.add_eos_token_id(tokenizer.end_id)
    weights = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    for name, tensor in weights_for_llama(weights, config, gguf=True).items():
        writer.add_tensor(name, tensor.contiguous().numpy())
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        writer.write_header_to_file(temporary)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
