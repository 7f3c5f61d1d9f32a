"""Attention, layers, model and lens: equal to PyTorch's and to GPT-2's, causal, and the same with a cache."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minigpt_core import GPT, GPTConfig, attention_maps
from minigpt_core.attention import CausalSelfAttention, attention_weights, causal_mask
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.layers import Block, FeedForward

examples = settings(max_examples=50, deadline=None, derandomize=True, database=None)
BOTH_PATHS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
CLOSE = dict(atol=1e-5, rtol=1e-5)

B, T, C, H, V = 3, 12, 24, 4, 17


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads only slow models of this size, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Large random weights, biases and norms, so that no part of the module can be wrong unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3 + ("norm" in name and "weight" in name))
    return module


def small(**changes) -> GPTConfig:
    return GPTConfig(**(dict(vocab_size=V, block_size=T, n_layer=3, n_head=H, n_embd=C) | changes))


def lively_gpt(**changes) -> GPT:
    return lively(GPT(small(**changes))).eval()


def random_ids(*shape: int, seed: int = 0, high: int = V) -> torch.Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def random_stream(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# Attention


def test_attention_weights_are_those_of_the_definition_written_as_loops():
    q, k = random_stream(2, 3, 4, 5), random_stream(2, 3, 6, 5) * 2
    weights = attention_weights(q, k)
    for b in range(2):
        for h in range(3):
            for t in range(4):
                scores = [(q[b, h, t] @ k[b, h, s]).item() / math.sqrt(5) for s in range(t + 3)]  # position t + 2
                total = sum(math.exp(x) for x in scores)
                expected = [math.exp(x) / total for x in scores] + [0.0] * (6 - len(scores))
                assert weights[b, h, t].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_mask_lets_the_last_row_see_everything():
    q, k = torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 4, 1)
    assert causal_mask(q, k).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert causal_mask(k, k).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_attention_weights_stand_huge_scores():
    weights = attention_weights(torch.full((1, 1, 4, 2), 1e18), random_stream(1, 1, 4, 2))
    assert torch.isfinite(weights).all() and torch.allclose(weights.sum(-1), torch.ones(1, 1, 4))


@BOTH_PATHS
def test_attention_equals_pytorchs_scaled_dot_product(fused):
    attention = lively(CausalSelfAttention(small(fused=fused))).eval()
    x = random_stream(B, T, C)
    q, k, v = (
        f(x).unflatten(2, (H, C // H)).transpose(1, 2) for f in (attention.query, attention.key, attention.value)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    assert torch.allclose(attention(x), attention.output(mixed), **CLOSE)


@BOTH_PATHS
@pytest.mark.parametrize("n_head", [1, 2, 24])
def test_attention_equals_pytorchs_multihead_attention(fused, n_head):
    ours = lively(CausalSelfAttention(small(fused=fused, n_head=n_head))).eval()
    theirs = nn.MultiheadAttention(C, n_head, batch_first=True).eval()
    with torch.no_grad():
        parts = ours.query, ours.key, ours.value
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    x = random_stream(B, T, C)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected, weights = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    assert torch.allclose(ours(x), expected, **CLOSE)
    assert torch.allclose(ours.weights(x), weights, **CLOSE)


def test_plain_and_fused_models_agree():
    fused, plain = lively_gpt(fused=True), lively_gpt(fused=False)
    for length in (1, 2, T):
        ids = random_ids(B, length)
        assert torch.allclose(fused(ids)[0], plain(ids)[0], **CLOSE)


def test_plain_and_fused_gradients_agree():
    ids, gradients = random_ids(B, T + 1), []
    for fused in (True, False):
        model = lively_gpt(fused=fused)
        model(ids[:, :-1], ids[:, 1:])[1].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(*gradients, atol=1e-4, rtol=1e-3)


# The whole model


def test_the_model_equals_gpt2_of_transformers():
    """With ReLU and an output layer of its own; GPT-2 stores its matrices transposed, query, key and value side by side."""
    transformers = pytest.importorskip("transformers")
    ours = lively_gpt()
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V, n_positions=T, n_embd=C, n_layer=3, n_head=H, n_inner=4 * C, activation_function="relu",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    state = theirs.state_dict()
    pairs = {"wte": ours.token_embedding, "wpe": ours.position_embedding, "ln_f": ours.norm}
    for i, block in enumerate(ours.blocks):
        pairs |= {f"h.{i}.ln_1": block.norm1, f"h.{i}.ln_2": block.norm2}
        attention, feed = block.attention, block.feed_forward
        joined = (attention.query, attention.key, attention.value)
        for name, linears in {
            f"h.{i}.attn.c_attn": joined,
            f"h.{i}.attn.c_proj": (attention.output,),
            f"h.{i}.mlp.c_fc": (feed.widen,),
            f"h.{i}.mlp.c_proj": (feed.narrow,),
        }.items():
            state[f"transformer.{name}.weight"] = torch.cat([linear.weight.T for linear in linears], dim=1)
            state[f"transformer.{name}.bias"] = torch.cat([linear.bias for linear in linears])
    for name, module in pairs.items():
        state |= {f"transformer.{name}.{key}": value for key, value in module.state_dict().items()}
    state["lm_head.weight"] = ours.head.weight
    theirs.load_state_dict(state)
    with torch.no_grad():
        for length in (1, 5, T):
            ids = random_ids(B, length, seed=length)
            assert torch.allclose(ours(ids)[0], theirs(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_block_is_attention_then_feed_forward_on_the_stream():
    block = lively(Block(small())).eval()
    x = random_stream(B, T, C)
    after = x + block.attention(block.norm1(x))
    assert torch.allclose(block(x), after + block.feed_forward(block.norm2(after)))


def test_feed_forward_works_on_each_position_alone():
    feed = lively(FeedForward(small())).eval()
    x = random_stream(B, T, C)
    assert torch.allclose(feed(x)[:, 3:4], feed(x[:, 3:4]), **CLOSE)
    assert feed.widen.out_features == 4 * C and (feed.widen(x) < 0).any()
    assert torch.allclose(feed(x), feed.widen(x).clamp(min=0) @ feed.narrow.weight.T + feed.narrow.bias, **CLOSE)


MODELS = {fused: lively_gpt(fused=fused) for fused in (True, False)}


@examples
@given(st.booleans(), st.integers(1, T - 1), st.integers(0, 2**16), st.data())
def test_the_future_changes_nothing_that_came_before(fused, changed, seed, data):
    ids = random_ids(1, T, seed=seed)
    other = ids.clone()
    other[0, changed:] = torch.tensor(
        data.draw(st.lists(st.integers(0, V - 1), min_size=T - changed, max_size=T - changed))
    )
    with torch.no_grad():
        before, after = (MODELS[fused](x)[0][:, :changed] for x in (ids, other))
    assert torch.allclose(before, after, atol=1e-6, rtol=0)


@BOTH_PATHS
def test_every_earlier_token_matters(fused):
    """The other side of causality: a model that sees nothing would pass the test before."""
    ids = random_ids(1, T)
    with torch.no_grad():
        last = MODELS[fused](ids)[0][0, -1]
        for position in range(T):
            other = ids.clone()
            other[0, position] = (ids[0, position] + 1) % V
            assert not torch.allclose(MODELS[fused](other)[0][0, -1], last, atol=1e-4)


def test_texts_in_a_batch_do_not_see_each_other():
    ids = random_ids(B, T)
    with torch.no_grad():
        together = MODELS[True](ids)[0]
        for b in range(B):
            assert torch.allclose(together[b], MODELS[True](ids[b : b + 1])[0][0], **CLOSE)


@pytest.mark.parametrize("config", [GPTConfig(vocab_size=65), GPTConfig.article(200)], ids=["default", "article"])
def test_the_first_loss_is_that_of_guessing(config):
    torch.manual_seed(0)
    ids = random_ids(16, 65, high=config.vocab_size)
    loss = GPT(config)(ids[:, :-1], ids[:, 1:])[1]
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=0.05)


def test_weights_begin_small_and_biases_at_zero():
    torch.manual_seed(0)
    for name, p in GPT(GPTConfig(vocab_size=65)).named_parameters():
        if name.endswith("bias"):
            assert not p.any(), name
        elif "norm" in name:
            assert (p == 1).all(), name
        else:
            assert p.std().item() == pytest.approx(0.02, rel=0.05) and abs(p.mean().item()) < 0.001, name


def test_the_loss_is_the_mean_cross_entropy_in_nats():
    ids = random_ids(B, T + 1)
    model = lively_gpt()
    logits, loss = model(ids[:, :-1], ids[:, 1:])
    surprise = [-logits[b, t].log_softmax(0)[ids[b, t + 1]].item() for b in range(B) for t in range(T)]
    assert loss.item() == pytest.approx(sum(surprise) / len(surprise), rel=1e-5)
    assert logits.shape == (B, T, V) and model(ids[:, :-1])[1] is None


@pytest.mark.parametrize("length", [T + 1, 10 * T])
def test_more_tokens_than_the_window_are_refused_with_both_numbers(length):
    with pytest.raises(ValueError, match=f"^{length} tokens do not fit .* block_size={T}$"):
        lively_gpt()(random_ids(1, length))


@pytest.mark.parametrize("kind", ["plain", "fast"])
@pytest.mark.parametrize(
    "idx, targets, said",
    [
        ([[1, 2]], None, "idx must be token ids, int64 of shape .B, T., .* not a list"),
        (torch.tensor([1, 2]), None, r"idx must be .* not torch.int64 of shape \(2,\)"),
        (torch.tensor([[1.0]]), None, r"idx must be .* not torch.float32 of shape \(1, 1\)"),
        (torch.zeros(1, 0, dtype=torch.long), None, r"idx must be .* of shape \(1, 0\)"),  # its loss would be no number
        (torch.tensor([[1, V]]), None, f"idx go from 1 to {V}, the model's tokens from 0 to {V - 1}: use"),
        (torch.tensor([[-1, 2]]), None, "idx go from -1 to 2"),
        (torch.tensor([[1, 2]]), torch.tensor([[1]]), r"targets must have the shape of idx, \(1, 2\), not \(1, 1\)"),
        (torch.tensor([[1, 2]]), torch.tensor([1, 2]), r"targets must have the shape of idx, \(1, 2\), not \(2,\)"),
    ],
)  # fmt: skip
def test_what_is_no_batch_of_its_tokens_is_refused_in_a_sentence(kind, idx, targets, said):
    """PyTorch would say "index out of range in self", or compute the loss of targets that lie elsewhere."""
    model = lively_gpt() if kind == "plain" else FastGPT(FastConfig(V, block_size=T))
    with pytest.raises(ValueError, match=said):
        model(idx, targets)


def test_one_head_one_layer_one_channel_one_token_work():
    tiny = GPT(GPTConfig(vocab_size=1, block_size=1, n_layer=1, n_head=1, n_embd=1))
    logits, loss = tiny(torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long))
    assert logits.shape == (1, 1, 1) and loss.item() == 0


# Dropout


@BOTH_PATHS
def test_dropout_acts_in_training_only(fused):
    torch.manual_seed(0)
    ids = random_ids(B, T)
    model = lively_gpt(dropout=0.5, fused=fused)
    reference = lively_gpt(dropout=0.0, fused=fused)
    assert torch.allclose(model(ids)[0], reference(ids)[0], **CLOSE)
    model.train()
    assert not torch.allclose(model(ids)[0], model(ids)[0], atol=1e-2)
    assert torch.allclose(reference.train()(ids)[0], reference.eval()(ids)[0], **CLOSE)
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])


@BOTH_PATHS
def test_attention_drops_outputs_not_weights(fused):
    """With all values 1 and the identity at the end, what is not dropped is 1, scaled up, if no weight is dropped."""
    attention = CausalSelfAttention(small(dropout=0.5, fused=fused))
    with torch.no_grad():
        attention.value.weight.zero_(), attention.value.bias.fill_(1)
        attention.output.weight.copy_(torch.eye(C)), attention.output.bias.zero_()
    torch.manual_seed(0)
    y = attention(random_stream(50, T, C))
    assert (y[:, -1] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05), "half of the outputs are dropped"
    kept = y[:, -1][y[:, -1] != 0]
    assert torch.allclose(kept, torch.full_like(kept, 2)), "what stays is scaled up, and no sum of weights varies"
    assert torch.allclose(attention.eval()(random_stream(B, T, C)), torch.ones(B, T, C))


def test_embeddings_and_feed_forward_are_dropped_too():
    torch.manual_seed(0)
    model = GPT(small(dropout=0.5)).train()
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(random_ids(50, T))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    y = model.blocks[0].feed_forward(random_stream(50, T, C))
    assert (y == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


# The cache


@BOTH_PATHS
@pytest.mark.parametrize("batch", [1, B])
@pytest.mark.parametrize(
    "chunks",
    [[1] * T, [T], [5, 7], [3, 4, 5], [1, T - 1], [T - 1, 1], [6] + [1] * (T - 6), [1, 2, 1, 3, 5]],
    ids=lambda c: "+".join(map(str, c)),
)
def test_with_a_cache_the_logits_are_those_of_the_full_pass(fused, batch, chunks):
    model, ids = MODELS[fused], random_ids(batch, T, seed=7)
    with torch.no_grad():
        full = model(ids)[0]
        cache = model.new_cache(batch)
        parts = [model(part, cache=cache)[0] for part in ids.split(chunks, dim=1)]
    assert cache.length == T
    assert torch.allclose(torch.cat(parts, dim=1), full, **CLOSE)


def test_a_full_cache_refuses_more_and_stays_as_it_was():
    model = MODELS[True]
    cache = model.new_cache()
    with torch.no_grad():
        model(random_ids(1, T - 1), cache=cache)
        with pytest.raises(ValueError, match=f"{T + 1} tokens do not fit .* block_size={T}"):
            model(random_ids(1, 2), cache=cache)
        assert cache.length == T - 1
        ids = torch.cat([random_ids(1, T - 1), torch.tensor([[3]])], dim=1)
        assert torch.allclose(model(ids[:, -1:], cache=cache)[0], model(ids)[0][:, -1:], **CLOSE)


def test_a_new_cache_is_empty_and_shares_nothing():
    model = MODELS[True]
    first, second = model.new_cache(), model.new_cache()
    with torch.no_grad():
        model(random_ids(1, 5), cache=first)
        assert (first.length, second.length) == (5, 0)
        assert torch.allclose(model(random_ids(1, 5), cache=second)[0], model(random_ids(1, 5))[0], **CLOSE)


# The lens


@BOTH_PATHS
def test_attention_maps_have_rows_that_sum_to_one_and_no_future(fused):
    maps = attention_maps(MODELS[fused], random_ids(B, T))
    assert maps.shape == (3, B, H, T, T) and not maps.requires_grad
    assert torch.allclose(maps.sum(-1), torch.ones(3, B, H, T), atol=1e-5)
    assert (maps.triu(1) == 0).all() and (maps >= 0).all()
    assert maps.std() > 0.05, "no uniform attention"


@BOTH_PATHS
def test_attention_maps_are_the_weights_that_the_model_used(fused):
    """Mixing each layer's values by its map gives what its output layer received."""
    model, ids = MODELS[fused], random_ids(B, T)
    values, mixed = [], []
    hooks = []
    for block in model.blocks:
        hooks.append(block.attention.value.register_forward_hook(lambda m, i, output: values.append(output)))
        hooks.append(block.attention.output.register_forward_pre_hook(lambda m, inputs: mixed.append(inputs[0])))
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    maps = attention_maps(model, ids)
    for weights, v, y in zip(maps, values, mixed, strict=True):
        v = v.unflatten(2, (H, C // H)).transpose(1, 2)
        assert torch.allclose((weights @ v).transpose(1, 2).flatten(2), y, **CLOSE)


@pytest.mark.parametrize("training", [True, False])
def test_attention_maps_leave_the_model_as_it_was(training):
    model = lively_gpt(dropout=0.5).train(training)
    for ids in (random_ids(1, T), random_ids(1, T + 1)):  # the second is refused
        try:
            maps = attention_maps(model, ids)
        except ValueError:
            assert ids.shape[1] == T + 1
        assert all(module.training == training for module in model.modules())
        assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(maps, attention_maps(model, random_ids(1, T))), "without dropout, whatever the mode"
    assert torch.is_grad_enabled()
