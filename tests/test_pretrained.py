"""The shipped models: they fit this code, they are as good as their cards say, and they say so when they no longer fit."""

import hashlib
import importlib.util
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from minigpt_core import (
    GPT,
    GPTConfig,
    TrainConfig,
    evaluate,
    load_corpus,
    load_model,
    load_pretrained,
    longest_copied,
    save_model,
    stream,
)
from minigpt_core.pretrained import FOLDER, PRETRAINED, load_card

spec = importlib.util.spec_from_file_location("models_tool", Path(__file__).parents[1] / "book" / "tools" / "models.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def texts(name: str) -> tuple:
    try:
        return tool.prepare(name)
    except ValueError as error:
        pytest.skip(f"corpus not available: {error}")


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_model_is_as_good_as_its_card_says(name):
    text, (_, *held_out), tokenizer, config, recipe = texts(name)
    about = load_card(name)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == about["corpus_sha256"], "the corpus has changed: retrain"
    assert TrainConfig(**about["training"]) == recipe  # a setting younger than the card has its default
    model, shipped_tokenizer = load_pretrained(name)
    assert asdict(model.config) == asdict(config) and shipped_tokenizer.tokens == tokenizer.tokens
    assert set(about["seeds"]) == {str(seed) for seed in tool.SEEDS}
    for part, held_out_text in zip(about["characters per token"], held_out, strict=True):
        ids = torch.tensor(shipped_tokenizer.encode(held_out_text))
        assert evaluate(model, ids) == pytest.approx(about["losses"][f"{part}, narrowed"], abs=0.002)
        assert abs(about["losses"][f"{part}, narrowed"] - about["losses"][part]) < 0.01
        assert about["losses"][part] == about["seeds"]["0"][part]  # the first seed ships


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_model_beats_the_best_count_by_more_than_its_seeds_lie_apart(name):
    about = load_card(name)
    for part in about["characters per token"]:
        found = [seed[f"{part}, long past"] for seed in about["seeds"].values()]
        assert about["counting"][part] - max(found) > max(found) - min(found)


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_cards_figures_are_computed_not_typed(name):
    about = load_card(name)
    model, _ = load_pretrained(name)
    assert about["parameters"] == model.n_parameters
    size = (FOLDER / name / "model.safetensors").stat().st_size
    assert about["bytes"] == size and sum(p.stat().st_size for p in (FOLDER / name).iterdir()) < 1_700_000
    assert about["log"][-1]["step"] == about["training"]["steps"]


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_cards_sample_is_the_models(name):
    """The first tokens only: rounding may part two machines later."""
    about = load_card(name)
    model, tokenizer = load_pretrained(name)
    written = "".join(stream(model, tokenizer, "", 40, **about["sample"]["settings"]))
    assert about["sample"]["text"].startswith(written[:20])


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_copied_span_stands_in_the_training_part(name):
    _, (train_text, *_), *_ = texts(name)
    copied = load_card(name)["longest copied span"]
    assert copied["characters"] == len(copied["text"]) and longest_copied(copied["text"], train_text) == copied["text"]


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="no shipped model 'gpt-5': choose one of tales-char"):
        load_pretrained("gpt-5")


def test_when_the_code_no_longer_fits_the_error_says_what_to_do(monkeypatch):
    original = GPT.__init__

    def changed(self, config):
        original(self, config)
        self.extra = nn.Linear(2, 2)

    monkeypatch.setattr(GPT, "__init__", changed)
    with pytest.raises(ValueError, match=r"tales-char does not fit .* extra.bias .* make models NAME=tales-char"):
        load_pretrained("tales-char")


def test_narrow_weights_are_whole_numbers_a_quarter_the_size_and_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    model = GPT(GPTConfig(65, block_size=32, n_layer=2, n_embd=64)).eval()
    save_model(model, tmp_path / "exact")
    save_model(model, tmp_path / "narrow", narrow=True)
    exact, narrow = ((tmp_path / f / "model.safetensors").stat().st_size for f in ("exact", "narrow"))
    assert narrow < 0.33 * exact
    again = load_model(tmp_path / "narrow")
    for name, weight in model.state_dict().items():
        step = weight.abs().amax(-1, keepdim=True) / 127 if weight.dim() == 2 else torch.tensor(1e-9)
        assert ((again.state_dict()[name] - weight).abs() <= step / 2 + 1e-7).all(), name
    idx = torch.randint(65, (2, 32))
    assert (again(idx)[0] - model(idx)[0]).abs().max() < 0.02


def test_a_scale_without_its_matrix_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    save_model(GPT(GPTConfig(11, block_size=8, n_layer=1, n_embd=16)), tmp_path, narrow=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["head.weight.scale"] = tensors["head.weight.scale"][:3]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"head\.weight\.scale has no matrix of as many rows"):
        load_model(tmp_path)


def test_every_corpus_of_a_shipped_model_is_known():
    assert set(tool.RECIPES) == set(PRETRAINED)
    assert load_corpus("tales_zh")
