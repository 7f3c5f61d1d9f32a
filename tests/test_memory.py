"""What `minigpt info` says of memory, against the peak that the system saw: ten shapes, each in a process of its own."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("memory_tool", ROOT / "book" / "tools" / "memory.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
SHAPES = list(tool.SHAPES)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc, which only Linux has")


@linux
@pytest.mark.parametrize("name", SHAPES)
def test_the_peak_is_predicted_within_15_percent(name):
    threads = 1 + SHAPES.index(name) % min(2, torch.get_num_threads())
    job = tool.job(tool.SHAPES[name], threads=threads)
    assert tool.predicted(job) == pytest.approx(tool.measured(job)["bytes"], rel=0.15)


@linux
@pytest.mark.parametrize("shape, kept", [("deep", "large"), ("large batch", "config")])
def test_it_would_not_be_predicted_so_by_another_formula(shape, kept):
    """A run that keeps all activations is not one that computes them again, nor a large batch the usual one."""
    job = tool.job(tool.SHAPES[shape])
    other = {"large": {"checkpoint_activations": True}} if kept == "large" else {"config": {"batch_size": 100}}
    assert tool.predicted(tool.job(job, other)) != pytest.approx(RECORD["shapes"][shape]["measured"], rel=0.15)


def test_the_record_is_not_stale():
    assert tool.stale() is None
    assert list(RECORD["shapes"]) == SHAPES and list(RECORD["ways"]) == list(tool.WAYS)


def test_a_change_of_settings_or_formula_makes_it_stale(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "RECORD", tmp_path / "memory.json")
    monkeypatch.setattr(sys, "argv", ["memory.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make memory" in capsys.readouterr().out
    changed = json.loads(json.dumps(RECORD))
    changed["shapes"]["deep"]["predicted"] += 1
    tool.RECORD.write_text(json.dumps(changed), encoding="utf-8")
    assert "of 'deep' it predicts" in tool.stale()
    tool.RECORD.write_text(json.dumps(RECORD | {"settings": {}}), encoding="utf-8")
    assert tool.stale() == "its settings have changed"


def test_in_the_record_the_predictions_hold_and_the_losses_are_those_of_the_plain_way():
    for name, found in RECORD["shapes"].items():
        assert found["predicted"] == pytest.approx(found["measured"], rel=0.15), name
    plain = RECORD["ways"]["plain"]["losses"]
    for name, found in RECORD["ways"].items():
        rounding = 2e-2 if name in ("bfloat16", "float16") else 1e-4
        assert found["losses"] == pytest.approx(plain, rel=rounding), name
