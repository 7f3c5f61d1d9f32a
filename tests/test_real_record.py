"""The record of the real model: of these measurements, whole, not stale, and what the chapter reads from it."""

import itertools
import json
import math
import random
import sys

import pytest
import real as tool
import torch

from minigpt_core import GPT, CharTokenizer, GPTConfig, load_pretrained

RECORD = json.loads(tool.RECORD.read_text(encoding="utf-8"))


def test_the_record_is_small_and_not_stale():
    assert tool.RECORD.stat().st_size < 15_000
    assert RECORD.keys() == {"settings", *tool.PARTS}
    assert tool.stale() is None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A copy of the record, to be changed, and a function that writes it where the tool looks; SmolLM2 cannot be had."""

    def nowhere(name):
        raise ValueError("there is no network")

    monkeypatch.setattr(tool, "load_real", nowhere)
    monkeypatch.setattr(tool, "RECORD", tmp_path / "real.json")
    record = json.loads(json.dumps(RECORD))
    return record, lambda: tool.RECORD.write_text(json.dumps(record), encoding="utf-8")


def test_the_check_sees_a_missing_record_and_goes_without_the_weights(kept, monkeypatch, capsys):
    _, write = kept
    monkeypatch.setattr(sys, "argv", ["real.py", "--check"])
    assert tool.main() == 1 and "stale: it is missing; remake it with make real" in capsys.readouterr().out
    write()
    assert tool.main() == 0 and "not compared: there is no network" in capsys.readouterr().out


@pytest.mark.parametrize("part", tool.PARTS)
def test_the_check_sees_a_changed_setting_and_a_missing_part(part, kept):
    record, write = kept
    record["settings"][part]["weights"]["smollm2"] = "0" * 64
    write()
    assert tool.stale() == f"the settings, the texts or the weights of {part!r} have changed"
    record["settings"][part] = RECORD["settings"][part]
    del record[part]
    write()
    assert tool.stale() == f"the settings, the texts or the weights of {part!r} have changed"


def test_the_check_sees_another_loss_and_other_scores(kept, monkeypatch):
    record, write = kept
    record["examples"]["tales-bpe"]["plurals"]["true"][1] += 0.1
    write()
    assert tool.stale().startswith("with one example tales-bpe had the loss ")
    record["examples"]["tales-bpe"] = record["examples"]["smollm2"] = RECORD["examples"]["tales-bpe"]
    monkeypatch.setattr(tool, "load_real", lambda name: load_pretrained("tales-bpe"))  # in its place
    scores = tool.induction_scores(load_pretrained("tales-bpe")[0], tool.PERIOD, tool.TEXTS)
    record["induction"]["scores"] = scores.tolist()
    write()
    assert tool.stale() is None
    record["induction"]["scores"][1][2] += 0.1
    write()
    assert tool.stale() == "heads have other induction scores"


def test_only_what_has_changed_is_measured_and_a_run_that_is_stopped_keeps_what_it_has(kept, monkeypatch):
    record, write = kept
    monkeypatch.setattr(tool, "load_real", lambda name: None)
    record["settings"]["examples"]["draws"] = 1
    record["settings"]["bits"]["window"] = 1
    write()

    def stopped(models):
        raise KeyboardInterrupt

    parts = {"induction": stopped, "examples": lambda models: sorted(models), "bits": stopped}
    monkeypatch.setattr(tool, "PARTS", parts)
    with pytest.raises(KeyboardInterrupt):
        tool.make()
    found = json.loads(tool.RECORD.read_text(encoding="utf-8"))
    assert found["examples"] == sorted([*tool.OURS, "smollm2"])
    assert found["induction"] == RECORD["induction"] and found["bits"] == RECORD["bits"]
    assert found["settings"] == {**tool.settings(), "bits": record["settings"]["bits"]}
    parts["bits"] = lambda models: "made"
    assert tool.make() == {**found, "bits": "made", "settings": tool.settings()}


# How it is measured


def test_a_derangement_is_any_order_in_which_none_is_where_it_was():
    rng, found = random.Random(0), set()
    for _ in range(200):
        found.add("".join(tool.deranged(list("abcd"), rng)))
    assert len(found) == 9 and not any(a == b for order in found for a, b in zip(order, "abcd", strict=True))


@pytest.mark.parametrize("rule", tool.RULES)
def test_shuffled_examples_have_the_same_words_in_pairs_that_follow_no_rule(rule):
    answers = dict(pair.split() for pair in tool.RULES[rule].split(", "))
    assert len(answers) == len(set(answers.values())) == 16
    for k in tool.SHOWN:
        true, shuffled = (tool.questions(rule, kind, k) for kind in ("true", "shuffled"))
        assert len(true) == tool.DRAWS and len({asked for _, asked in true}) > 8
        for (shown, asked), (changed, also_asked) in zip(true, shuffled, strict=True):
            assert asked == also_asked and answers[asked[0]] == asked[1]
            assert len(shown) == k and all(answers[question] == answer for question, answer in shown)
            assert [question for question, _ in shown] == [question for question, _ in changed]
            assert asked not in shown and asked[1] not in [answer for _, answer in changed]
            assert all(answers[question] != answer for question, answer in changed)
            assert k == 1 or sorted(a for _, a in shown) == sorted(a for _, a in changed)
    moves = {tuple([a for _, a in shown].index(answer) for _, answer in changed)
             for (shown, _), (changed, _) in zip(true, shuffled, strict=True)}  # fmt: skip
    assert len(moves) == tool.DRAWS  # no exchange comes twice


def test_a_model_that_knows_nothing_needs_as_many_bits_as_a_token_has_for_each_letter_of_the_answer():
    tokenizer = CharTokenizer.train("hot: cold\nbigsmal")
    model = GPT(GPTConfig(tokenizer.vocab_size, n_layer=1, n_embd=8, n_head=2)).eval()
    torch.nn.init.zeros_(model.head.weight)
    for shown in ([], [("hot", "cold")], [("hot", "cold")] * 20):  # the last is longer than the window
        loss = tool.answer_loss(model, tokenizer, shown, ("big", "small"))
        assert loss == pytest.approx(7 * math.log2(tokenizer.vocab_size), rel=1e-6)  # " small" and the end of the line


# What comes out


def test_the_real_model_reads_all_texts_best_but_chinese():
    bits = RECORD["bits"]
    assert list(bits) == [*tool.OURS, "smollm2"] and all(list(of_one) == list(tool.texts()) for of_one in bits.values())
    real = bits["smollm2"]
    assert 1.0 < real["alice"] < real["tales"] < 1.3 and real["shakespeare"] < 1.7
    assert 1.5 < bits["tales-char"]["tales"] < 1.8 and 1.5 < bits["tales-bpe"]["tales"] < 1.8
    assert real["shakespeare"] < bits["shakespeare-char"]["shakespeare"] - 0.3
    assert bits["tales-zh"]["tales_zh"] < real["tales_zh"] - 0.2
    learned = {"tales-char": "tales", "tales-bpe": "tales", "tales-zh": "tales_zh", "shakespeare-char": "shakespeare"}
    for name, own in learned.items():
        for text, value in bits[name].items():
            if text == own:
                assert value < 2.3
            elif name == "tales-bpe":  # its bytes write every text, and it knows none of them
                assert value > 4
            else:  # it has no ids for some letters
                assert value is None


@pytest.mark.parametrize("rule", tool.RULES)
def test_examples_teach_the_real_model_a_rule_and_ours_nothing(rule):
    for name, of_one in RECORD["examples"].items():
        assert all(len(losses) == len(tool.SHOWN) for losses in of_one[rule].values())
        assert of_one[rule]["true"][0] == of_one[rule]["shuffled"][0]  # where nothing is shown
        true, shuffled = of_one[rule]["true"], of_one[rule]["shuffled"]
        if name == "smollm2":
            assert true[0] > 15 and all(after < before for before, after in itertools.pairwise(true))
            assert true[-1] < 2 and true[-1] < shuffled[-1] - 0.2  # of capitals it knows the rule itself
            assert rule == "capitals" or shuffled[-1] > 5
        else:
            assert all(abs(loss / true[0] - 1) < 0.1 for loss in true + shuffled)


def test_some_heads_of_the_real_model_copy_and_without_them_it_cannot():
    found = RECORD["induction"]
    scores = torch.tensor(found["scores"])
    assert scores.shape == (30, 9) and 0.8 < scores.max() < 1
    assert (scores > 0.3).sum() == 11 and (scores < 0.1).sum() > 230
    best = scores.flatten().argsort(descending=True)[: tool.KNOCKED]
    assert found["best"] == [[int(i) // 9, int(i) % 9] for i in best]
    assert found["loss without the best"] > 3 * found["loss"] > 0.8 * math.log(49_152)
    assert len(found["loss without others"]) == tool.OTHERS
    assert all(abs(loss / found["loss"] - 1) < 0.3 for loss in found["loss without others"])
    by_number = dict(zip(tool.REMOVED, found["loss by number removed"], strict=True))
    assert by_number[tool.KNOCKED] == found["loss without the best"] and by_number[1] < 6 < 12 < by_number[32]
    ours = tool.induction_scores(load_pretrained("tales-char")[0], tool.PERIOD, tool.TEXTS)
    assert ours.max() < 0.1
