"""A GPT of chosen parts: each part against its plain definition, and the whole against the plain GPT and against itself."""

import math
from dataclasses import asdict

import pytest
import torch

from minigpt_core import GPT, GPTConfig, generate, load_model, save_model
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.parts import GELU, Experts, GroupedAttention, RMSNorm, SwiGLU, rotate

SHAPE = {"vocab_size": 17, "block_size": 24, "n_layer": 2, "n_head": 4, "n_embd": 32, "end_id": 0}
CHOICES = {
    "plain": {},
    "rms": {"norm": "rms"},
    "rotary": {"rope_base": 1_000.0},
    "grouped": {"n_kv_head": 2},
    "one key": {"n_kv_head": 1, "rope_base": 10_000.0},
    "qk norm": {"qk_norm": True},
    "gelu": {"feed_forward": "gelu"},
    "squared relu": {"feed_forward": "squared-relu", "n_hidden": 40},
    "swiglu, no bias": {"feed_forward": "swiglu", "n_hidden": 40, "bias": False},
    "experts": {"feed_forward": "experts"},
    "tied": {"tied": True},
    "softcap, scale": {"softcap": 5.0, "logit_scale": 2.0},
    "scaled start": {"start": "scaled"},
    "zero start": {"start": "zero", "norm_input": True},
    "previous tokens": {"previous_tokens": 2},
    "a small Llama": {"norm": "rms", "rope_base": 1e5, "n_kv_head": 2, "feed_forward": "swiglu", "bias": False, "tied": True},
}  # fmt: skip


def lively(**choice) -> ComposedGPT:
    """One whose every part has a say."""
    torch.manual_seed(0)
    model = ComposedGPT(ComposedConfig(**(SHAPE | choice))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_with_nothing_chosen_it_is_the_plain_gpt():
    ours, plain = lively(), GPT(GPTConfig(**SHAPE)).eval()
    plain.load_state_dict(ours.state_dict())
    ids = torch.randint(17, (3, 24))
    assert torch.equal(ours(ids)[0], plain(ids)[0])
    torch.manual_seed(5)
    fresh = ComposedGPT(ComposedConfig(**SHAPE))
    for name, p in fresh.named_parameters():
        assert (p == 0).all() if name.endswith("bias") else (p == 1).all() or abs(p.std() - 0.02) < 0.003, name


@pytest.mark.parametrize("choice", CHOICES)
@torch.no_grad()
def test_it_sees_no_future_the_cache_changes_nothing_and_it_comes_back_from_its_folder(choice, tmp_path):
    model = lively(**CHOICES[choice])
    ids = torch.randint(17, (2, 24), generator=torch.Generator().manual_seed(0))
    whole = model(ids)[0]
    changed = ids.clone()
    changed[:, 13:] = (changed[:, 13:] + 1) % 17
    torch.testing.assert_close(model(changed)[0][:, :13], whole[:, :13])
    cache, parts = model.new_cache(batch_size=2), []
    for part in (ids[:, :9], ids[:, 9:10], ids[:, 10:20], ids[:, 20:21], ids[:, 21:]):
        parts.append(model(part, cache=cache)[0])
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-4)
    assert list(generate(model, [3], 40, seed=1)) == list(generate(model, [3], 40, seed=1, cache=False))
    assert model.n_parameters == model.config.n_parameters
    assert model.config.n_block_parameters == sum(p.numel() for p in model.blocks.parameters())
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert type(again) is ComposedGPT and again.config == model.config
    torch.testing.assert_close(again(ids)[0], whole)


def test_the_cache_of_grouped_heads_is_as_much_smaller():
    sizes = [lively(n_kv_head=n).new_cache().keys.numel() for n in (4, 2, 1)]
    assert sizes == [sizes[0], sizes[0] // 2, sizes[0] // 4]


@torch.no_grad()
def test_parts_are_their_definitions():
    torch.manual_seed(0)
    x, config = torch.randn(2, 5, 32), ComposedConfig(**SHAPE)
    norm = RMSNorm(32, eps=0.5)
    norm.weight.data = torch.randn(32)
    torch.testing.assert_close(norm(x), torch.nn.functional.rms_norm(x, (32,), norm.weight, eps=0.5))
    gelu = GELU(config)
    by_hand = [
        0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
        for v in gelu.widen(x).flatten().tolist()
    ]
    torch.testing.assert_close(gelu(x), gelu.narrow(torch.tensor(by_hand).view(2, 5, 128)), rtol=1e-4, atol=1e-5)
    glu = SwiGLU(config, n_hidden=12, bias=False)
    gate = glu.gate(x)
    torch.testing.assert_close(glu(x), glu.narrow(gate / (1 + (-gate).exp()) * glu.widen(x)), rtol=1e-4, atol=1e-5)
    assert [p.shape for p in glu.parameters()] == [(12, 32), (32, 12), (12, 32)]


@torch.no_grad()
def test_each_position_is_answered_by_the_experts_that_its_router_chose():
    torch.manual_seed(0)
    experts, x = Experts(ComposedConfig(**SHAPE), experts=5, chosen=2), torch.randn(2, 5, 32)
    y = experts(x)
    for b in range(2):
        for t in range(5):
            scores = experts.router(x[b, t])
            first, second = scores.argsort(descending=True)[:2].tolist()
            share = torch.sigmoid(scores[first] - scores[second])
            expected = share * experts.experts[first](x[b, t]) + (1 - share) * experts.experts[second](x[b, t])
            torch.testing.assert_close(y[b, t], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_heads_of_a_group_share_a_key_and_normalised_ones_have_one_length():
    torch.manual_seed(0)
    config, x = ComposedConfig(**SHAPE), torch.randn(1, 6, 32)
    grouped = GroupedAttention(config, n_kv_head=2, rope_base=100.0)
    whole = GroupedAttention(config, rope_base=100.0)
    whole.load_state_dict(grouped.state_dict() | {
        f"{name}.{kind}": getattr(getattr(grouped, name), kind).view(2, 8, *([32] if kind == "weight" else [])).repeat_interleave(2, 0).flatten(0, 1)
        for name in ("key", "value") for kind in ("weight", "bias")
    })  # fmt: skip
    torch.testing.assert_close(grouped(x), whole(x))
    torch.testing.assert_close(grouped.weights(x), whole.weights(x))
    q, k = GroupedAttention(config, qk_norm=True).queries_and_keys(x)
    for normalised in (q, k):
        torch.testing.assert_close(normalised.square().mean(-1), torch.ones(1, 4, 6), rtol=1e-2, atol=1e-2)


def test_a_tied_head_learns_from_both_ends_and_a_logit_cannot_pass_the_cap():
    model = lively(tied=True)
    ids = torch.randint(17, (2, 24))
    model(ids, ids)[1].backward()
    free = lively()
    free.load_state_dict(model.state_dict() | {"head.weight": model.token_embedding.weight.detach().clone()})
    free(ids, ids)[1].backward()
    both = free.token_embedding.weight.grad + free.head.weight.grad
    torch.testing.assert_close(model.token_embedding.weight.grad, both, rtol=1e-3, atol=1e-5)
    capped, plain = lively(softcap=2.0), lively()
    torch.testing.assert_close(capped(ids)[0], 2 * torch.tanh(plain(ids)[0] / 2))
    assert capped(ids)[0].abs().max() <= 2


def test_the_outputs_begin_smaller_by_the_root_of_their_number():
    torch.manual_seed(0)
    model = ComposedGPT(ComposedConfig(100, n_layer=8, n_embd=128, start="scaled"))
    assert abs(model.blocks[3].attention.output.weight.std() / (0.02 / 4) - 1) < 0.05
    assert abs(model.blocks[3].attention.query.weight.std() / 0.02 - 1) < 0.05


def test_another_base_turns_the_last_pair_by_that_much():
    x = torch.ones(1, 1, 2, 8)
    angle = torch.view_as_complex(rotate(x, 0, base=500.0)[0, 0, 1].view(4, 2)).angle() - math.pi / 4
    torch.testing.assert_close(angle, torch.tensor([500.0 ** (-2 * i / 8) for i in range(4)]))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"norm": "batch"}, "norm='batch' is none of 'layer', 'rms'"),
        ({"feed_forward": "elu"}, "feed_forward='elu' is none of 'relu', 'gelu', 'squared-relu', 'swiglu', 'experts'"),
        ({"n_kv_head": 3}, "n_head=4 is not divisible by n_kv_head=3"),
        ({"n_kv_head": 0}, "n_kv_head=0 must be a whole number of at least 1"),
        ({"rope_base": 0.0}, "rope_base=0.0 must be a number in"),
        ({"softcap": -1}, "softcap=-1 must be a number in"),
        ({"n_embd": 12, "rope_base": 10_000.0}, "n_embd=12 over n_head=4 is odd"),
        ({"previous_tokens": -1}, "previous_tokens=-1 must be a whole number of at least 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ComposedConfig(**(SHAPE | wrong))


def test_the_settings_of_a_fast_model_saved_before_there_were_parts_are_read():
    from minigpt_core.beyond.fast import FastConfig
    from minigpt_core.registry import config_of

    old = {"kind": "fast", "vocab_size": 65, "n_layer": 2, "n_head": 2, "n_embd": 128, "block_size": 64, "dropout": 0.0}
    assert config_of(old | {"end_id": 0, "fused": True, "previous_tokens": 3}) == FastConfig(65, n_layer=2, end_id=0)
    assert asdict(FastConfig(65))["feed_forward"] == "squared-relu"
