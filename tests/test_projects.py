"""The projects: each rubric on a good and on a bad entry, what it refuses, the figure of a class, and the page that tells of them."""

import dataclasses
import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_book import NO_MEASUREMENT, ROOT, numbers_in

import conftest
from minigpt_core import BPETokenizer, CharTokenizer, evaluate, load_corpus, split_text
from minigpt_core.beyond import rubric_rung
from minigpt_core.beyond.fast import FastConfig, FastGPT, fast_recipe
from minigpt_core.cli import _build_parser
from minigpt_core.notebook import class_figure
from minigpt_core.study import apart, projects, rubric_patient, rubric_rival, rubric_tokenizer
from minigpt_core.study.counting import ngram_loss
from minigpt_core.study.projects import Criterion, Result

PAGE = (ROOT / "book" / "projects.md").read_text(encoding="utf-8")
RECORDS = ROOT / "book" / "records" / "projects"


def called(*arguments, cwd=".") -> tuple[int, str, str]:
    done = conftest.called(*arguments, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def met(result: Result) -> dict[str, bool | None]:
    return {criterion.name: criterion.met for criterion in result.criteria}


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# The tokenizer.


@pytest.fixture(scope="module")
def tales() -> str:
    return load_corpus("tales")[:80_000]


def test_our_own_bpe_meets_every_criterion_and_is_as_good_as_itself(tales, tmp_path):
    train_text, held = (part.replace("<|endoftext|>", "\n") for part in split_text(tales))
    tokenizer = BPETokenizer.train(train_text, vocab_size=400)
    tokenizer.save(tmp_path)
    result = rubric_tokenizer.judge(tmp_path, tales, "  Ada   L ")
    assert set(met(result).values()) == {True} and result.met and (result.score, result.name) == (1.0, "Ada L")
    assert result.figures["tokens"] == result.figures["tokens of our BPE"] == len(tokenizer.encode(held))
    assert result.figures["tokens per character"] == pytest.approx(len(tokenizer.encode(held)) / len(held), abs=1e-4)
    assert result.figures["script"] == "LATIN"
    assert len(result.figures["longest pieces"][0]) >= len(result.figures["longest pieces"][-1]) > 2
    assert rubric_tokenizer.judge(tmp_path / "bpe.model", tales, "Ada").score == 1.0


def test_the_rubric_sees_what_a_tokenizer_loses(tales, tmp_path):
    CharTokenizer.train(tales).save(tmp_path / "char")
    result = rubric_tokenizer.judge(tmp_path / "char", tales, "Ada")
    assert not met(result)["hard inputs that come back exactly"] and "emoji" in result.figures["hard inputs that fail"]
    assert met(result)["held-out pieces that come back changed"] and not result.met
    low = written(
        tmp_path / "low.py",
        "vocab_size = 1114112\nunknown_id = 0\nencode = lambda text: [ord(c) if c != 'q' else 0 for c in text.lower()]\n"
        "decode = lambda ids: ''.join(map(chr, ids))",
    )
    result = rubric_tokenizer.judge(low, tales, "Ada")
    assert not met(result)["held-out pieces that come back changed"] and not met(result)["unknown tokens"]
    assert met(result)["tokens, beside our BPE"] is None  # no BPE has so many pieces: a person judges
    assert "Chinese" not in result.figures["hard inputs that fail"]


def test_bytes_are_exact_and_many(tales, tmp_path):
    code = "vocab_size = 256\nencode = lambda text: text.encode()\ndecode = lambda ids: bytes(ids).decode(errors='replace')"
    result = rubric_tokenizer.judge(written(tmp_path / "bytes.py", code), tales, "Ada")
    assert result.figures["hard inputs that fail"] == [] and not result.met
    assert result.figures["tokens per byte"] == 1 and result.figures["vocabulary of our BPE"] > 256


BAD_TOKENIZERS = {
    "vocab_size = 9": "it defines no function encode",
    "encode = decode = len\nvocab_size = 'many'": "its vocab_size is 'many', and no whole number",
    "vocab_size = 9\nencode = lambda text: [9]\ndecode = str": "it gives id 9, which is outside its vocabulary of 9",
    "vocab_size = 9\ndef encode(text):\n    return text['x']\ndecode = str": "it can cut no piece of the held-out text",
    "vocab_size = = 9": "is no Python that can be read, line 1: invalid syntax",
    "": "bad.py is empty",
    "import sys; sys.exit(3)": "reading it ended the program",
}


@pytest.mark.parametrize("code", BAD_TOKENIZERS)
def test_a_tokenizer_that_cannot_be_measured_is_named(code, tales, tmp_path):
    with pytest.raises(ValueError, match=re.escape(BAD_TOKENIZERS[code])):
        rubric_tokenizer.judge(written(tmp_path / "bad.py", code), tales, "Ada")


def test_bad_input_of_a_tokenizer_is_one_sentence(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\xe9 ".encode("latin-1") * 9000)
    (tmp_path / "latin.py").write_bytes("x = 'caf\xe9'".encode("latin-1"))
    written(tmp_path / "short.txt", "too short. " * 99)
    written(tmp_path / "empty.txt", "")
    for arguments, said in (
        (["nowhere", "--corpus", "tales"], "there is no tokenizer nowhere"),
        (["latin.py", "--corpus", "tales"], "latin.py is not text in UTF-8"),
        (["nowhere.py", "--corpus", "tales"], "nowhere.py cannot be read: No such file"),
        ([".", "--corpus", "tales"], "no tokenizer in ."),
        (["x", "--corpus", "latin.txt"], "latin.txt is not text in utf-8"),
        (["x", "--corpus", "empty.txt"], "empty.txt is empty"),
        (["x", "--corpus", "short.txt"], "the text is too short: 108 characters are held out"),
        (["x", "--corpus", "nowhere.txt"], "there is no file nowhere.txt"),
        (["x"], "the project tokenizer needs its text: name it by --corpus"),
        (["x", "--corpus", "tales", "--tune"], "--tune says nothing of the project tokenizer"),
    ):
        code, out, err = called("project", "tokenizer", *arguments, "--name", "Ada", cwd=tmp_path)
        assert (code, out) == (2, "") and len(err.strip().splitlines()) == 1 and said in err, err
    code, _, err = called("project", "patient", "x.py", "--name", "  ", cwd=tmp_path)
    assert code == 2 and "must be a name of 1 to" in err and not (tmp_path / "results").exists()


# The rival.


class Repeats(torch.nn.Module):
    """Knows the rule of `echoes`: the second twelve letters of each line are the first twelve again."""

    config = FastConfig(27, block_size=24)
    device = torch.device("cpu")
    n_parameters = 0

    def forward(self, idx, targets=None):
        logits = torch.zeros(*idx.shape, 27)
        if idx.shape[1] == 24:
            logits[:, 11:23].scatter_(2, idx[:, :12, None], 20.0)
        return logits, None


def echoes(lines: int, seed: int) -> torch.Tensor:
    first = torch.randint(1, 27, (lines, 12), generator=torch.Generator().manual_seed(seed))
    return torch.cat([first, first], 1).flatten()


LETTERS = CharTokenizer([chr(96 + i) for i in range(1, 27)])


def rivals(train_ids, val_ids, **more) -> Result:
    return rubric_rival.judge(Repeats(), LETTERS, train_ids, val_ids, [3.3, 3.0, 2.9], {3: 2.9}, "Ada", **more)


def test_a_model_that_sees_farther_than_any_count_beats_it():
    train_ids, val_ids = echoes(1500, 0), echoes(300, 1)
    result = rivals(train_ids, val_ids, split="documents", seconds=90.0)
    best = min(ngram_loss(train_ids, val_ids, n, 27) for n in range(1, 10))
    loss = evaluate(Repeats(), val_ids)
    assert loss < 0.6 * math.log(27) < best < 1.2 * math.log(27)
    assert result.score == pytest.approx(loss - best, abs=0.02) and result.met and set(met(result).values()) == {True}
    assert result.figures["minutes"] == 1.5 and result.figures["held-out characters"] == 7200
    tail = rivals(train_ids, val_ids, split="tail")
    assert met(tail)["split"] is None and tail.met  # a person judges


def test_who_recites_has_beaten_nothing():
    val_ids = echoes(300, 1)
    result = rivals(torch.cat([echoes(500, 0), val_ids]), val_ids)
    missed = {name for name, kept in met(result).items() if kept is False}
    assert "held-out pieces of 50 characters that were learned" in missed and "what makes the loss worthless" in missed
    assert not result.met


def test_a_rival_needs_enough_held_out_and_a_text_that_is_counted_whole(monkeypatch):
    with pytest.raises(ValueError, match=r"2,400 characters are held out, 5,000 are needed"):
        rivals(echoes(300, 0), echoes(100, 1))
    monkeypatch.setattr(rubric_rival, "COUNTED", 7000)
    with pytest.raises(ValueError, match=r"7,200 characters, and at most 7,000 are counted: take a part of the text"):
        rivals(echoes(300, 0), echoes(300, 1))


def test_a_run_is_judged_and_the_result_written_once(tales, tmp_path):
    tiny = ["--n-layer", 1, "--n-embd", 32, "--block-size", 32, "--batch-size", 4, "--steps", 40, "--vocab-size", 350]
    text = written(tmp_path / "mine.txt", tales)
    code, _, err = called("train", "--corpus", text, "--tokenizer", "bpe", *tiny, "--out", "run", cwd=tmp_path)
    assert code == 0, err
    code, out, err = called("project", "rival", "run", "--name", "Ada", cwd=tmp_path)
    assert code == 0, err
    assert "NOT met   loss less the best count's" in out and "saved in results/ada-rival.json" in out
    result = projects.read(tmp_path / "results" / "ada-rival.json")
    assert not result.met and result.figures["steps"] == 40
    assert any("of characters" in name for name in result.figures)  # which beats the count of pieces of so short a text
    before = (tmp_path / "results" / "ada-rival.json").read_bytes()
    code, _, err = called("project", "rival", "run", "--name", "Ada", cwd=tmp_path)
    assert code == 2 and err == (
        "minigpt: results/ada-rival.json is there already: name another --out, or replace it by --overwrite\n"
    )
    assert (tmp_path / "results" / "ada-rival.json").read_bytes() == before
    written(text, tales[:-500])
    for entry, said in (("run", "has changed since"), ("nowhere", "nowhere/training.safetensors is missing")):
        code, _, err = called("project", "rival", entry, "--name", "Bo", cwd=tmp_path)
        assert code == 2 and said in err and len(err.splitlines()) == 1


# The patient.

GOOD = """\
symptom = "It is late."
cure = "Start earlier."
sick = lambda seed: 5 + 0.1 * seed
healthy = lambda seed: 1 + 0.2 * seed
measure = float
"""


def test_a_patient_that_is_told_from_the_healthy_passes(tmp_path):
    result = rubric_patient.judge(written(tmp_path / "p.py", "print('said aloud')\n" + GOOD), "Ada")
    assert result.met and met(result)["what the clinic finds by the loss"] is None
    assert result.score == pytest.approx((5 - 1.8) / 0.8) and result.figures["sick"] == [5.0, 5.1, 5.2, 5.3, 5.4]
    assert rubric_patient.apart([1, 4], [3, 6]) == (-1, 3)


@pytest.mark.parametrize(
    "change, missed",
    [
        (("5 + 0.1", "2 + 0.1"), {"gap, in spreads of five seeds"}),
        (("5 + 0.1", "1 + 0.2"), {"gap between sick and healthy", "gap, in spreads of five seeds"}),
        (('"It is late."', '""'), {"symptom and cure, characters"}),
        (("lambda seed: 5", "lambda seed: __import__('random').random() + 5"), {"the same seed again"}),
        (("measure = float", "measure = float\n" + "x = 1\n" * 26), {"lines of code"}),
    ],
)
def test_each_criterion_of_a_patient_can_be_missed(change, missed, tmp_path):
    result = rubric_patient.judge(written(tmp_path / "p.py", GOOD.replace(*change)), "Ada")
    assert {name for name, kept in met(result).items() if kept is False} == missed and not result.met


def test_what_the_clinic_finds_by_the_loss_is_no_new_patient(tmp_path):
    losses = """
import torch
def losses(program):
    ids = torch.arange(400) % 7
    end = float("nan") if program > 4 else 0.1
    return [1.9, 1.0, end], {3: end}, ids, ids, 7
"""
    result = rubric_patient.judge(written(tmp_path / "p.py", GOOD + losses), "Ada")
    assert met(result)["what the clinic finds by the loss"] is False
    assert "diverged" in [c.measured for c in result.criteria][-1]


BAD_PATIENTS = {
    "def sick(": "is no Python that can be read, line 1: '(' was never closed",
    GOOD.replace("measure = float", ""): "must define symptom, cure, sick, healthy, measure; missing: measure",
    GOOD.replace('"It is late."', "3"): "missing: symptom",
    GOOD.replace(
        "measure = float", "measure = lambda x: x / 0"
    ): "failed: ZeroDivisionError: float division by zero (line 5)",
    GOOD.replace("measure = float", "measure = lambda x: float('nan')"): "measure gives nan, and no finite number",
    GOOD.replace("measure = float", "def measure(x):\n    while True: pass"): "measure(sick(0)) did not end within 4 s",
    GOOD.replace("measure = float", "import os\nmeasure = lambda x: os._exit(1)"): "measure(sick(0)) ended the program",
    GOOD.replace("measure = float", "measure = lambda x: 'much'"): "could not convert string to float: 'much'",
    "import nothing_of_this_name": "reading it failed: ModuleNotFoundError",
    "# only a remark": "is empty",
}


@pytest.mark.parametrize("code", BAD_PATIENTS)
def test_a_patient_that_cannot_be_measured_is_named(code, tmp_path):
    with pytest.raises(ValueError, match=re.escape(BAD_PATIENTS[code])) as refused:
        rubric_patient.judge(written(tmp_path / "p.py", code), "Ada", seconds=4)
    assert "\n" not in str(refused.value)


def test_what_is_no_code_is_not_counted():
    source = '"""Two\nlines."""\n\n# a remark\ndef f(x):\n    """What it does."""\n    return x  # here\n'
    assert apart.code_lines(source) == 2


# The rung.


@pytest.fixture
def short(monkeypatch):
    """The rules of the race, with a recipe of eight steps."""
    monkeypatch.setattr(
        rubric_rung,
        "fast_recipe",
        lambda **more: fast_recipe(**({"steps": 8, "batch_size": 2, "warmup_steps": 2, "learning_rate": 1e-3} | more)),
    )
    monkeypatch.setattr(rubric_rung, "SLOWER", math.inf)  # of eight steps no time is measured
    return load_corpus("tales")[:9000]


def test_a_rung_is_measured_with_five_seeds_kept_and_not_run_again(short, tmp_path, monkeypatch):
    rung = written(tmp_path / "rung.json", json.dumps({"training": {"learning_rate": 6e-3}}))
    kept = tmp_path / "ada-rung.jsonl"
    result = rubric_rung.judge(rung, short, "Ada", kept)
    gains = [
        a - b
        for a, b in zip(*(result.figures[f"loss of the {which}"] for which in ("fast recipe", "rung")), strict=True)
    ]
    assert len(gains) == 5 and result.score == pytest.approx(sum(gains) / 5, abs=1e-4)
    assert result.score > result.error > 0 and result.met and set(met(result).values()) == {True}
    rows = kept.read_text().splitlines()
    assert len(rows) == 10 and len({json.loads(row)["recipe"] for row in rows}) == 2
    written(kept, "\n".join([*rows[:8], rows[8][:30]]) + "\n")  # a kill in the middle of a line
    measure, again = rubric_rung.measure, []
    monkeypatch.setattr(rubric_rung, "measure", lambda *a: again.append(1) or measure(*a))
    resumed = rubric_rung.judge(rung, short, "Ada", kept)
    assert len(again) == 2 and resumed.figures["loss of the rung"] == result.figures["loss of the rung"]
    second = written(tmp_path / "second.json", json.dumps({"training": {"learning_rate": 1e-6, "warmup_steps": 0}}))
    result = rubric_rung.judge(second, short, "Ada", kept)
    assert {name for name, kept in met(result).items() if kept is False} == {
        "recipes measured on this test part",
        "mean gain, beside 2 standard errors",
    }
    assert len(again) == 7  # of the plain recipe nothing was run again
    assert (
        rubric_rung.judge(rung, short, "Ada", tune=True).criteria[4].met is False
        and len(kept.read_text().splitlines()) == 15
    )


def test_a_model_that_sees_the_next_letter_is_caught(short, tmp_path):
    code = """
import torch
from minigpt_core.beyond.fast import FastConfig, FastGPT
training = {"learning_rate": 0.02}
class Peek(FastGPT):
    def forward(self, idx, targets=None, cache=None):
        logits, _ = super().forward(idx)
        ahead = torch.nn.functional.one_hot(torch.roll(idx, -1, 1), self.config.vocab_size)
        logits = logits + 9.0 * ahead
        return logits, None if targets is None else torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
def model(vocab_size, train_ids):
    return Peek(FastConfig(vocab_size, end_id=0))
"""
    result = rubric_rung.judge(written(tmp_path / "peek.py", code), short, "Ada")
    assert result.score > 1 and met(result)["a later letter moves an earlier answer"] is False and not result.met
    torch.manual_seed(0)
    assert not rubric_rung.sees_the_future(FastGPT(FastConfig(20)), torch.arange(64) % 20)


BAD_RUNGS = {
    '{"model": {"n_embd": 96}': "is no JSON, line 1",
    "[1]": 'it must be {"model": {...}, "training": {...}}',
    '{"shape": {}}': 'it must be {"model": {...}, "training": {...}}',
    '{"model": {"wide": 3}}': "'wide' is no setting of its model: take ",
    '{"training": {"learning_rte": 3}}': "'learning_rte' is no setting of its training: take training.batch_size, training.betas",
    '{"training": {"seed": 3}}': "seed is given by the rules, and no setting of a rung",
    '{"training": {"steps": "many"}}': "steps='many' must be a whole number",
    '{"model": {"n_embd": 97}}': "n_embd=97 is not divisible by n_head=2",
    '{"training": {"steps": 99}}': "the rung reads 12,672 tokens, and may read 1,024: fewer steps, or a smaller batch",
}


@pytest.mark.parametrize("text", BAD_RUNGS)
def test_a_rung_that_breaks_a_rule_is_named(text, short, tmp_path):
    with pytest.raises(ValueError, match=re.escape(BAD_RUNGS[text])):
        rubric_rung.judge(written(tmp_path / "rung.json", text), short, "Ada")


def test_a_rung_in_python_that_fails_is_named(tmp_path):
    for code, said in (
        ("x = 1 / 0", "cannot be run: ZeroDivisionError: division by zero (line 1)"),
        ("x = 1", "it defines no function model"),
        ("model = len\ntraining = 3", "its training must be a dict"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            rubric_rung.read(written(tmp_path / "r.py", code))
    with pytest.raises(ValueError, match=r"model\(vocab_size, train_ids\) failed: TypeError"):
        rubric_rung.read(written(tmp_path / "r.py", "model = len")).make(9, torch.arange(9))
    (tmp_path / "latin.json").write_bytes(b"\xe9")
    with pytest.raises(ValueError, match=r"latin\.json is not text in UTF-8"):
        rubric_rung.read(tmp_path / "latin.json")
    with pytest.raises(ValueError, match=r"nowhere\.json cannot be read: No such file"):
        rubric_rung.read(tmp_path / "nowhere.json")


def test_the_budget_is_that_of_the_fast_recipe_and_chance_passes_one_in_seventeen():
    """Student's t with four degrees of freedom, in closed form."""
    assert rubric_rung.budget() == 260 * 16 * 64
    t = rubric_rung.ERRORS
    x = t / math.sqrt(4 + t * t)
    above = 0.5 - (3 * x - x**3) / 4
    assert 1 / above == pytest.approx(17, abs=0.5)
    assert "Of seventeen that change nothing, about one passes" in projects.PROJECTS["rung"].person[1]


# A class.


def entry(name: str, score: float, project: str = "rival", **more) -> Result:
    kinds = ("loss", "copies", "split")
    criteria = tuple(Criterion(kind, score, "below 0", score < 0 if kind == "loss" else True) for kind in kinds)
    return dataclasses.replace(Result(project, name, criteria, "loss", score, 0.0), **more)


@pytest.fixture
def school(tmp_path):
    """Thirty results in folders of their own; nineteen of them beat the count."""
    for i in range(30):
        projects.write(
            entry(f"Participant {i} of the class", (i - 19) / 100 + 0.005),
            tmp_path / "class" / f"{i % 3}" / f"{i}.json",
        )
    return tmp_path / "class"


def test_thirty_results_are_one_figure_in_which_each_name_can_be_read(school, tmp_path):
    code, out, err = called("collect", school, "--out", tmp_path / "class.svg")
    assert code == 0 and err == ""
    assert out.splitlines()[0] == "19 of 30 models beat the best count"
    assert out.splitlines()[-1] == (
        f"{tmp_path / 'class.svg'} shows 30 rows, a dot for each person: 19 of 30 models beat the best count."
    )
    first = (tmp_path / "class.svg").read_bytes()
    code, _, err = called("collect", school, "--out", tmp_path / "class.svg")
    assert code == 2 and "class.svg is there already" in err and (tmp_path / "class.svg").read_bytes() == first
    assert called("collect", school, "--out", tmp_path / "class.svg", "--overwrite")[0] == 0
    assert (tmp_path / "class.svg").read_bytes() == first  # the same results, the same bytes
    assert called("collect", school, "--out", tmp_path / "class.png")[0] == 0
    assert called("collect", school, "--out", tmp_path / "class.gif")[2].endswith(
        "class.gif must end in .png or .svg\n"
    )


def test_no_label_of_the_figure_lies_on_another():
    names = [f"Participant {i} of the class" for i in range(29)] + ["\u674e\u660e"]
    values = [i / 7 for i in range(30)]
    panel = class_figure.Panel(
        "It is seen", "loss", 1.0, "goal", ["a", "b"], names, values, [0.1] * 30, [True] * 30, [[True, None]] * 30
    )
    first, last = (dataclasses.replace(panel, line=line, line_name="the best count") for line in (0.0, values[-1]))
    figure = class_figure.class_results([panel, first, last])
    figure.draw_without_rendering()
    assert len(figure.axes) == 4
    for axes in figure.axes[:3]:
        labels = [*axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label, *axes.texts]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert len(axes.get_yticklabels()) == 30 and len(boxes) > 90
        for i, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and not any(box.overlaps(b) for b in boxes[:i])
    assert [line.get_marker() for line in axes.lines].count("o") == 30


def test_of_a_person_the_latest_result_counts_and_it_is_said(tmp_path):
    projects.write(entry("Ada", 0.5, date="2026-01-02T10:00:00+00:00"), tmp_path / "a.json")
    projects.write(entry("ada", -0.5, date="2026-01-02T12:30:00+02:00"), tmp_path / "b.json")  # half an hour later
    projects.write(entry("Ada", 0.7, date="2026-01-01T10:00:00+00:00"), tmp_path / "c.json")
    projects.write(entry("Ada", 3.0, "patient"), tmp_path / "d.json")
    found = projects.gather(tmp_path)
    assert [r.score for r in found.results["rival"]] == [-0.5] and list(found.results) == ["rival", "patient"]
    assert found.notes == ("ada has 3 results of rival: the latest counts, b.json",)


DAMAGED = {
    '{"project": "rival"': "it is damaged, or no JSON",
    "[]": "it has no project, name, criteria and score",
    "version": "its version is 9",
    "project": "its project is 'poem', none of tokenizer, rival",
    "score": "its score is 'low', and no number",
    "name": "must be a name of 1 to 60 characters",
    "criteria": "its criteria are no list",
    "date": "is no result of a project: Invalid isoformat string",
    "decides": "the criterion that decides is missing",
}
WRONG = {
    "version": 9,
    "project": "poem",
    "score": "low",
    "name": "  ",
    "criteria": [],
    "date": "yesterday",
    "decides": "x",
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_named_and_skipped(fault, tmp_path):
    projects.write(entry("Ada", 0.5), tmp_path / "good.json")
    kept = json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))
    text = json.dumps(kept | {fault: WRONG[fault]}) if fault in WRONG else fault
    written(tmp_path / "bad.json", text)
    found = projects.gather(tmp_path)
    (note,) = found.notes
    assert (
        note.startswith("bad.json is no result of a project: ") and DAMAGED[fault] in note and note.endswith("skipped")
    )
    assert len(found.results["rival"]) == 1


def test_a_folder_without_results_is_one_sentence(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for folder, said in ((tmp_path, "holds no result of a project"), (tmp_path / "no", "there is no folder")):
        code, out, err = called("collect", folder, "--out", tmp_path / "x.png")
        assert code == 2 and out == "" and said in err.splitlines()[-1]
    assert not (tmp_path / "x.png").exists()


def test_where_matplotlib_is_missing_it_is_said(school):
    script = (
        "import sys; sys.modules['matplotlib'] = None\nfrom minigpt_core.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "collect", str(school), "--out", str(school / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "pip install" in done.stderr


def test_a_result_is_read_as_it_was_written(tmp_path):
    result = entry("\u674e\u660e", -0.25, error=0.1, figures={"a": [1, 2]}, date=projects.now())
    projects.write(result, tmp_path / "r.json")
    assert projects.read(tmp_path / "r.json") == result
    assert projects.default_path("rival", "\u674e\u660e / $x").name == "\u674e\u660e-x-rival.json"
    lines = str(result).splitlines()
    assert lines[0] == "project rival, \u674e\u660e: 3 of 3 criteria met" and "  a: 1, 2" in lines


# The page.


def section(project: str) -> str:
    (found,) = re.findall(rf"\n## (?:\d\. )?[^\n]*`{project}`\n(.*?)(?=\n## |\Z)", PAGE, re.DOTALL)
    return found


@pytest.mark.parametrize("project", projects.PROJECTS)
def test_what_the_page_says_of_an_entry_is_what_its_record_holds(project):
    """Each number that was measured stands in the record, to as many decimals."""
    record = projects.read(RECORDS / f"{project}.json")
    (told,) = re.findall(r"\n### What a good result looked like.*?\n(.*?)(?=\n### |\Z)", section(project), re.DOTALL)
    sources = numbers_in(json.dumps(dataclasses.asdict(record), ensure_ascii=False).replace(" -", " "))
    checked = 0
    for number in numbers_in(
        re.sub(NO_MEASUREMENT, "", " ".join(re.sub(r"```.*?```", "", told, flags=re.DOTALL).split()))
    ):
        decimals = len(number.partition(".")[2])
        assert any(f"{float(source):.{decimals}f}" == number for source in sources), number
        checked += 1
    assert checked >= 3
    for criterion in record.criteria:
        assert f"| {criterion.name} |" in section(project), f"the table lacks {criterion.name}"
    for question in projects.PROJECTS[project].person:
        assert question in " ".join(section(project).split())


def test_the_commands_of_the_page_can_be_typed():
    commands = re.findall(r"^(minigpt .*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 8
    for line in commands:
        assert _build_parser().parse_args(shlex.split(line, comments=True)[1:]).command


def test_the_python_of_the_page_can_be_read():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3 and all(compile(block, "page", "exec") for block in blocks)


def test_the_patient_of_the_page_is_the_one_that_was_measured(tmp_path):
    (code,) = re.findall(r"```python\n(\"\"\"A patient.*?)```", PAGE, re.DOTALL)
    result = rubric_patient.judge(written(tmp_path / "patient.py", code), "An example")
    record = projects.read(RECORDS / "patient.json")
    assert result.met and met(result) == met(record)
    for kept in ("symptom", "cure"):
        assert result.figures[kept] == record.figures[kept]
    assert result.figures["healthy"] == pytest.approx(record.figures["healthy"], rel=0.05)
    assert result.figures["sick"] == record.figures["sick"]


def test_the_rung_of_the_page_keeps_the_rules(tmp_path):
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    config = rubric_rung.read(written(tmp_path / "rung.json", text)).config
    assert config.steps * config.batch_size * FastConfig(1).block_size == rubric_rung.budget()


def test_the_limits_of_the_page_are_those_of_the_rubrics():
    page = " ".join(PAGE.split())
    for said in (
        f"at most {rubric_tokenizer.TOKENS} times",
        f"at least {rubric_tokenizer.USED} times",
        f"{rubric_tokenizer.LEAST:,} characters",
        f"at most {rubric_rival.COPIES:.0%}",
        f"within {rubric_patient.SECONDS:.0f} seconds",
        f"at most {rubric_patient.LINES} lines",
        f"at most {rubric_rung.SLOWER} times",
        f"{rubric_rung.budget():,}",
    ):
        assert said in page, said
