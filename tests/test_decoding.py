"""The decoder in numpy against the model that it stands for."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from minigpt_core import GPT, CharTokenizer, GPTConfig, generate, load_pretrained
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.parts import GELU
from minigpt_core.decoding import Decoder, can_decode, choose, unlike_plain
from minigpt_core.layers import Block
from minigpt_core.sampling import draw, shape_logits
from minigpt_core.study.ablation import PARTS, knocked_out, remove
from minigpt_core.widgets.export import model_file

SHAPES = [dict(), dict(n_layer=1, n_head=1, n_embd=3), dict(n_layer=3, n_head=6, n_embd=48, block_size=20)]


def rough_model(shape: dict, seed: int = 0) -> GPT:
    """A model whose gains, shifts and biases are far from what they begin with."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=33, **shape)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prompt", [0, 1, 7])
def test_its_logits_are_the_models_over_a_whole_window(shape, prompt):
    model = rough_model(shape)
    ids = torch.randint(33, (1, model.config.block_size))
    expected = model(ids)[0][0].numpy()  # (T, V)
    cache = model.new_cache()
    if prompt:
        model(ids[:, :prompt], cache=cache)
    decoder = Decoder(model)
    for n in range(prompt, model.config.block_size):
        np.testing.assert_allclose(decoder.step(int(ids[0, n]), cache), expected[n], rtol=1e-4, atol=1e-4)
    assert cache.length == model.config.block_size


@torch.no_grad()
def test_the_model_can_go_on_where_the_decoder_stopped():
    model = rough_model({})
    ids = torch.randint(33, (1, 12))
    cache = model.new_cache()
    decoder = Decoder(model)
    for i in ids[0, :9].tolist():
        decoder.step(i, cache)
    torch.testing.assert_close(model(ids[:, 9:], cache=cache)[0], model(ids)[0][:, 9:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_heads_whose_scores_lie_far_apart_stay_finite():
    model = rough_model(dict(n_layer=1, n_head=2, n_embd=8))
    attention = model.blocks[0].attention
    attention.query.weight[:4] *= 1e3  # one head with scores in the thousands, the other near zero
    cache, decoder, ids = model.new_cache(), Decoder(model), [1, 2, 3, 4]
    logits = [decoder.step(i, cache) for i in ids]
    np.testing.assert_allclose(logits[-1], model(torch.tensor([ids]))[0][0, -1].numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_a_model_without_a_part_is_left_to_the_model_itself(part):
    model = remove(rough_model({}), part)
    assert can_decode(model) is False
    assert list(generate(model, [1], 20, temperature=0)) == list(generate(model, [1], 20, temperature=0, cache=False))


def test_a_model_that_is_hooked_doubled_or_patched_is_left_to_the_model_itself():
    model = rough_model({})
    assert can_decode(model)
    with knocked_out(model, [(0, 1)]):
        assert not can_decode(model)
    assert can_decode(model)
    model.blocks[0].forward = lambda x, *_: x
    assert not can_decode(model)
    assert not can_decode(rough_model({}).double())


# What can be done to a model, and the words that then say what sets it apart from the plain GPT.
CHANGES = {
    "residual": (lambda m: remove(m, "residual"), "blocks.0 is _NoResidual"),
    "pre-norm": (lambda m: remove(m, "pre-norm"), "blocks.0 is _PostNorm"),
    "norm": (lambda m: remove(m, "norm"), "blocks.0.norm1 is Identity()"),
    "positions": (lambda m: remove(m, "positions"), "position_embedding is _NoPositions()"),
    "attention": (lambda m: remove(m, "attention"), "blocks.0.attention is _Silent()"),
    "feed-forward": (lambda m: remove(m, "feed-forward"), "blocks.0.feed_forward is _Silent()"),
    "epsilon": (lambda m: setattr(m.norm, "eps", 0.1), "norm is LayerNorm((128,), eps=0.1"),
    "bias": (
        lambda m: setattr(m, "head", nn.Linear(128, 33)),
        "head is Linear(in_features=128, out_features=33, bias=True)",
    ),
    "no bias": (
        lambda m: setattr(m.blocks[1].attention, "query", nn.Linear(128, 128, bias=False)),
        "attention.query is L",
    ),
    "dropout replaced": (lambda m: setattr(m, "dropout", nn.LayerNorm(128)), "dropout is LayerNorm("),
    "heads": (lambda m: setattr(m.blocks[3].attention, "n_head", 8), "blocks.3.attention is CausalSelfAttention"),
    "parts that the plain one has elsewhere": (
        lambda m: setattr(m.blocks[2], "feed_forward", nn.Dropout(0.0)),
        "blocks.2.feed_forward is Dropout(",
    ),
    "fewer blocks": (lambda m: setattr(m, "blocks", m.blocks[:3]), "blocks.3 is missing"),
    "more blocks": (lambda m: m.blocks.append(Block(m.config)), "blocks.4 is Block"),
    "forward": (lambda m: setattr(m.blocks[0], "forward", lambda x, *_: x), "blocks.0 has another forward"),
    "split_heads": (
        lambda m: setattr(m.blocks[0].attention, "split_heads", print),
        "attention has another split_heads",
    ),
    "hook": (lambda m: m.norm.register_forward_hook(lambda *_: None), "norm has a hook"),
    "hook before": (lambda m: m.register_forward_pre_hook(lambda *_: None), "the model has a hook"),
    "weights of another shape": (
        lambda m: setattr(m.head, "weight", nn.Parameter(torch.zeros(40, 128))),
        "head.weight has the shape (40, 128)",
    ),
    "one matrix in another format": (
        lambda m: m.blocks[1].attention.key.to(torch.bfloat16),
        "key.weight is in torch.bfloat16",
    ),
    "double": (lambda m: m.double(), "token_embedding.weight is in torch.float64"),
    "half": (lambda m: m.half(), "token_embedding.weight is in torch.float16"),
}


@pytest.mark.parametrize("change, said", CHANGES.values(), ids=list(CHANGES))
def test_whatever_is_not_the_plain_model_is_left_to_the_model_itself_and_not_given_to_the_page(change, said):
    model, tokenizer = rough_model({}), CharTokenizer([chr(97 + i) for i in range(32)])
    assert can_decode(model) and unlike_plain(model) == "" and model_file(model, tokenizer)
    change(model)
    assert not can_decode(model) and said in unlike_plain(model)
    with pytest.raises(
        ValueError, match=r"^the page computes a GPT or a ComposedGPT in float32 only, and .*$"
    ) as caught:
        model_file(model, tokenizer)
    assert said in str(caught.value) and not re.search(r"\n|\($", str(caught.value))


OTHERS = {"norm": "rms", "rope_base": 1e4, "n_kv_head": 2, "qk_norm": True, "feed_forward": "swiglu", "tied": True}
COMPOSED_CHANGES = {
    "epsilon": (lambda m: setattr(m.norm, "eps", 0.1), "norm is RMSNorm()"),
    "base": (lambda m: setattr(m.blocks[0].attention, "rope_base", 1e5), "blocks.0.attention is GroupedAttention"),
    "heads": (lambda m: setattr(m.blocks[1].attention, "n_kv_head", 4), "blocks.1.attention is GroupedAttention"),
    "qk norm": (lambda m: setattr(m.blocks[1].attention, "qk_norm", False), "blocks.1.attention is GroupedAttention"),
    "another network": (
        lambda m: setattr(m.blocks[0], "feed_forward", GELU(m.config)),
        "blocks.0.feed_forward is GELU",
    ),
    "another embedding": (
        lambda m: setattr(m, "token_embedding", nn.Embedding(33, 32)),
        "its head is tied to another embedding",
    ),
    "a hook": (lambda m: m.head.register_forward_hook(lambda *_: None), "head has a hook"),
    "rotation": (lambda m: setattr(m.blocks[0].attention, "queries_and_keys", print), "has another queries_and_keys"),
    "double": (lambda m: m.double(), "token_embedding.weight is in torch.float64"),
}


@pytest.mark.parametrize("change, said", COMPOSED_CHANGES.values(), ids=list(COMPOSED_CHANGES))
def test_a_composed_model_that_is_not_that_of_its_settings_is_not_given_to_the_page(change, said):
    tokenizer = CharTokenizer([chr(97 + i) for i in range(32)])
    model = ComposedGPT(ComposedConfig(33, block_size=8, n_layer=2, n_head=4, n_embd=32, **OTHERS))
    assert model_file(model, tokenizer) == model_file(copy.deepcopy(model), tokenizer) and not can_decode(model)
    assert unlike_plain(model) == "this one is a ComposedGPT"
    change(model)
    with pytest.raises(
        ValueError, match=r"^the page computes a GPT or a ComposedGPT in float32 only, and .*$"
    ) as caught:
        model_file(model, tokenizer)
    assert said in str(caught.value) and not re.search(r"\n|\($", str(caught.value))


def test_a_model_with_experts_and_one_of_an_unknown_kind_are_not_given_to_the_page():
    class Other(ComposedGPT):
        pass

    class OtherConfig(ComposedConfig):
        pass

    tokenizer, size = CharTokenizer([chr(97 + i) for i in range(32)]), {"n_layer": 1, "n_head": 2, "n_embd": 8}
    for model, said in (
        (ComposedGPT(ComposedConfig(33, feed_forward="experts", **size)), "this one has experts"),
        (Other(ComposedConfig(33, **size)), "this one is a Other"),
        (ComposedGPT(OtherConfig(33, **size)), "OtherConfig belongs to no kind of model that is known"),
    ):
        with pytest.raises(ValueError, match=said):
            model_file(model, tokenizer)


@pytest.mark.parametrize("change", [lambda m: m.train(), lambda m: setattr(m.head, "weight", m.token_embedding.weight)])
def test_what_changes_no_text_changes_nothing(change):
    """The mode, and one matrix for the embedding and the head."""
    model, tokenizer = rough_model({}), CharTokenizer([chr(97 + i) for i in range(32)])
    change(model)
    assert can_decode(model) and model_file(model, tokenizer)
    assert list(generate(model, [1], 30)) == list(generate(model, [1], 30, cache=False))


def test_a_model_whose_weights_are_spoilt_or_that_has_another_tokenizer_is_not_given_to_the_page():
    model = rough_model({})
    with pytest.raises(ValueError, match="the tokenizer has 3 tokens and the model 33"):
        model_file(model, CharTokenizer(["a", "b"]))
    with torch.no_grad():
        model.norm.bias[3] = torch.inf
    with pytest.raises(ValueError, match="weights are not all finite"):
        model_file(model, CharTokenizer([chr(97 + i) for i in range(32)]))


@pytest.mark.parametrize("name", ["tales-char", "tales-bpe", "tales-zh"])
def test_texts_are_those_of_the_plain_way(name):
    model, _ = load_pretrained(name)
    knobs = dict(temperature=0.9, top_k=30, top_p=0.95, frequency_penalty=0.2)
    for seed in range(3):
        plain = list(generate(model, [5, 9], 150, seed=seed, cache=False, **knobs))
        assert list(generate(model, [5, 9], 150, seed=seed, **knobs)) == plain


def test_a_token_whose_numbers_are_spoilt_is_refused_in_a_sentence_when_it_comes():
    model = rough_model({})
    ids = list(generate(model, [1], 4, temperature=0))
    with torch.no_grad():
        model.token_embedding.weight[ids[1]] = torch.nan  # the second one written
    with pytest.raises(ValueError, match="the model's logits are not all finite"), np.errstate(invalid="ignore"):
        list(generate(model, [1], 4, temperature=0))


def test_its_choice_is_that_of_the_functions_one_by_one():
    random = np.random.default_rng(0)
    for _ in range(10_000):
        V = int(random.integers(1, 80))
        logits = torch.from_numpy(random.normal(0, 3, V).astype(np.float32))
        if random.random() < 0.3:
            logits = logits.round()  # with ties
        generated = torch.from_numpy(random.integers(0, V, (1, int(random.integers(0, 30)))))
        knobs = dict(
            temperature=float(random.choice([0, 0.5, 0.8, 1, 1.7])),
            top_k=[None, 1, 5, 200][random.integers(4)],
            top_p=float(random.choice([1, 0.97, 0.6, 0.1])),
            min_p=float(random.choice([0, 0.013, 0.2, 1])),
            frequency_penalty=float(random.choice([0, 0.3, -0.2])),
            presence_penalty=float(random.choice([0, 0.7, -0.5])),
        )
        u = float(random.integers(2**32)) / 2**32
        counts = np.bincount(generated[0], minlength=V)
        expected = draw(shape_logits(logits[None].double(), generated, **knobs)[0], u)
        assert choose(logits.numpy(), counts, u, **knobs) == expected, (logits, generated, knobs, u)
