"""Large batches on small machines: each way against the plain one."""

import contextlib
import copy
import math
import shutil
from dataclasses import replace

import pytest
import torch
from test_training import CONFIG, TOKENIZER, TRAIN_IDS, VAL_IDS, curve, small_model

from minigpt_core import GPT, get_batch, resume, train
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.large import Large, add_gradients, recomputed_blocks
from minigpt_core.data import MASKED
from minigpt_core.optimizer import make_optimizer
from minigpt_core.training import saved_records

EXACT = replace(
    CONFIG, precision="float32", batch_size=5
)  # with a model in float64: nothing is rounded that could be seen


def composed(**changes) -> ComposedGPT:
    torch.manual_seed(0)
    settings = dict(block_size=16, n_layer=2, n_head=2, n_embd=16) | changes
    return ComposedGPT(ComposedConfig(TOKENIZER.vocab_size, **settings))


MODELS = {
    "plain": lambda: small_model(),
    "dropout": lambda: small_model(dropout=0.2),
    "tied": lambda: composed(tied=True, rope_base=10_000, norm="rms", n_kv_head=1),
    "experts": lambda: composed(feed_forward="experts"),
}
WAYS = [
    Large(),
    Large(micro_batch=1),
    Large(micro_batch=2),  # a last group of one
    Large(micro_batch=99),
    Large(checkpoint_activations=True),
    Large(micro_batch=3, checkpoint_activations=True),
]


def gradient(model: GPT) -> torch.Tensor:
    """Of all weights, as one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def differences(a, b) -> float:
    """How far two runs are apart: the largest difference in losses, relative in the norm."""
    assert [r.step for r in a] == [r.step for r in b]
    loss = max(abs(p.train_loss - q.train_loss) for p, q in zip(a, b, strict=True))
    norm = max(abs(p.grad_norm - q.grad_norm) / q.grad_norm for p, q in zip(a, b, strict=True))
    return max(loss, norm)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("large", WAYS, ids=str)
def test_in_float64_the_curve_is_that_of_the_plain_way(name, large):
    model = MODELS[name]().double()
    plain = list(train(copy.deepcopy(model), TRAIN_IDS, VAL_IDS, EXACT))
    done = list(train(model, TRAIN_IDS, VAL_IDS, EXACT, engine=large))
    assert differences(done, plain) < 1e-9
    assert done[-1].val_loss == pytest.approx(plain[-1].val_loss, abs=1e-6)  # logits are rounded to float32 for it


@pytest.mark.parametrize("large", WAYS, ids=str)
def test_in_float32_the_gradient_is_that_of_the_plain_way(large):
    model, oracle = small_model(), small_model()
    x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=1)
    oracle(x, y)[1].backward()
    config = replace(EXACT, clip=math.inf)
    run = train(model, TRAIN_IDS, VAL_IDS, config, engine=large)
    loss, norm = run._find_gradient(model, run.optimizer, x, y, config, 1)
    assert loss == pytest.approx(oracle(x, y)[1].item(), abs=1e-6)
    assert torch.allclose(gradient(model), gradient(oracle), atol=1e-6, rtol=0)
    assert norm == pytest.approx(gradient(oracle).norm().item(), abs=1e-6)


def test_masked_targets_count_in_the_whole_batch_and_not_in_their_group():
    model, oracle = small_model().double(), small_model().double()
    x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=1)
    y = y.clone()
    y[0, 3:], y[2], y[3, :7] = MASKED, MASKED, MASKED  # the group of row 2 alone has no target at all
    expected = oracle(x, y)[1]
    expected.backward()
    for size in (1, 2, 5):
        model.zero_grad()
        loss = add_gradients(model, x, y, torch.arange(5).split(size))
        assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
        assert torch.allclose(gradient(model), gradient(oracle), atol=1e-12, rtol=0)
    means = torch.stack([model(x[i : i + 1], y[i : i + 1])[1] for i in (0, 1, 3, 4)]).mean()
    assert abs(means.item() - expected.item()) > 1e-3  # the mean of the groups' means is another number
    with pytest.raises(ValueError, match="no target to learn"):
        add_gradients(model, x, torch.full_like(y, MASKED), torch.arange(5).split(2))


def test_checkpointing_computes_each_block_twice_and_leaves_the_model_as_it_was():
    model, calls = small_model(), []
    model.blocks[0].norm1.register_forward_hook(lambda *_: calls.append(1))
    x, y = get_batch(TRAIN_IDS, 16, 4, seed=0, step=1)
    with recomputed_blocks(model):
        model(x, y)[1].backward()
    assert len(calls) == 2
    model(x, y)[1].backward()
    assert len(calls) == 3 and "forward" not in vars(model.blocks[0])


def kept(model: GPT, x, y) -> int:
    """Bytes that the forward pass keeps for the backward pass."""
    sizes = {}

    def note(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(x, y)
    return sum(sizes.values())


def test_checkpointing_keeps_a_fraction_of_the_memory():
    model = small_model(n_layer=8)
    x, y = get_batch(TRAIN_IDS, 16, 16, seed=0, step=1)
    with recomputed_blocks(model):
        short = kept(model, x, y)
    assert short < kept(model, x, y) / 4


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_short_numbers_learn_nearly_the_same(precision):
    plain = list(train(small_model(), TRAIN_IDS, VAL_IDS, EXACT))
    config = replace(EXACT, precision=precision)
    done = list(train(small_model(), TRAIN_IDS, VAL_IDS, config, engine=Large(micro_batch=2)))
    assert done[-1].val_loss == pytest.approx(plain[-1].val_loss, abs=0.05)
    assert curve(done) != curve(plain)
    assert all(math.isfinite(record.grad_norm) for record in done)


def test_float16_without_a_scaled_loss_is_refused_and_would_lose_small_gradients():
    config = replace(EXACT, precision="float16")
    with pytest.raises(ValueError, match=r"float16' loses small gradients .*: train with engine=Large\(\)"):
        train(small_model(), TRAIN_IDS, VAL_IDS, config)
    lost = []
    for factor in (1.0, 2.0**16):
        model = small_model()
        x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=1)
        precision = torch.autocast("cpu", dtype=torch.float16)
        small = 1e-3 * factor  # as the gradients of a larger batch, or late in a run, are
        add_gradients(model, x, y, [torch.arange(5)], precision=precision, factor=small)
        lost.append((model.blocks[0].attention.query.weight.grad == 0).double().mean().item())
    assert lost[0] > 0.5 and lost[1] < 0.01


def test_a_scale_that_is_too_large_is_halved_in_the_same_step_and_saved(tmp_path):
    config = replace(EXACT, precision="float16")
    whole = list(train(small_model(), TRAIN_IDS, VAL_IDS, config, engine=Large()))
    run = train(small_model(), TRAIN_IDS, VAL_IDS, config, tmp_path, engine=Large())
    run._scale = 2.0**40
    first = next(iter(run))
    assert run._scale < 2.0**30 and first.grad_norm == pytest.approx(whole[0].grad_norm, rel=0.01)
    again = resume(small_model(), TRAIN_IDS, VAL_IDS, tmp_path, engine=Large.of_run(tmp_path))
    assert again._scale == run._scale
    assert len(list(again)) == 19


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_stopped_run_goes_on_to_the_bit_and_with_other_groups_nearly(precision, tmp_path):
    config, large = replace(EXACT, precision=precision), Large(micro_batch=2)
    whole = list(train(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, config, engine=large))
    with contextlib.closing(
        iter(train(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, config, tmp_path, engine=large))
    ) as r:
        for _ in range(7):
            next(r)
    assert Large.of_run(tmp_path) == large
    run = resume(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, tmp_path, engine=Large.of_run(tmp_path))
    for record in run:
        if record.step == 12:
            break
    assert curve(saved_records(tmp_path)) == curve(whole[:12])
    other = Large.of_run(tmp_path, micro_batch=3, checkpoint_activations=True)
    rest = list(resume(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, tmp_path, engine=other))
    assert differences(rest, whole[12:]) < (1e-4 if precision == "float32" else 0.05)
    assert Large.of_run(tmp_path) == other


def test_a_plain_run_is_resumed_by_another_engine(tmp_path):
    for record in train(small_model(), TRAIN_IDS, VAL_IDS, EXACT, tmp_path):
        if record.step == 5:
            break
    assert Large.of_run(tmp_path) == Large()
    assert len(list(resume(small_model(), TRAIN_IDS, VAL_IDS, tmp_path, engine=Large(micro_batch=1)))) == 15


def test_weights_in_bfloat16_lose_small_updates():
    """Autocast keeps the weights in float32; a model that is bfloat16 itself stands still where steps are small."""
    config = replace(EXACT, learning_rate=1e-4, warmup_steps=0, weight_decay=0.0, clip=math.inf)
    stood = []
    for model in (small_model(), small_model().bfloat16()):
        optimizer = make_optimizer(model, config)
        before = model.norm.weight.detach().clone()  # ones: the next smaller bfloat16 is 0.996
        for step in range(1, 11):
            x, y = get_batch(TRAIN_IDS, 16, 5, seed=0, step=step)
            optimizer.zero_grad()
            model(x, y)[1].backward()
            optimizer.step()
        stood.append((model.norm.weight == before).double().mean().item())
    assert stood == [0.0, 1.0]


def test_compilation_without_a_compiler_is_one_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="compile needs a C\\+\\+ compiler"):
        train(small_model(), TRAIN_IDS, VAL_IDS, CONFIG, engine=Large(compile=True))


def test_settings_that_cannot_work_are_named():
    for value in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"micro_batch={value} must be a whole number of at least 1"):
            Large(micro_batch=value)
    with pytest.raises(ValueError, match="compile='yes' must be True or False"):
        Large(compile="yes")
    with pytest.raises(ValueError, match="leave out checkpoint_activations"):
        Large(compile=True, checkpoint_activations=True)
    with pytest.raises(ValueError, match=r"compile draws another dropout .* dropout=0 \(now 0.1\)"):
        train(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, CONFIG, engine=Large(compile=True))
    with pytest.raises(ValueError, match=r"experts drop among the tokens .* dropout=0 \(now 0.1\)"):
        train(composed(feed_forward="experts", dropout=0.1), TRAIN_IDS, VAL_IDS, CONFIG, engine=Large())


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++ on this machine: compilation is NOT tested")
def test_compiled_the_curve_is_that_of_the_plain_way():
    config = replace(EXACT, steps=5, warmup_steps=1)
    plain = list(train(small_model(n_layer=1), TRAIN_IDS, VAL_IDS, config))
    done = list(train(small_model(n_layer=1), TRAIN_IDS, VAL_IDS, config, engine=Large(compile=True)))
    assert differences(done, plain) < 1e-4
