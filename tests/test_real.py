"""Real weights in our own code: the oracle is `transformers`, on random small models of several shapes, and on SmolLM2 itself
where it can be had. And where two models part, `first_difference` says it."""

import dataclasses

import pytest
import torch
from torch import nn

from minigpt_core import generate, load_corpus
from minigpt_core.beyond.compare import first_difference
from minigpt_core.beyond.formats import halves_from_pairs
from minigpt_core.beyond.real import load_real

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: the real models are NOT compared"
)
LLAMAS = {
    "plain": {},
    "grouped": {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 48},
    "one key head, tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "wide base, deep": {"rope_theta": 100_000.0, "num_hidden_layers": 4, "rms_norm_eps": 1e-6},
}
GPT2S = {
    "plain": {},
    "untied, one head": {"tie_word_embeddings": False, "n_head": 1},
    "relu, narrow": {"activation_function": "relu", "n_inner": 40, "n_layer": 3},
}


def vocabulary(folder):
    """A small byte-level tokenizer of `tokenizers`, as tokenizer.json."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([load_corpus("tales")[:20_000]], trainer)
    made.save(str(folder / "tokenizer.json"))
    return made


def theirs(kind: str, folder, **settings) -> nn.Module:
    """A random model of transformers whose every number has a say, saved in `folder` with a tokenizer."""
    torch.manual_seed(0)
    if kind == "llama":
        shape = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape |= {"num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": False}
        config = transformers.LlamaConfig(vocab_size=300, **(shape | settings), eos_token_id=0, bos_token_id=None)
        model = transformers.LlamaForCausalLM(config)
    else:
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        config = transformers.GPT2Config(vocab_size=300, **(shape | settings), eos_token_id=0, bos_token_id=None)
        model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.15 * torch.randn_like(p))
    model.eval().save_pretrained(folder)
    vocabulary(folder)
    return model


SHAPES = [("llama", name) for name in LLAMAS] + [("gpt2", name) for name in GPT2S]
IDS = torch.randint(300, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind, shape", SHAPES)
@torch.no_grad()
def test_a_folder_of_transformers_gives_its_logits_and_writes_its_text(kind, shape, tmp_path):
    model = theirs(kind, tmp_path, **(LLAMAS if kind == "llama" else GPT2S)[shape])
    ours, tokenizer = load_real(tmp_path)
    assert ours.n_parameters == ours.config.n_parameters == sum(p.numel() for p in model.parameters())
    assert not ours.training and tokenizer.vocab_size == 300 and ours.config.end_id == 0
    torch.testing.assert_close(ours(IDS)[0], model(IDS).logits, rtol=1e-4, atol=1e-4)
    prompt = tokenizer.encode("The lantern")
    wrote = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0)[0, len(prompt) :]
    assert list(generate(ours, prompt, 20, temperature=0)) == wrote.tolist()
    assert first_difference(ours, model, IDS) is None


def halves(attention, base):
    """The attention turns number i of a head with number i + D / 2, as transformers does on its own order of rows."""
    from minigpt_core.beyond.compare import _rotate_halves

    def queries_and_keys(x, start=0):
        q, k = (attention.split_heads(layer(x)) for layer in (attention.query, attention.key))
        return _rotate_halves(q, base), _rotate_halves(k, base)

    attention.queries_and_keys = queries_and_keys


def transpose(part):
    part.weight = nn.Parameter(part.weight.T.contiguous())


def scale(part, factor):
    part.weight = nn.Parameter(factor * part.weight)


def other_rows(part):
    part.weight = nn.Parameter(halves_from_pairs(part.weight, 4))


def undivided(attention):
    scale(attention.query, 8**0.5)


SLIPS = [
    ("llama", lambda m: transpose(m.blocks[1].attention.output), "blocks.1.attention.output", "our matrix is theirs transposed"),
    ("gpt2", lambda m: transpose(m.blocks[0].attention.value), "blocks.0.attention.value", "our matrix is theirs transposed"),
    ("llama", lambda m: halves(m.blocks[1].attention, 10_000), "blocks.1.attention.output<", "ours turns pairs of halves, theirs turns neighbouring pairs"),
    ("llama", lambda m: other_rows(m.blocks[0].attention.key), "blocks.0.attention.key", "rows in another order: halves, not neighbouring pairs"),
    ("llama", lambda m: setattr(m.blocks[1].norm2, "eps", 1e-2), "blocks.1.norm2", "another epsilon: ours is 1.0e-02, theirs about 1.0e-06"),
    ("gpt2", lambda m: setattr(m.norm, "eps", 1e-2), "norm", "another epsilon: ours is 1.0e-02, theirs about 1.0e-05"),
    ("llama", lambda m: scale(m.norm, 3), "norm", "our gain is theirs times 3"),
    ("llama", lambda m: setattr(m, "config", dataclasses.replace(m.config, logit_scale=0.5)), "logits", "our result is theirs times 0.5"),
    ("gpt2", lambda m: undivided(m.blocks[1].attention), "blocks.1.attention.query", "our matrix is theirs times 2.828"),
    ("gpt2", lambda m: setattr(m, "head", nn.Linear(32, 300, bias=False)), "head", "their head is the token embedding, and ours is another matrix: tie it"),
    ("gpt2", lambda m: setattr(m.blocks[0].attention.output.bias, "data", torch.ones(32)), "blocks.0.attention.output", "our bias is another: 100% of its numbers differ"),
]  # fmt: skip


@pytest.mark.parametrize("kind, slip, place, how", SLIPS)
def test_the_first_place_where_two_models_part_is_found_and_how(kind, slip, place, how, tmp_path):
    model = theirs(kind, tmp_path)
    ours, _ = load_real(tmp_path)
    slip(ours)
    if place == "head":
        ours.config = dataclasses.replace(ours.config, tied=False)
    found = first_difference(ours, model, IDS)
    assert found is not None and found.place == place and found.size > 1e-4
    assert how in found.how
