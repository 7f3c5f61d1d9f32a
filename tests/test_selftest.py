"""The device self-test: a sound device passes with room to spare, and each planted fault is found and named."""

import re

import pytest
import torch
import torch.nn.functional as F

from minigpt_core.cli import main
from minigpt_core.study import selftest
from minigpt_core.study.selftest import Check, Report, check_device

SDPA, LAYER_NORM, ADAMW_STEP = F.scaled_dot_product_attention, F.layer_norm, torch.optim.AdamW.step
RELU = torch.Tensor.relu


@pytest.fixture(scope="module")
def cpu() -> Report:
    return check_device("cpu")


def test_a_sound_cpu_passes_with_room_to_spare(cpu):
    assert cpu.ok and cpu.verdict.startswith("device 'cpu' learns as it should")
    assert [check.kind for check in cpu.checks] == [
        "outputs",
        "gradient",
        "AdamW",
        "cache",
        "bfloat16",
        "float16",
        "losses",
        "by heart",
    ]
    assert all(0 < check.share < (0.3 if check.kind in ("losses", "by heart") else 0.1) for check in cpu.checks)
    lines = str(cpu).split("\n")
    assert len(lines) == 10 and lines[-1] == cpu.verdict and not re.search("WRONG|not on this device", str(cpu))


@pytest.fixture
def short(monkeypatch):
    """Only the steps whose losses are compared; nothing is known by heart after them."""
    monkeypatch.setattr(selftest, "STEPS", selftest.FIRST)
    monkeypatch.setattr(selftest, "KNOWN", 10)
    monkeypatch.setattr(selftest.Learner, "recites", lambda self: True)


def test_it_leaves_the_readers_random_numbers_alone(short):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert check_device("cpu").ok
    assert torch.equal(torch.get_rng_state(), before)


def test_what_learned_too_little_is_not_known_by_heart(short, monkeypatch):
    monkeypatch.setattr(selftest, "KNOWN", 0.05)
    assert re.search(
        "after 10 steps on one batch the loss is 1.[0-9]+, and should be below 0.05", str(check_device("cpu"))
    )


# Faults of a device that computes in float32, or shorter, for the reference in float64 is the CPU's.


def without_the_mask(q, k, v, attn_mask=None, is_causal=False):
    return SDPA(q, k, v, attn_mask=attn_mask, is_causal=is_causal and q.dtype != torch.float32)


def leaks_in_bfloat16(q, k, v, attn_mask=None, is_causal=False):
    """Three of four positions see up to three that come later: as PyTorch's issue 195910 reports of MPS."""
    if q.dtype != torch.bfloat16 or not is_causal:
        return SDPA(q, k, v, attn_mask=attn_mask, is_causal=is_causal)
    seen = torch.arange(q.shape[2]) // 4 * 4 + 3
    return SDPA(q, k, v, attn_mask=torch.arange(k.shape[2]) <= seen[:, None])


def no_mask_with_a_cache(q, k, v, attn_mask=None, is_causal=False):
    return SDPA(q, k, v, attn_mask=None if q.dtype == torch.float32 else attn_mask, is_causal=is_causal)


def query_gradient_turned(q, k, v, attn_mask=None, is_causal=False):
    if q.dtype == torch.float32 and q.requires_grad:
        q = q * 1
        q.register_hook(lambda gradient: -gradient)
    return SDPA(q, k, v, attn_mask=attn_mask, is_causal=is_causal)


def norm_forgets_its_bias(x, shape, weight=None, bias=None, eps=1e-5):
    return LAYER_NORM(x, shape, weight, None if x.dtype == torch.float32 else bias, eps)


def not_finite(x):
    return RELU(x) / 0 if x.dtype == torch.float32 else RELU(x)


def in_tf32(x):
    """Ten bits after the point."""
    exact = RELU(x)
    short = (exact.detach().view(torch.int32) & ~0x1FFF).view(torch.float32) if x.dtype == torch.float32 else exact
    return exact + (short - exact).detach()


def nothing_learned(self, closure=None):
    if self.param_groups[0]["params"][0].dtype == torch.float64:
        ADAMW_STEP(self)


def no_transposed_step(self, closure=None):
    """As PyTorch's issue 118115 reported of MPS: what is not contiguous is left as it was."""
    kept = [p.detach().clone() for group in self.param_groups for p in group["params"]]
    ADAMW_STEP(self)
    for p, value in zip((p for group in self.param_groups for p in group["params"]), kept, strict=True):
        if p.dtype == torch.float32 and not p.is_contiguous():
            p.data.copy_(value)


FAULTS = {
    without_the_mask: (F, "scaled_dot_product_attention", "outputs", "attention in blocks.0 differs by"),
    norm_forgets_its_bias: (F, "layer_norm", "outputs", "the output of blocks.0.norm1 differs by"),
    not_finite: (torch.Tensor, "relu", "outputs", "ReLU in blocks.0 differs by nan"),
    in_tf32: (torch.Tensor, "relu", "outputs", "ReLU in blocks.0 differs by"),
    query_gradient_turned: (
        F,
        "scaled_dot_product_attention",
        "gradient",
        "the gradient of blocks.1.attention.query.bias differs by",
    ),
    nothing_learned: (torch.optim.AdamW, "step", "AdamW", "the update of token_embedding.weight differs by"),
    no_transposed_step: (torch.optim.AdamW, "step", "AdamW", "the update of a transposed matrix differs by"),
    no_mask_with_a_cache: (
        F,
        "scaled_dot_product_attention",
        "cache",
        "the logits of the next quarter, with the cache differs by",
    ),
    leaks_in_bfloat16: (F, "scaled_dot_product_attention", "bfloat16", "attention in blocks.0 differs by"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_named_at_the_place_where_it_begins(fault, short, monkeypatch):
    owner, name, kind, words = FAULTS[fault]
    monkeypatch.setattr(owner, name, fault)
    report = check_device("cpu")
    first = next(check for check in report.checks if check.fault)
    assert (first.kind, first.fault[: len(words)]) == (kind, words)
    assert f"computes something else: {words}" in report.verdict and "WRONG" in str(report)
    assert ("train with precision='float32'" in report.verdict) == (fault is leaks_in_bfloat16)


def test_what_writes_something_else_is_seen(monkeypatch):
    monkeypatch.setattr(selftest, "generate", lambda model, ids, n, temperature: iter([0] * n))
    report = check_device("cpu")
    assert [check.kind for check in report.checks if check.fault] == ["by heart"]
    assert "it does not recite what it knows" in report.verdict


def test_losses_that_are_wrong_only_while_it_learns_are_seen(short, monkeypatch):
    right = selftest.Learner.learn
    wrong = {4: 0.02, 6: float("nan")}

    def learn(self, steps):
        for step, loss in enumerate(right(self, steps), start=1):
            yield loss + (wrong.get(step, 0) if self.model.head.weight.dtype == torch.float32 else 0)

    monkeypatch.setattr(selftest.Learner, "learn", learn)
    for step in (4, 6):
        report = check_device("cpu")
        assert [check.kind for check in report.checks if check.fault] == ["losses"]
        assert re.search(rf"the loss of step {step} is [\dna.]+, not \d", report.verdict)
        wrong.pop(step)


def test_a_device_that_cannot_compute_a_part_is_one_sentence_and_short_numbers_are_not_needed(short, monkeypatch):
    def relu(x):
        if x.dtype == refused:
            raise NotImplementedError("no kernel\nfor relu")
        return RELU(x)

    monkeypatch.setattr(torch.Tensor, "relu", relu)
    refused = torch.float32
    with pytest.raises(
        ValueError, match="device 'cpu' cannot do what training needs, take another: no kernel for relu"
    ):
        check_device("cpu")
    refused = torch.bfloat16
    report = check_device("cpu")
    assert not any(check.fault for check in report.checks if check.kind == "bfloat16")
    assert "bfloat16     right  not on this device" in str(report)
    with pytest.raises(ValueError, match="device='tpu9' cannot be used"):
        check_device("tpu9")


def test_the_verdict_says_what_to_do():
    fault = Check("outputs", "x", 9.0, "x differs by 3 (its largest value is 0.2)")
    words = "device 'mps' computes something else: x differs by 3 (its largest value is 0.2); "
    assert Report("mps", (fault,)).verdict == f"{words}train with device='cpu', and report it to PyTorch"
    assert "take another version of PyTorch, and report" in Report("cpu", (fault,)).verdict


def test_the_command_prints_the_table_and_fails_where_the_device_does(cpu, monkeypatch, capsys):
    monkeypatch.setattr(selftest, "check_device", lambda device: cpu)
    assert main(["selftest", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{cpu}\n"
    wrong = Report("mps", (Check("outputs", "x", 9.0, "x differs by 3 (its largest value is 0.2)"),))
    monkeypatch.setattr(selftest, "check_device", lambda device: wrong)
    assert main(["selftest"]) == 2
    output = capsys.readouterr()
    assert "outputs      WRONG  x differs by 3" in output.out
    assert output.err == (
        "minigpt: device 'mps' computes something else: x differs by 3 (its largest value is 0.2); "
        "train with --device cpu, and report it to PyTorch\n"
    )
