"""The ladder of chapter 14: its models stand between the plain and the fast one, and its record is of these runs."""

import hashlib
import json
import math
from dataclasses import replace

import ladder as tool
import pytest
import torch

from minigpt_core import GPT
from minigpt_core.beyond.fast import FastConfig, FastGPT
from minigpt_core.config import GPTConfig

RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))
RUNS = [run for runs in tool.KINDS.values() for run in runs]
RECORDED = {name: kept for kind in tool.KINDS for name, kept in RECORD[kind].items()}
SHAPE = FastConfig(vocab_size=11, block_size=16, n_layer=2, n_head=2, n_embd=8, end_id=0)


@torch.no_grad()
def same_logits(model: GPT, other: GPT) -> None:
    """Equal for weights in which every part has a say."""
    for parameter in other.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    model.load_state_dict(other.state_dict())
    idx = torch.randint(11, (3, 16))
    torch.testing.assert_close(model(idx)[0], other(idx)[0], rtol=1e-4, atol=1e-4)


def test_the_first_model_is_the_plain_one_and_the_last_the_fast_one():
    torch.manual_seed(0)
    plain = {name: getattr(SHAPE, name) for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")}
    same_logits(tool.LadderGPT(SHAPE, ()), GPT(GPTConfig(**plain)))
    same_logits(tool.LadderGPT(SHAPE, tool.IDEAS), FastGPT(SHAPE))
    torch.manual_seed(5)
    fast = FastGPT(SHAPE).state_dict()
    torch.manual_seed(5)
    ladder = tool.LadderGPT(SHAPE, tool.IDEAS).state_dict()
    assert all(torch.equal(fast[name], ladder[name]) for name in fast.keys() | ladder.keys())


def test_each_idea_changes_what_is_computed_or_where_it_starts():
    idx = torch.randint(11, (3, 16), generator=torch.manual_seed(0))
    for n in range(len(tool.IDEAS)):
        models = []
        for ideas in (tool.IDEAS[:n], tool.IDEAS[: n + 1]):
            torch.manual_seed(1)
            models.append(tool.LadderGPT(SHAPE, ideas))
            for parameter in models[-1].parameters():
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2), std=0.1)
        assert not torch.allclose(models[0](idx)[0], models[1](idx)[0]), tool.IDEAS[n]


def test_a_start_from_pairs_begins_at_the_loss_of_counted_pairs():
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] * 50)
    model = tool.BigramStart(FastGPT(SHAPE), ids)
    assert model(ids[None, :16], ids[None, 1:17])[1] < 0.15 < 2 < FastGPT(SHAPE)(ids[None, :16], ids[None, 1:17])[1]


def test_tied_the_embedding_is_the_head_and_neither_starts_loud():
    torch.manual_seed(0)
    model = FastGPT(SHAPE)
    untied = model.n_parameters
    tool.tie(model, None)
    assert model.n_parameters == untied - SHAPE.vocab_size * SHAPE.n_embd
    idx = torch.randint(11, (3, 16))
    embedded = model.token_embedding(idx)
    assert embedded.std().item() == pytest.approx(0.1, rel=0.3)
    with torch.no_grad():
        model.head.weight *= 2
    torch.testing.assert_close(model.token_embedding(idx), 2 * embedded)


def test_normalised_queries_and_keys_have_one_length():
    model = tool.LadderGPT(SHAPE, tool.IDEAS)
    tool.normalise_queries_and_keys(model, None)
    for x in model.blocks[0].attention.queries_and_keys(torch.randn(3, 16, 8)):
        torch.testing.assert_close(x.norm(dim=-1), torch.full((3, 2, 16), 2.0), rtol=1e-2, atol=1e-2)  # sqrt(D), D = 4


@pytest.mark.parametrize("name", RECORDED)
def test_no_run_begins_far_above_blind_guessing(name):
    """A first loss far above ln V is a fault of the start, as chapters 07 and 09 say: no verdict on an idea."""
    blind = math.log(66)
    for run in RECORDED[name]["runs"]:
        assert run["first"][0] < blind + 0.5


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_record_is_not_stale(run, shakespeare):
    assert RECORD["corpus_sha256"] == hashlib.sha256(shakespeare.encode("utf-8")).hexdigest()
    assert tool.stale(run, RECORD, tool.data_of(shakespeare, tune=False)) is None


def test_the_check_of_the_record_sees_a_changed_setting_and_a_changed_loss(shakespeare):
    run, data = tool.RUNGS[-1], tool.data_of(shakespeare, tune=False)
    assert tool.stale(replace(run, name="another"), RECORD, data) == "it is missing"
    assert tool.stale(replace(run, settings={"steps": 240}), RECORD, data) == "its settings have changed"
    other = json.loads(json.dumps(RECORD))
    other["rungs"][run.name]["runs"][0]["first"][2] += 0.01
    assert "its first losses are" in tool.stale(run, other, data)


def test_every_race_ends_at_its_first_evaluation_at_the_goal_or_below():
    assert list(RECORD["rungs"]) == [run.name for run in tool.RUNGS]
    for name, rung in RECORD["rungs"].items():
        for run in rung["runs"]:
            assert all(loss > RECORD["goal"] for loss in run["loss"][:-1]) and run["loss"][-1] <= RECORD["goal"], name


def test_every_control_goes_on_to_its_end():
    assert list(RECORD["controls"]) == [run.name for run in tool.CONTROLS]
    for control in RECORD["controls"].values():
        assert all(run["step"][-1] == control["settings"]["training"]["steps"] for run in control["runs"])


def test_races_and_controls_are_evaluated_at_twenty_fixed_steps():
    for kept in (RECORD["rungs"] | RECORD["controls"]).values():
        assert len(kept["runs"]) == len(tool.SEEDS)
        every = kept["settings"]["training"]["steps"] // 20
        for run in kept["runs"]:
            assert run["step"] == [every * i for i in range(1, len(run["step"]) + 1)]
            assert run["seconds"] == sorted(run["seconds"])


def test_no_seconds_were_taken_while_other_programs_ran():
    assert tool.disturbed(RECORD) == []


def test_a_disturbed_run_is_named():
    def kept(*yardsticks):
        return {"runs": [{"yardstick": y} for y in yardsticks]}

    record = {"rungs": {"a": kept(7.0, 7.5)}, "controls": {"b": kept(7.2, 20.0)}, "trials": {"old": {"runs": [{}]}}}
    assert tool.disturbed(record) == ["b"]
    record["trials"] |= {
        name: {"runs": [{"step": [steps], "seconds": [seconds], "yardstick": 7.0}]}
        for name, steps, seconds in (("nothing changed", 260, 2.6), ("half more steps", 390, 6.6))
    }
    assert tool.disturbed(record) == ["b", "half more steps"]  # quiet when the yardstick was measured, not afterwards


def test_every_trial_runs_to_its_end():
    assert list(RECORD["trials"]) == [run.name for run in tool.TRIALS]
    for trial in RECORD["trials"].values():
        assert [run["step"][-1] for run in trial["runs"]] == [trial["settings"]["training"]["steps"]] * len(tool.SEEDS)


def test_the_line_of_a_run_tells_its_median_and_its_spread():
    found = [
        {"yardstick": 7 + s, "step": [10], "seconds": [s], "loss": [1.8 + s / 100]} for s in (1.0, 2.0, 3.0, 4.0, 9.0)
    ]
    line = tool._line(tool.RUNGS[0], found)
    assert "median 3.0 s (1.0 to 9.0), yardsticks 8.0 to 16.0 ms" in line and "of 300.0 ms" in line
