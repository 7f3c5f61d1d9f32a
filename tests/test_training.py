"""The training loop: its schedule, its optimizer, its evaluation, and that a run can be repeated, stopped and resumed."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch

from minigpt_core import (
    GPT,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    evaluate,
    get_batch,
    load_corpus,
    load_model,
    resume,
    train,
)
from minigpt_core.optimizer import learning_rate_at, make_optimizer
from minigpt_core.training import saved_records

TEXT = load_corpus("tales")[:12_000]
TOKENIZER = CharTokenizer.train(TEXT)
IDS = torch.tensor(TOKENIZER.encode(TEXT))
TRAIN_IDS, VAL_IDS = IDS[:11_000], IDS[11_000:]
CONFIG = TrainConfig(
    steps=20, batch_size=4, warmup_steps=5, eval_every=5, checkpoint_every=5, learning_rate=1e-2, device="cpu"
)


def small_model(**changes) -> GPT:
    torch.manual_seed(0)
    settings = dict(block_size=16, n_layer=2, n_head=2, n_embd=16) | changes
    return GPT(GPTConfig(TOKENIZER.vocab_size, **settings))


def curve(records) -> list[tuple]:
    """Everything in the records but the timings."""
    return [(r.step, r.learning_rate, r.train_loss, r.val_loss, r.grad_norm) for r in records]


def test_learning_rate_rises_straight_then_falls_as_a_cosine_to_the_floor():
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0, min_learning_rate=0.1)
    assert [learning_rate_at(s, config) for s in (1, 5, 10)] == [0.1, 0.5, 1.0]
    assert learning_rate_at(60, config) == pytest.approx(0.55)
    assert learning_rate_at(110, config) == pytest.approx(0.1)
    assert learning_rate_at(1, TrainConfig(steps=10, warmup_steps=0, learning_rate=1.0)) < 1.0


def test_schedule_agrees_with_pytorchs_cosine():
    config = TrainConfig(steps=100, warmup_steps=0, learning_rate=1.0, min_learning_rate=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.2)
    for step in range(1, 101):
        optimizer.step()
        cosine.step()
        assert learning_rate_at(step, config) == pytest.approx(cosine.get_last_lr()[0], abs=1e-9)


def test_only_matrices_of_linear_layers_decay():
    model = small_model()
    decayed, rest = make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.3 and rest["weight_decay"] == 0.0
    assert {names[id(p)] for p in rest["params"]} == {
        n for n in names.values() if n.endswith("bias") or "norm" in n or "embedding" in n
    }
    assert len(decayed["params"]) + len(rest["params"]) == len(names)


def test_first_step_equals_the_step_written_out_by_hand():
    """AdamW's first update is lr * sign(gradient), nearly, after clipping and decay: computed here from the formulas."""
    config = replace(CONFIG, warmup_steps=0, weight_decay=0.5, clip=0.1)
    model = small_model()
    before = copy.deepcopy(model)
    record = next(iter(train(model, TRAIN_IDS, VAL_IDS, config)))
    x, y = get_batch(TRAIN_IDS, 16, 4, seed=0, step=1)
    loss = before(x, y)[1]
    loss.backward()
    norm = math.sqrt(sum((p.grad**2).sum().item() for p in before.parameters()))
    assert record.train_loss == pytest.approx(loss.item()) and record.grad_norm == pytest.approx(norm, rel=1e-5)
    scale = min(1.0, config.clip / (norm + 1e-6))
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        decay = 0.5 if new.ndim == 2 and "embedding" not in name else 0.0
        g = old.grad * scale
        expected = old * (1 - record.learning_rate * decay) - record.learning_rate * g / (g.abs() + 1e-8)
        assert torch.allclose(new, expected, atol=1e-6), name


@pytest.mark.parametrize("length", [900, 17, 18, 33, 34])
def test_evaluation_predicts_every_token_once(length):
    model = small_model(dropout=0.5)
    ids = VAL_IDS[:length]
    losses = []
    model.eval()
    for start in range(0, length - 1, 16):
        window = ids[start : start + 17]
        logits = model(window[None, :-1])[0]
        losses += torch.nn.functional.cross_entropy(logits[0], window[1:], reduction="none").tolist()
    assert len(losses) == length - 1
    model.train()
    assert evaluate(model, ids) == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert model.training


def test_evaluation_over_some_windows_is_fixed_and_cheaper():
    model = small_model()
    some = evaluate(model, VAL_IDS, windows=7)
    assert some == evaluate(model, VAL_IDS, windows=7) != evaluate(model, VAL_IDS)
    assert evaluate(model, VAL_IDS, windows=10**6) == evaluate(model, VAL_IDS)


def test_training_learns_and_evaluates_where_it_should():
    records = list(train(small_model(), TRAIN_IDS, VAL_IDS, CONFIG))
    assert [r.step for r in records] == list(range(1, 21))
    assert [r.step for r in records if r.val_loss is not None] == [5, 10, 15, 20]
    assert records[0].train_loss == pytest.approx(math.log(TOKENIZER.vocab_size), abs=0.1)
    assert records[-1].val_loss < records[4].val_loss < math.log(TOKENIZER.vocab_size)
    assert all(r.tokens_per_second > 0 for r in records)
    assert all(a.elapsed < b.elapsed for a, b in itertools.pairwise(records))


@pytest.mark.parametrize("dropout, optimizer", [(0.0, "adamw"), (0.2, "adamw"), (0.0, "muon")])
def test_a_rerun_and_a_resumed_run_give_the_same_curve_to_the_bit(tmp_path, dropout, optimizer):
    config = replace(CONFIG, optimizer=optimizer)
    whole_model = small_model(dropout=dropout)
    whole = list(train(whole_model, TRAIN_IDS, VAL_IDS, config))
    assert curve(train(small_model(dropout=dropout), TRAIN_IDS, VAL_IDS, config)) == curve(whole)

    for record in train(small_model(dropout=dropout), TRAIN_IDS, VAL_IDS, config, tmp_path):
        torch.rand(3)  # what the caller draws must not matter
        if record.step == 7:
            break  # leaving the loop saves
    assert curve(saved_records(tmp_path)) == curve(whole[:7])
    model = small_model(n_layer=2, dropout=dropout)
    with torch.no_grad():
        model.head.weight.fill_(9.0)  # resume must replace whatever is there
    rest = list(resume(model, TRAIN_IDS, VAL_IDS, tmp_path))
    assert curve(rest) == curve(whole[7:])
    assert curve(saved_records(tmp_path)) == curve(whole)
    assert all(
        a.elapsed < b.elapsed for a, b in zip(saved_records(tmp_path), saved_records(tmp_path)[1:], strict=False)
    )
    for name, tensor in load_model(tmp_path).state_dict().items():
        assert torch.equal(tensor, whole_model.state_dict()[name]), name


def test_another_seed_gives_another_curve():
    other = list(train(small_model(), TRAIN_IDS, VAL_IDS, replace(CONFIG, seed=1)))
    assert curve(other) != curve(train(small_model(), TRAIN_IDS, VAL_IDS, CONFIG))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    list(train(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, replace(CONFIG, steps=5)))
    torch.manual_seed(5)
    records = iter(train(small_model(dropout=0.1), TRAIN_IDS, VAL_IDS, replace(CONFIG, steps=5)))
    torch.manual_seed(5)
    next(records)
    assert torch.equal(torch.rand(4), expected)


def test_resuming_a_finished_run_yields_nothing(tmp_path):
    list(train(small_model(), TRAIN_IDS, VAL_IDS, CONFIG, tmp_path))
    assert list(resume(small_model(), TRAIN_IDS, VAL_IDS, tmp_path)) == []


def test_resume_refuses_another_shape_and_other_data(tmp_path):
    list(train(small_model(), TRAIN_IDS, VAL_IDS, replace(CONFIG, steps=5), tmp_path))
    with pytest.raises(ValueError, match="n_layer=2, this model n_layer=3"):
        resume(small_model(n_layer=3), TRAIN_IDS, VAL_IDS, tmp_path)
    with pytest.raises(ValueError, match="another text, split or tokenizer"):
        resume(small_model(), TRAIN_IDS[1:], VAL_IDS, tmp_path)
    with pytest.raises(ValueError, match="missing"):
        resume(small_model(), TRAIN_IDS, VAL_IDS, tmp_path / "nowhere")
    file = tmp_path / "training.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        resume(small_model(), TRAIN_IDS, VAL_IDS, tmp_path)


def test_parts_shorter_than_the_window_are_refused_before_any_step():
    with pytest.raises(ValueError, match="training part has 11000 and the validation part 16"):
        train(small_model(), TRAIN_IDS, VAL_IDS[:16], CONFIG)


IDS_THAT_ARE_NONE = {
    "a list": ([1, 2, 3], "must be a tensor of int64 of shape (N,).* but is a list"),
    "text": ("Mina", "but is a str"),
    "fractions": (torch.rand(500), r"but is torch.float32 of shape \(500,\)"),
    "bytes": (torch.zeros(500, dtype=torch.uint8), "but is torch.uint8"),
    "a batch": (torch.zeros(2, 500, dtype=torch.long), r"but is torch.int64 of shape \(2, 500\)"),
    "one number": (torch.tensor(3), r"of shape \(\)"),
    "too large": (torch.tensor([0, 3, 99] * 50), f"from 0 to {TOKENIZER.vocab_size - 1}, .* but go from 0 to 99"),
    "negative": (torch.tensor([0, -1] * 50), "but go from -1 to 0"),
}


@pytest.mark.parametrize("name", IDS_THAT_ARE_NONE)
def test_what_are_no_ids_of_the_model_is_one_sentence_wherever_they_are_given(name, tmp_path):
    ids, message = IDS_THAT_ARE_NONE[name]
    message = message.replace("(N,)", r"\(N,\)")
    list(train(small_model(), TRAIN_IDS, VAL_IDS, replace(CONFIG, steps=5), tmp_path))
    for call in (
        lambda: evaluate(small_model(), ids),
        lambda: train(small_model(), ids, VAL_IDS, CONFIG),
        lambda: train(small_model(), TRAIN_IDS, ids, CONFIG),
        lambda: resume(small_model(), ids, VAL_IDS, tmp_path),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    if name not in ("too large", "negative"):
        with pytest.raises(ValueError, match=message):
            get_batch(ids, 16, 4, seed=0, step=1)


@pytest.mark.parametrize("length", [0, 1])
def test_evaluation_needs_a_token_to_predict(length):
    with pytest.raises(
        ValueError, match=f"at least 2 tokens, one to predict from and one to predict, but hold {length}"
    ):
        evaluate(small_model(), VAL_IDS[:length])
    assert evaluate(small_model(), VAL_IDS[:2]) > 0


@pytest.mark.parametrize("name, value", [("windows", 0), ("windows", 2.5), ("batch_size", 0), ("batch_size", True)])
def test_sizes_of_an_evaluation_that_cannot_be_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be a whole number of at least 1"):
        evaluate(small_model(), VAL_IDS, **{name: value})


def test_evaluating_leaves_the_mode_of_every_part_as_it_was():
    """Also where it fails, and where a part was silenced on purpose."""
    model = small_model(dropout=0.5)
    model.train()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    evaluate(model, VAL_IDS)
    assert [module.training for module in model.modules()] == before and len(set(before)) == 2

    def fail(*_):
        assert not model.training
        raise RuntimeError("out of memory")

    model.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(model, VAL_IDS)
    assert [module.training for module in model.modules()] == before


def test_an_unusable_device_is_one_sentence():
    with pytest.raises(ValueError, match="device='tpu9' cannot be used"):
        train(small_model(), TRAIN_IDS, VAL_IDS, replace(CONFIG, device="tpu9"))


def test_bfloat16_on_request_learns_too():
    records = list(train(small_model(), TRAIN_IDS, VAL_IDS, replace(CONFIG, precision="bfloat16")))
    reference = list(train(small_model(), TRAIN_IDS, VAL_IDS, CONFIG))
    assert records[-1].val_loss == pytest.approx(reference[-1].val_loss, abs=0.05)
    assert curve(records) != curve(reference)


def test_article_recipe_is_the_articles():
    config = TrainConfig.article()
    assert (config.learning_rate, config.betas, config.weight_decay) == (3e-4, (0.9, 0.95), 0.01)
    assert (config.warmup_steps, config.min_learning_rate, config.clip) == (100, 0.0, 1.0)
    assert (config.batch_size, config.steps, config.eval_every, config.eval_windows) == (32, 1000, 100, None)
    model = GPTConfig.article(65)
    assert (model.block_size, model.n_layer, model.n_head, model.n_embd) == (64, 2, 4, 128)
