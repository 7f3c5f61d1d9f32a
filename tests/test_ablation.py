"""Parts taken out of a model, against the same written out by hand with the model's own weights."""

import re

import pytest
import torch

from minigpt_core import GPT, GPTConfig
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.study.ablation import PARTS, knocked_out, remove

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def small(n_layer: int = 2) -> GPT:
    """A model whose weights are large enough for every part to make a difference."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(11, block_size=8, n_layer=n_layer, n_head=2, n_embd=8)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.5)
    return model


@torch.no_grad()
def by_hand(model: GPT, part: str) -> torch.Tensor:
    """Logits (1, T, V) without `part`, from the weights of an untouched model."""
    attention = (lambda block, x: 0 * x) if part == "attention" else (lambda block, x: block.attention(x))
    feed_forward = (lambda block, x: 0 * x) if part == "feed-forward" else (lambda block, x: block.feed_forward(x))
    norm = (lambda layer, x: x) if part == "norm" else (lambda layer, x: layer(x))
    x = model.token_embedding(IDS)
    if part != "positions":
        x = x + model.position_embedding(torch.arange(IDS.shape[1]))
    for block in model.blocks:
        if part == "residual":
            x = feed_forward(block, norm(block.norm2, attention(block, norm(block.norm1, x))))
        elif part == "pre-norm":
            x = norm(block.norm1, x + attention(block, x))
            x = norm(block.norm2, x + feed_forward(block, x))
        else:
            x = x + attention(block, norm(block.norm1, x))
            x = x + feed_forward(block, norm(block.norm2, x))
    return model.head(norm(model.norm, x))


@pytest.mark.parametrize("part", PARTS)
def test_without_a_part_it_computes_what_is_left(part):
    whole, without = small(), remove(small(), part)
    with torch.no_grad():
        assert torch.allclose(without(IDS)[0], by_hand(whole, part), atol=1e-5)
        assert not torch.allclose(without(IDS)[0], whole(IDS)[0], atol=1e-2)


def test_the_hand_written_model_is_the_model_where_nothing_is_removed():
    with torch.no_grad():
        assert torch.allclose(small()(IDS)[0], by_hand(small(), "nothing"), atol=1e-5)


def test_without_attention_a_position_knows_only_its_own_token():
    model, changed = remove(small(), "attention"), IDS.clone()
    changed[0, 2] = 7
    with torch.no_grad():
        moved = (model(IDS)[0] - model(changed)[0]).abs().amax(2)[0]
    assert moved[2] > 0 and moved.count_nonzero() == 1


def test_what_is_removed_can_still_be_trained_and_counted():
    for part in PARTS:
        model = remove(small(), part)
        loss = model(IDS[:, :-1], IDS[:, 1:])[1]
        loss.backward()
        assert loss.isfinite() and model.n_parameters == sum(p.numel() for p in model.parameters())
    assert remove(small(), "positions").n_parameters == small().n_parameters - 8 * 8


def test_an_unknown_part_is_named():
    with pytest.raises(
        ValueError, match="there is no part 'embedding' to remove: choose among attention, feed-forward"
    ):
        remove(small(), "embedding")


@pytest.mark.parametrize("part", PARTS)
def test_what_is_left_keeps_its_mode_its_number_format_and_its_weights(part):
    model = GPT(GPTConfig(11, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.5)).double().eval()
    model.blocks[1].attention.train()
    weights = {name: p for name, p in model.named_parameters()}
    remove(model, part)
    assert torch.equal(model.eval()(IDS)[0], model(IDS)[0]) and model(IDS)[0].dtype == torch.float64
    assert all(p is weights[name] for name, p in model.named_parameters())


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_removed_in_the_mode_of_the_model(part):
    for training in (True, False):
        model = remove(small().train(training), part)
        assert {module.training for module in model.modules()} == {training}


@pytest.mark.parametrize("first, then", [("attention", "residual"), ("feed-forward", "pre-norm"), ("norm", "residual")])
def test_parts_can_be_removed_one_after_the_other(first, then):
    one, other = remove(remove(small(), first), then), remove(remove(small(), then), first)
    with torch.no_grad():
        assert torch.equal(one(IDS)[0], other(IDS)[0])
        assert not torch.equal(one(IDS)[0], remove(small(), then)(IDS)[0])


def test_what_is_not_there_to_be_removed_is_refused():
    with pytest.raises(ValueError, match="from the plain GPT only, not from a FastGPT"):
        remove(FastGPT(FastConfig(11)), "positions")
    with pytest.raises(ValueError, match="not those of the plain GPT any more: 'pre-norm'"):
        remove(remove(small(), "residual"), "pre-norm")
    with (
        pytest.raises(ValueError, match="layer 0 has no attention any more: there is no head 1"),
        knocked_out(remove(small(), "attention"), [(0, 1)]),
    ):
        pass


def test_a_head_knocked_out_is_one_whose_columns_of_the_output_matrix_are_zero():
    model, silenced = small(), small()
    with torch.no_grad():
        silenced.blocks[1].attention.output.weight[:, 4:] = 0  # head 1 of two, each 4 wide
        silenced.blocks[0].attention.output.weight[:, :4] = 0
        expected, whole = silenced(IDS)[0], model(IDS)[0]
        with knocked_out(model, [(1, 1), (0, 0)]):
            assert torch.allclose(model(IDS)[0], expected, atol=1e-6)
        assert torch.equal(model(IDS)[0], whole)
    assert not torch.allclose(expected, whole, atol=1e-2)


def test_the_heads_are_back_after_an_error():
    model = small()
    with torch.no_grad():
        whole = model(IDS)[0]
        with pytest.raises(RuntimeError, match="stop"), knocked_out(model, [(0, 0)]):
            raise RuntimeError("stop")
        assert torch.equal(model(IDS)[0], whole)


@pytest.mark.parametrize("heads", [[3], [(0,)], [(0, 1, 2)], [(0.0, 1)], ["01"], (0, 1)])
def test_what_is_no_pair_of_layer_and_head_is_refused(heads):
    with (
        pytest.raises(ValueError, match=re.escape(f"such as (0, 1), not {heads[0]!r}")),
        knocked_out(small(), heads),
    ):
        pass


@pytest.mark.parametrize("head", [(2, 0), (0, 2), (-1, 0)])
def test_a_head_that_does_not_exist_is_named(head):
    with (
        pytest.raises(ValueError, match=f"there is no head {head[1]} in layer {head[0]}"),
        knocked_out(small(), [head]),
    ):
        pass
