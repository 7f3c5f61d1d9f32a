"""Settings: what cannot work is refused with its name and value, and nothing else is."""

import json
import math
from dataclasses import FrozenInstanceError, asdict, fields

import pytest

from minigpt_core import GPT, GPTConfig, TrainConfig
from minigpt_core.beyond.fast import FastConfig
from minigpt_core.registry import build

nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    "name, value",
    [
        (n, v)
        for n in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")
        for v in (0, -1, 1.0, True, "8", None, nan)
    ]
    + [("dropout", v) for v in (-0.1, 1, 1.5, nan, inf, "0", None, True)]
    + [("end_id", v) for v in (-1, 1.0, True, "0", 10, 11)],
)
def test_a_model_setting_that_cannot_work_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        GPTConfig(**{"vocab_size": 10, name: value})
    assert f"{name}={value!r}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_width_that_the_heads_cannot_share_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"^n_embd=30 is not divisible by n_head=4$"):
        GPTConfig(vocab_size=65, n_embd=30)


def test_an_end_token_outside_the_vocabulary_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"end_id=65 .* vocab_size=65"):
        GPTConfig(vocab_size=65, end_id=65)
    assert GPTConfig(vocab_size=65, end_id=64).end_id == 64 and GPTConfig(vocab_size=1, end_id=0).end_id == 0


@pytest.mark.parametrize(
    "name, value",
    [(n, v) for n in ("steps", "batch_size", "eval_every", "checkpoint_every") for v in (0, -1, 1.5, True, "9", None)]
    + [(n, v) for n in ("warmup_steps", "seed") for v in (-1, 1.5, True, "0", None, nan)]
    + [("seed", 2**32), ("seed", 10**30)]
    + [("eval_windows", v) for v in (0, -1, 2.0, True, "all")]
    + [("learning_rate", v) for v in (0, -1e-3, nan, inf, "1e-3", None, True)]
    + [("min_learning_rate", v) for v in (-1e-9, nan, inf, "0", None)]
    + [("weight_decay", v) for v in (-0.1, nan, inf, "0", None)]
    + [("clip", v) for v in (0, -1, nan, "1", None)]
    + [("precision", v) for v in ("half", "fp32", "", None, 32)]
    + [("optimizer", v) for v in ("adam", "Muon", "", None)],
)
def test_a_training_setting_that_cannot_work_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        TrainConfig(**{name: value})
    assert f"{name}={value!r}" in str(caught.value)


@pytest.mark.parametrize(
    "betas", [(0.9,), (0.9, 0.95, 0.99), (), (0.9, 1.0), (1, 0.9), (-0.1, 0.9), (0.9, nan), "ab", None, 0.9]
)
def test_betas_that_are_not_two_numbers_below_one_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        TrainConfig(betas=betas)


def test_settings_that_contradict_each_other_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"^warmup_steps=200 is more than steps=100$"):
        TrainConfig(steps=100, warmup_steps=200)
    with pytest.raises(ValueError, match=r"min_learning_rate=0\.1 is above learning_rate=0\.01"):
        TrainConfig(learning_rate=0.01, min_learning_rate=0.1)


def test_what_can_just_work_is_allowed():
    GPTConfig(vocab_size=1, block_size=1, n_layer=1, n_head=1, n_embd=1, dropout=0)
    TrainConfig(steps=1, warmup_steps=1, batch_size=1, eval_every=1, checkpoint_every=1, eval_windows=1)
    TrainConfig(warmup_steps=0, min_learning_rate=3e-3, betas=(0, 0), weight_decay=0, clip=inf, seed=2**32 - 1)


def test_settings_never_change():
    for config in (GPTConfig(vocab_size=10), TrainConfig()):
        with pytest.raises(FrozenInstanceError):
            setattr(config, fields(config)[0].name, 3)
        assert hash(config) == hash(type(config)(**asdict(config)))


@pytest.mark.parametrize(
    "config", [GPTConfig(vocab_size=10, end_id=0), TrainConfig(), TrainConfig.article(), TrainConfig(optimizer="muon")]
)
def test_settings_survive_json(config):
    assert type(config)(**json.loads(json.dumps(asdict(config)))) == config


def test_the_articles_settings_are_its_own():
    model = GPTConfig.article(vocab_size=200)
    assert (model.block_size, model.n_layer, model.n_head, model.n_embd, model.dropout) == (64, 2, 4, 128, 0.0)
    training = TrainConfig.article()
    assert (training.steps, training.batch_size, training.learning_rate) == (1000, 32, 3e-4)
    assert (training.betas, training.weight_decay, training.warmup_steps) == ((0.9, 0.95), 0.01, 100)


def test_the_number_of_parameters_is_the_sum_over_the_parts():
    """Embeddings V C + T C, head V C, a block 12 C^2 + 13 C, the last norm 2 C."""
    V, T, C, n_layer = 65, 64, 128, 4
    expected = 2 * V * C + T * C + n_layer * (12 * C * C + 13 * C) + 2 * C
    assert GPT(GPTConfig(vocab_size=V)).n_parameters == GPTConfig(vocab_size=V).n_parameters == expected


@pytest.mark.parametrize(
    "config",
    [
        GPTConfig(3, block_size=5, n_layer=3, n_head=1, n_embd=7),
        GPTConfig(1107, n_layer=1, n_embd=64),
        GPTConfig.article(60),
        FastConfig(65),
        FastConfig(11, block_size=9, n_layer=3, n_embd=8, previous_tokens=0),
        FastConfig(11, block_size=9, n_layer=2, n_embd=8, previous_tokens=5),
    ],
)
def test_the_formula_for_parameters_counts_what_the_model_has(config):
    """Of every kind of model: so numbers can be told before one is built."""
    model = build(config)
    assert config.n_parameters == model.n_parameters
    assert config.n_block_parameters == sum(p.numel() for p in model.blocks.parameters())


def test_a_model_too_large_for_any_machine_is_counted_at_once():
    assert GPTConfig(50257, block_size=1024, n_layer=96, n_head=96, n_embd=12288).n_parameters > 170e9  # as GPT-3
