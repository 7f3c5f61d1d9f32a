"""What is seen inside a model, against the same computed step by step."""

import math

import pytest
import torch

from minigpt_core import GPT, CharTokenizer, GPTConfig, attention_maps
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.study.lens import (
    bits_per_byte,
    induction_scores,
    inner_values,
    repeat_probability,
    token_probabilities,
)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(11, block_size=24, n_layer=2, n_head=2, n_embd=8, dropout=0.5))
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.5)
    return model


def test_the_first_layers_map_is_softmax_of_query_times_key(model):
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    x = model.token_embedding(ids) + model.position_embedding(torch.arange(5))
    x = model.blocks[0].norm1(x)
    q, k = (layer(x)[0, :, 4:] for layer in (model.blocks[0].attention.query, model.blocks[0].attention.key))  # head 1
    rows = []
    for t in range(5):
        weights = [math.exp((q[t] @ k[s]).item() / math.sqrt(4)) for s in range(t + 1)]
        rows.append([w / sum(weights) for w in weights] + [0.0] * (4 - t))
    assert torch.allclose(attention_maps(model, ids)[0, 0, 1], torch.tensor(rows), atol=1e-5)


def test_maps_are_taken_without_dropout_and_the_model_stays_in_training(model):
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    model.train()
    assert torch.equal(attention_maps(model, ids), attention_maps(model, ids)) and model.training
    assert torch.allclose(attention_maps(model, ids).sum(-1), torch.ones(2, 1, 2, 5))


def test_the_induction_score_is_the_attention_to_what_followed_last_time(model):
    once = torch.randint(1, 11, (64, 6), generator=torch.Generator().manual_seed(0))
    maps = attention_maps(model, once.repeat(1, 2))  # (n_layer, B, H, T, T)
    # place 6 holds what place 0 held, so it should look at place 1, and so on; place 11 holds what place 5 held
    looks = torch.stack([maps[..., t, t - 6 + 1] for t in range(6, 12)])
    assert torch.allclose(induction_scores(model, period=6), looks.mean(dim=(0, 2)), atol=1e-6)


def test_a_head_that_copies_by_design_has_a_score_near_one():
    """Positions alone can do it where the period is known: each place looks at the one that is period - 1 back."""
    period, T = 4, 8
    copier = GPT(GPTConfig(5, block_size=T, n_layer=1, n_head=1, n_embd=T)).eval()
    attention = copier.blocks[0].attention
    with torch.no_grad():
        for p in copier.parameters():
            p.zero_()
        copier.blocks[0].norm1.weight.fill_(1)
        copier.position_embedding.weight.copy_(torch.eye(T))
        attention.query.weight.copy_(100 * torch.eye(T).roll(1 - period, dims=0))  # asks for the place period - 1 back
        attention.key.weight.copy_(torch.eye(T))
    assert induction_scores(copier, period=period).item() > 0.9


@pytest.mark.parametrize("period", [1, 13, 2.0, "3", True])
def test_a_period_of_which_two_do_not_fit_into_the_window_is_refused(model, period):
    with pytest.raises(ValueError, match=f"period={period!r} must be a whole number, at least 2 and at most 12"):
        induction_scores(model, period=period)


def test_the_probability_of_a_repeated_phrase_token_by_token(model):
    model.eval()
    phrases = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    found = repeat_probability(model, phrases, 3)
    assert repeat_probability(model.train(), phrases, 3) == found and model.training  # without dropout in either mode
    model.eval()
    for k in range(3):
        log_p = []
        for phrase in phrases:
            text = phrase.repeat(k + 1)
            for place in (len(text) - 2, len(text) - 1):  # the second half of the last repetition
                log_p.append(model(text[None, :place])[0][0, -1].log_softmax(0)[text[place]].item())
        assert found[k] == pytest.approx(math.exp(sum(log_p) / 4), rel=1e-4)


def test_a_repeated_phrase_is_read_without_dropout_and_the_model_stays_in_training(model):
    phrases = torch.tensor([[1, 2, 3, 4]])
    model.train()
    model.blocks[0].eval()  # a part of its own mode keeps it
    assert repeat_probability(model, phrases, 3) == repeat_probability(model, phrases, 3)
    assert model.training and model.blocks[1].training and not model.blocks[0].training


@pytest.mark.parametrize(
    "idx, said",
    [
        ([[1, 2]], "a list"),
        (torch.tensor([1, 2]), r"int64 of shape \(2,\)"),
        (torch.tensor([[1.0]]), r"float32 of shape \(1, 1\)"),
        (torch.zeros(1, 0, dtype=torch.long), r"int64 of shape \(1, 0\)"),
        (torch.tensor([[1, 11]]), "from 1 to 11, the model's tokens from 0 to 10"),
        (torch.tensor([[-1, 2]]), "from -1 to 2, the model's"),
        (torch.ones(1, 26, dtype=torch.long), "do not fit into the context window of block_size=24"),
    ],
)
def test_what_are_no_ids_of_the_model_is_refused_in_a_sentence(model, idx, said):
    with pytest.raises(ValueError, match=said):
        attention_maps(model, idx)
    with pytest.raises(ValueError, match=said):
        repeat_probability(model, idx, 1)


def test_phrases_without_a_second_half_or_never_said_are_refused(model):
    with pytest.raises(ValueError, match=r"shape \(3, 1\).*no second half"):
        repeat_probability(model, torch.ones(3, 1, dtype=torch.long), 2)
    for times in (0, 1.5, "2"):
        with pytest.raises(ValueError, match=f"times={times!r} must be"):
            repeat_probability(model, torch.ones(1, 4, dtype=torch.long), times)
    with pytest.raises(ValueError, match="texts=0 must be"):
        induction_scores(model, period=3, texts=0)
    with pytest.raises(ValueError, match="vocab_size=1"):
        induction_scores(GPT(GPTConfig(1, block_size=8, n_layer=1, n_head=1, n_embd=8)), period=3)


def test_a_model_with_a_layer_without_attention_has_no_maps_and_keeps_no_hooks():
    model = GPT(GPTConfig(11, block_size=8, n_layer=2, n_head=2, n_embd=8))
    model.blocks[1].attention = torch.nn.Identity()
    with pytest.raises(ValueError, match="only 1 of the model's 2 layers have attention"):
        attention_maps(model, torch.tensor([[1, 2]]))
    assert not model.blocks[0].attention._forward_hooks


def test_the_inner_values_add_up_without_dropout_and_leave_no_hooks(model):
    model.train()
    ids = torch.tensor([3, 1, 4, 1, 5])
    seen = inner_values(model, ids, layer=0)
    assert model.training and not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert torch.equal(seen["token_embedding"] + seen["position_embedding"], seen["entering"])
    assert torch.equal(seen["entering"] + seen["attention"], seen["between"])
    assert torch.equal(seen["between"] + seen["feed_forward"], seen["leaving"])
    value = seen["value"].view(5, 2, 4).transpose(0, 1)  # (H, T, D)
    assert torch.allclose((seen["weights"] @ value).transpose(0, 1).reshape(5, 8), seen["joined"], atol=1e-5)
    assert torch.equal(seen["weights"], attention_maps(model, ids[None])[0, 0])
    assert torch.equal(inner_values(model, ids, layer=1)["entering"], seen["leaving"])


def test_what_has_no_such_inside_is_refused_in_a_sentence(model):
    ids = torch.tensor([3, 1, 4])
    with pytest.raises(ValueError, match="layer=2 is none of the model's 2 layers"):
        inner_values(model, ids, layer=2)
    with pytest.raises(ValueError, match="ids"):
        inner_values(model, torch.tensor([11]), layer=0)
    with pytest.raises(ValueError, match="not a FastGPT"):
        inner_values(FastGPT(FastConfig(11, block_size=24, n_layer=1, n_head=2, n_embd=8)), ids, layer=0)
    hollow = GPT(GPTConfig(11, block_size=24, n_layer=1, n_head=2, n_embd=8))
    hollow.blocks[0].attention = torch.nn.Identity()
    with pytest.raises(ValueError, match="layer 0 of the model lacks attention"):
        inner_values(hollow, ids, layer=0)


def test_bits_per_byte_do_not_depend_on_the_tokenizer_of_a_model_that_knows_nothing():
    """Each of V tokens is as likely as any other: log2 V bits a token, by the bytes of the text, not by its characters."""
    text = "café"
    tokenizer = CharTokenizer.train(text)
    model = GPT(GPTConfig(tokenizer.vocab_size, block_size=8, n_layer=1, n_embd=8))
    torch.nn.init.zeros_(model.head.weight)
    assert bits_per_byte(model, tokenizer, text) == pytest.approx(4 * math.log2(5) / 5)


@torch.no_grad()
def test_a_smaller_window_is_what_the_model_sees():
    torch.manual_seed(0)
    model, ids = GPT(GPTConfig(11, block_size=16, n_layer=1, n_embd=8)).eval(), torch.randint(11, (30,))
    found = token_probabilities(model, ids, stride=2, window=4)
    assert found.shape == (29,)
    for i in range(29):  # two are predicted in one window, which ends with the second of them
        end = min(i + 2 - i % 2, 29)
        first = max(0, end - 4)
        expected = model(ids[None, first:end])[0][0, i - first].softmax(-1)[ids[i + 1]]
        assert found[i].item() == pytest.approx(expected.item(), abs=1e-6)
    with pytest.raises(ValueError, match="window=17 is more than the model's block_size=16"):
        token_probabilities(model, ids, window=17)
    with pytest.raises(ValueError, match="stride=5 is more than the window of 4 tokens"):
        token_probabilities(model, ids, stride=5, window=4)
