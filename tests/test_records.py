"""The recorded runs that chapters read: none is stale, and the check can tell."""

import base64
import hashlib
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import records as tool
import torch
from PIL import Image, ImageChops, ImageStat

from minigpt_core import load_corpus, load_pretrained
from minigpt_core.pretrained import load_card
from minigpt_core.tokenizer import CHAT

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", tool.RUNS)
def test_a_record_is_not_stale(name):
    assert tool.stale(name) is None


@pytest.mark.parametrize("name", tool.RUNS)
def test_a_record_is_small_and_whole(name):
    path = tool.FOLDER / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert path.stat().st_size < 150_000
    assert (
        len(record["curve"]["train_loss"]) == record["settings"]["training"]["steps"] == record["curve"]["val_step"][-1]
    )
    assert [s["step"] for s in record["samples"]] == list(tool.RUNS[name].get("looks", ()))


@pytest.mark.parametrize(
    "name, change",
    [("long-layers-1", {"n_layer": 1}), ("long-muon", {"optimizer": "muon"}), ("long-attention-dropout", {})],
)
def test_a_long_run_is_the_shipped_models_with_one_change(name, change):
    settings = tool.settings_of(name)
    shown = ("eval_every", "checkpoint_every", "device")  # they change nothing that is learned
    recorded = settings["model"] | {k: v for k, v in settings["training"].items() if k not in shown}
    training = load_card("tales-char")["training"]
    shipped = asdict(load_pretrained("tales-char")[0].config) | {k: v for k, v in training.items() if k not in shown}
    letters = {"vocab_size": shipped["vocab_size"] - len(CHAT)}  # the ids reserved for a chat stand in no text
    assert recorded == shipped | letters | change
    assert settings.get("attention dropout", False) == ("attention" in name)


def test_scaled_residuals_are_those_of_gpt2_and_nothing_else():
    plain, scaled = (tool.start(tool.settings_of(name))[0].state_dict() for name in ("layers-4", "layers-4-scaled"))
    for name, weight in plain.items():
        adds = name.endswith(("attention.output.weight", "feed_forward.narrow.weight"))
        torch.testing.assert_close(scaled[name], weight / 8**0.5 if adds else weight)


def test_recorded_maps_are_of_the_sentence_and_their_rows_sum_to_one():
    maps = json.loads((tool.FOLDER / "tales.json").read_text(encoding="utf-8"))["maps"]
    assert maps["text"] in load_corpus("tales")
    for look in maps["at"]:
        for head in (head for layer in look["percent"] for head in layer):
            assert [len(row) for row in head] == list(range(1, len(maps["text"]) + 1))
            assert all(abs(sum(row) - 100) <= len(row) / 2 for row in head)


@pytest.mark.parametrize("name", [name for name, run in tool.RUNS.items() if run.get("watched")])
def test_a_watched_run_says_something_on_the_way(name):
    record = json.loads((tool.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert [look["step"] for look in record["says"]] == list(tool.WATCHED)
    beginning = tool.BEGINNINGS[record["settings"]["corpus"]]
    assert all(look["text"].startswith(beginning) and len(look["text"]) > len(beginning) for look in record["says"])


@pytest.mark.parametrize("name", ["film", "film-zh"])
def test_a_filmed_run_is_the_usual_one_with_the_maps_of_the_sentence(name):
    record = json.loads((tool.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    film, model = record["film"], record["settings"]["model"]
    assert film["text"] in load_corpus(record["settings"]["corpus"])
    T = len(film["text"])
    for look in film["at"]:
        shares = list(base64.b64decode(look["percent"]))
        assert len(shares) == model["n_layer"] * model["n_head"] * T * (T + 1) // 2
        while shares:
            for n in range(1, T + 1):
                row, shares = shares[:n], shares[n:]
                assert abs(sum(row) - 100) <= n / 2
    if name == "film":
        tales = json.loads((tool.FOLDER / "tales.json").read_text(encoding="utf-8"))
        gaps = [abs(a - b) for a, b in zip(record["curve"]["val_loss"], tales["curve"]["val_loss"], strict=True)]
        assert max(gaps) < 0.03  # as far as two machines lie apart


def test_a_changed_setting_and_a_changed_loss_are_noticed(tmp_path, monkeypatch):
    kept = json.loads((tool.FOLDER / "small.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    assert tool.stale("small") == "it is missing"
    kept["curve"]["train_loss"][2] += 0.01
    (tmp_path / "small.json").write_text(json.dumps(kept))
    assert "its first losses are" in tool.stale("small")
    kept["settings"]["model"]["n_embd"] = 32
    (tmp_path / "small.json").write_text(json.dumps(kept))
    assert tool.stale("small") == "its settings or its corpus have changed"


@pytest.mark.parametrize("name", ["tales", "tales_zh"])
def test_the_corpora_are_as_large_and_as_little_repetitive_as_stated(name):
    about = json.loads((tool.FOLDER / "corpora.json").read_text(encoding="utf-8"))[name]
    text = load_corpus(name)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == about["sha256"], "run make records NAME=corpora"
    if name == "tales":
        assert len(text.encode("utf-8")) >= 150_000 and about["tales"] >= 40
        assert about["longest repeated span in words"] <= 9
    else:
        assert len(text.replace("<|endoftext|>", "")) >= 30_000
        assert about["longest repeated span in words"] <= 20
    assert text.endswith("<|endoftext|>\n")


SEEDS = ("tales", "seed-1", "seed-2", "seed-3", "seed-4")


def test_the_lab_holds_greedy_shares_and_every_head_of_five_seeds():
    for i, name in enumerate(SEEDS):
        record = json.loads((tool.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert record["settings"]["training"]["seed"] == i
        assert list(record["greedy"]) == [str(step) for step in tool.LAB]
        assert all(0 <= share <= 1 for share in record["greedy"].values())
        model = record["settings"]["model"]
        heads = {str((layer, head)) for layer in range(model["n_layer"]) for head in range(model["n_head"])}
        assert set(record["heads"]["induction"]) == set(record["heads"]["phrase without"]) == heads
        for phrase in (record["heads"]["phrase"], *record["heads"]["phrase without"].values()):
            assert len(phrase) == 3 and all(0 < p < 1 for p in phrase)


def test_a_run_without_a_part_says_which():
    for part in tool.PARTS:
        record = json.loads((tool.FOLDER / f"no-{part}.json").read_text(encoding="utf-8"))
        assert record["settings"]["removed"] == part
    assert "removed" not in json.loads((tool.FOLDER / "tales.json").read_text(encoding="utf-8"))["settings"]


def test_the_film_was_made_of_its_record_and_is_small():
    spec = importlib.util.spec_from_file_location("film_tool", ROOT / "book" / "tools" / "film.py")
    film_tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(film_tool)
    path = film_tool.ASSETS / "film.webp"
    with Image.open(path) as film:
        assert film.info["xmp"].decode() == film_tool.fingerprint(), "run make film"
        assert film.n_frames == len(film_tool.STEPS)
        assert (
            film.info["loop"] == 1 and film.n_frames * film_tool.HOLD < 5000
        )  # WCAG 2.2.2: what moves longer needs a pause
        film.seek(film.n_frames - 1)
        last = film.convert("L")
    assert path.stat().st_size <= 1e6
    with Image.open(film_tool.ASSETS / "film.png") as still:
        assert still.size == last.size
        difference = ImageChops.difference(still.convert("L"), last)
    assert ImageStat.Stat(difference).mean[0] < 5  # the still is the last frame
