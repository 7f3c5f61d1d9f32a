"""The record of the first neural model: of these runs, whole, and not stale."""

import itertools
import json
import sys

import neural as tool
from remake import remake


def test_the_record_is_not_stale():
    assert tool.stale() is None


def test_every_shape_has_all_seeds_and_as_many_weights_as_it_should():
    runs = json.loads(tool.RECORD.read_text(encoding="utf-8"))["runs"]
    found = [(run["k"], run["hidden"], run["seed"]) for run in runs]
    shapes = itertools.product(tool.SETTINGS["k"], tool.SETTINGS["hidden"], range(tool.SETTINGS["seeds"]))
    assert found == list(shapes)
    V, C = 60, tool.RECIPE["embedding"]
    for run in runs:
        k, H = run["k"], run["hidden"]
        assert run["parameters"] == V * C + (k * C + 1) * H + (H + 1) * V
        assert run["train_loss"] < run["val_loss"] and len(run["first"]) == tool.FIRST


def test_the_longer_run_has_all_seeds_and_overfits():
    longer = json.loads(tool.RECORD.read_text(encoding="utf-8"))["longer"]
    assert [(r["k"], r["hidden"], r["seed"]) for r in longer] == [
        (5, 512, seed) for seed in range(tool.SETTINGS["seeds"])
    ]
    assert all(r["train_loss"] < r["val_loss"] - 0.3 for r in longer)


def test_the_command_writes_what_is_made_and_with_check_only_tells(tmp_path, monkeypatch, capsys):
    record = tmp_path / "small.json"
    monkeypatch.setattr(sys, "argv", ["small.py", "--check"])
    assert remake("", record, lambda: "it is old", lambda: {"runs": [1]}) == 1 and not record.exists()
    assert "book/records/small.json is stale: it is old; remake it with make small" in capsys.readouterr().out
    assert remake("", record, lambda: None, lambda: {"runs": [1]}) == 0 and not record.exists()
    monkeypatch.setattr(sys, "argv", ["small.py"])
    assert remake("", record, lambda: "it is old", lambda: {"runs": [1]}) == 0
    assert record.read_text(encoding="utf-8") == '{"runs":[1]}'
