"""Weights of one byte: what they compute, what they take, and that text does not depend on how it is computed."""

import copy

import pytest
import torch
from torch import nn

from minigpt_core import GPT, GPTConfig, generate
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.quantized import Int8Embedding, Int8Linear, quantize, weight_bytes

LLAMA = {"norm": "rms", "rope_base": 1e4, "n_kv_head": 2, "feed_forward": "swiglu", "bias": False}


def model(**choice) -> ComposedGPT:
    torch.manual_seed(0)
    made = ComposedGPT(ComposedConfig(97, block_size=32, n_layer=2, n_embd=64, end_id=0, **choice)).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made


@torch.no_grad()
def test_a_product_is_that_of_the_rounded_matrix():
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 20), torch.randn(2, 5, 48)
    narrow = Int8Linear(linear.weight, linear.bias)
    scale = linear.weight.abs().amax(1) / 127
    rounded = (linear.weight / scale[:, None]).round() * scale[:, None]
    assert (rounded - linear.weight).abs().max() <= scale.max() / 2 + 1e-7
    exact = x @ rounded.T + linear.bias
    assert (narrow(x) - exact).abs().max() < 0.01 * exact.abs().max()  # bfloat16 has 8 bits
    torch.testing.assert_close(narrow(x[0, 0]), narrow(x)[0, 0])
    ids = torch.tensor([[3, 0, 19]])
    torch.testing.assert_close(Int8Embedding(narrow)(ids), rounded[ids])


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_a_model_takes_a_quarter_and_says_nearly_the_same(tied):
    whole = model(tied=tied, **LLAMA)
    narrow = quantize(copy.deepcopy(whole))
    matrices = sum(p.numel() for p in whole.parameters() if p.dim() == 2)
    rows = sum(len(p) for p in whole.parameters() if p.dim() == 2)
    vectors = sum(p.numel() for p in whole.parameters() if p.dim() < 2)
    assert weight_bytes(whole) == 4 * (matrices + vectors)
    assert weight_bytes(narrow) == matrices + 4 * rows + 4 * vectors
    ids = torch.randint(97, (2, 32))
    ours, theirs = narrow(ids)[0], whole(ids)[0]
    assert 0 < (ours - theirs).abs().max() < 0.05 * theirs.abs().max()
    assert (ours.argmax(-1) == theirs.argmax(-1)).float().mean() > 0.9


@pytest.mark.parametrize(
    "choice", [{}, {"tied": True, **LLAMA}, {"previous_tokens": 2, "feed_forward": "squared-relu"}]
)
def test_cached_uncached_and_batched_it_writes_the_same(choice):
    narrow = quantize(model(**choice))
    wrote = list(generate(narrow, [5, 6], 40, temperature=0))
    assert wrote == list(generate(narrow, [5, 6], 40, temperature=0, cache=False))
    with torch.no_grad():
        one, two = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 1, 7, 2]])
        both = narrow(torch.cat([one, two]))[0]
        torch.testing.assert_close(both, torch.cat([narrow(one)[0], narrow(two)[0]]), rtol=1e-2, atol=1e-2)
        assert torch.equal(both.argmax(-1), torch.cat([narrow(one)[0], narrow(two)[0]]).argmax(-1))


def test_it_is_not_trained_on_and_a_plain_model_is_left_alone():
    narrow = quantize(model())
    assert not [name for name, p in narrow.named_parameters() if p.dim() == 2]
    with pytest.raises(ValueError, match="only a ComposedGPT is quantized in place, and this is a GPT"):
        quantize(GPT(GPTConfig(97)))
