"""The command line, run as a reader runs it: in a process of its own."""

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import called
from minigpt_core import (
    GPT,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    load_corpus,
    load_model,
    load_pretrained,
    load_tokenizer,
    save_model,
    split_text,
    train,
)
from minigpt_core.beyond.composed import ComposedConfig, ComposedGPT
from minigpt_core.beyond.large import Large
from minigpt_core.checkpoint import load_progress, step_of
from minigpt_core.cli import _as_options, _build_parser
from minigpt_core.optimizer import learning_rate_at
from minigpt_core.runs import load_run
from minigpt_core.study.planning import propose
from minigpt_core.training import saved_records
from minigpt_core.widgets.export import model_file

ROOT = Path(__file__).parents[1]
TINY = ["--corpus", "tales", "--n-layer", "1", "--n-embd", "32", "--block-size", "16", "--batch-size", "4"]


def minigpt(*arguments: str, cwd=None, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "minigpt_core", *map(str, arguments)]
    env = {"PYTHONPATH": str(ROOT), **os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, cwd=cwd, env=env)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small finished run, and what training printed."""
    folder = tmp_path_factory.mktemp("run") / "tales"
    return folder, minigpt("train", *TINY, "--steps", "200", "--learning-rate", "0.01", "--out", folder)


def test_train_shows_losses_and_samples_and_saves(run):
    folder, done = run
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"validation loss (\d+\.\d+)", done.stdout)]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert "parameters, will be saved in" in done.stdout and "--steps 200 --seed 0" in done.stdout
    model = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {p.name for p in folder.iterdir()} == {*model, "training.safetensors", "best", ".lock"}
    assert {p.name for p in (folder / "best").iterdir()} == model


def test_the_progress_bar_shows_loss_and_time_left(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    done = minigpt("train", *TINY, "--steps", "40", "--out", tmp_path / "run")
    assert re.search(r"training: .*40/40 .*<\d\d:\d\d.*loss=", done.stderr)


def test_an_answer_without_a_word_is_told_and_says_what_to_try(tmp_path):
    """A model that always draws the end of the text."""
    model = GPT(GPTConfig(3, block_size=8, n_layer=1, n_head=1, n_embd=8, end_id=0))
    with torch.no_grad():
        model.norm.bias.fill_(1)
        model.head.weight[0] += 100
    save_model(model, tmp_path)
    CharTokenizer.train("ab").save(tmp_path)
    ended = "minigpt: the model ended the text at once"
    for options, said in {
        (): f"{ended}: try another --seed or --prompt\n",
        ("--temperature", 0): f"{ended}: try another --prompt, or a --temperature above 0\n",
        ("--stop", "a"): f"{ended}, or came to a --stop text: try another --seed or --prompt\n",
        ("--max-new-tokens", 0): "",
    }.items():
        done = called("generate", "--model", tmp_path, "--prompt", "ab", *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ab\n", said)


def test_an_answer_of_spaces_is_told_as_an_empty_one_is(tmp_path):
    """A model that always writes a line break: in a terminal nothing shows. So seed 0 began a tale, and ended it."""
    model = GPT(GPTConfig(4, block_size=8, n_layer=1, n_head=1, n_embd=8, end_id=0))
    with torch.no_grad():
        model.norm.bias.fill_(1)
        model.head.weight[1] += 100  # id 1 is the line break
    save_model(model, tmp_path)
    CharTokenizer.train("ab\n").save(tmp_path)
    arguments = ["generate", "--model", tmp_path, "--max-new-tokens", 3]
    said = "minigpt: the model wrote only spaces or line breaks: try another --seed or --prompt\n"
    done = called(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n\n\n\n", said)
    with torch.no_grad():
        model.head.weight[2] += 200  # an a, which shows
    save_model(model, tmp_path, overwrite=True)
    assert (called(*arguments).stdout, called(*arguments).stderr) == ("aaa\n", "")


def test_generate_streams_repeats_with_its_seed_and_turns_with_every_knob(run):
    folder, _ = run
    arguments = ["generate", "--model", folder, "--prompt", "The ", "--max-new-tokens", "60"]
    text = minigpt(*arguments).stdout
    assert text.startswith("The ") and text == minigpt(*arguments, "--seed", "42").stdout
    greedy = minigpt(*arguments, "--temperature", "0").stdout
    assert greedy == minigpt(*arguments, "--temperature", "1", "--top-k", "1").stdout != text
    knobs = ("--seed=3", "--temperature=2", "--top-k=2", "--top-p=0.1", "--min-p=0.5")
    knobs += ("--frequency-penalty=1.5", "--presence-penalty=1.5")
    for knob in knobs:
        assert minigpt(*arguments, knob).stdout != text, knob
    stopped = minigpt(*arguments, "--stop", text[10:12]).stdout
    assert stopped == text[: text.index(text[10:12], 4)] + "\n"


def test_a_line_break_in_a_text_can_be_typed(run):
    """So a reader expects who types '\\n' between quotes: in the prompt, in what stops, in what is tokenized."""

    def write(seed: int, *more: str) -> str:
        arguments = ["generate", "--model", run[0], "--max-new-tokens", "200", "--seed", seed, *more]
        return called(*arguments, "--prompt", r"The\nlamp ").stdout

    seed = next(seed for seed in range(20) if "\n" in write(seed)[9:-1])  # with it the model, too, breaks a line
    text = write(seed)
    assert text.startswith("The\nlamp ") and "\n" in text[9:-1]
    assert write(seed, "--stop", r"\n") == text[: text.index("\n", 9)] + "\n"
    assert called("tokenize", r"a\nb", "--model", run[0]).stdout.splitlines()[0] == "a | ↵ | b"
    done = called("tokenize", r"a\\nb", "--tokenizer", "bpe").stdout  # a backslash, typed as two
    assert done.splitlines()[0].replace(" | ", "") == r"a<0x5C>nb"


@pytest.mark.parametrize("stop", [r"\r", "猫"])
def test_a_stop_that_can_never_be_written_is_refused(run, stop):
    done = called("generate", "--model", run[0], "--stop", stop)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
    assert f"--stop {shlex.quote(stop)} can never be written: character" in done.stderr


def as_in_a_terminal():
    """What a script starts in the background ignores Ctrl-C, and under nohup the end of its terminal, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_is_saved_and_resume_goes_on_with_its_own_settings(how, tmp_path):
    arguments = [sys.executable, "-m", "minigpt_core", "train", *TINY, "--steps", "3000", "--out", str(tmp_path / "r")]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal
    )
    while "step 300" not in process.stdout.readline():
        pass
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + how
    last = errors.strip().splitlines()[-1]
    assert last.startswith("minigpt: stopped after step") and last.endswith(f"train --out {tmp_path / 'r'} --resume")
    assert "Traceback" not in errors
    stopped = int(re.search(r"step (\d+) of 3000: the run is saved in", last).group(1))
    assert stopped == len(saved_records(tmp_path / "r")) >= 300
    assert f"{stopped:,} steps" in minigpt("info", "--model", tmp_path / "r").stdout
    done = minigpt("train", "--out", tmp_path / "r", "--resume")
    assert done.returncode == 0 and "step 3,000" in done.stdout and "step 300:" not in done.stdout
    assert f"3,000 steps of 4 x 16 tokens; {stopped:,} are done" in done.stdout


@pytest.mark.parametrize(
    "options, least", [(["--steps", "260"], 60), (["--minutes", "0.02"], 1)], ids=["steps", "minutes"]
)
def test_a_finished_run_is_trained_further(run, options, least, tmp_path):
    folder = tmp_path / "further"
    shutil.copytree(run[0], folder)
    assert (
        "200 steps of 4 x 16 tokens are done; to train further" in minigpt("train", "--out", folder, "--resume").stdout
    )
    done = minigpt("train", "--out", folder, "--resume", *options)
    assert done.returncode == 0, done.stderr
    records, config = saved_records(folder), load_run(folder).config
    assert len(records) == config.steps >= 200 + least and (options[0] != "--steps" or config.steps == 260)
    for record in records[200:]:
        assert record.learning_rate == learning_rate_at(record.step, config)
    assert f"200 are done, the learning rate goes on at {records[200].learning_rate:.2g}" in done.stdout
    assert "to repeat this run" not in done.stdout  # no single command does
    assert minigpt("train", "--out", folder, "--resume", "--steps", "200").stderr.count("must be more") == 1


def test_a_run_is_computed_as_asked_and_goes_on_so(tmp_path):
    def losses(text: str) -> list[list[float]]:
        found = re.findall(r"training loss (\d+\.\d+), validation loss (\d+\.\d+)", text)
        return [[float(x) for x in pair] for pair in found]

    tiny = [*TINY, "--steps", 40]
    plain = called("train", *tiny, "--out", tmp_path / "plain")
    how = ("--micro-batch", 3, "--checkpoint-activations")
    done = called("train", *tiny, *how, "--out", tmp_path / "large")
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 10
    assert np.allclose(losses(done.stdout), losses(plain.stdout), atol=0.002)  # as they are printed
    large = Large(micro_batch=3, checkpoint_activations=True)
    assert Large.of_run(tmp_path / "large") == large
    assert called("train", "--out", tmp_path / "large", "--resume", "--steps", 50).returncode == 0
    assert Large.of_run(tmp_path / "large") == large
    how = ("--no-checkpoint-activations", "--micro-batch", 2)
    assert called("train", "--out", tmp_path / "large", "--resume", "--steps", 60, *how).returncode == 0
    assert Large.of_run(tmp_path / "large") == Large(micro_batch=2)


def test_float16_is_of_the_run_and_computed_with_a_scaled_loss(tmp_path):
    out = tmp_path / "r"
    assert called("train", *TINY, "--steps", 10, "--precision", "float16", "--out", out).returncode == 0
    assert load_run(out).config.precision == "float16" and load_run(out).notes["large"]["loss_scale"] == 2**16
    assert called("train", "--resume", "--steps", 12, "--out", out).returncode == 0
    done = called("train", "--resume", "--steps", 14, "--out", out, "--precision", "float32")
    assert done.returncode == 2 and "leave out --precision" in done.stderr


@pytest.mark.parametrize(
    "options, said",
    [
        (["--micro-batch", 0], "--micro-batch 0 must be a whole number of at least 1"),
        (["--micro-batch", 2, "--minutes", 1], "say by --steps how long"),
        (["--compile", "--checkpoint-activations"], "leave out --checkpoint-activations"),
        (["--compile", "--dropout", 0.1], "leave it out, or take --dropout 0 (now 0.1)"),
    ],
)
def test_ways_to_compute_that_cannot_work_are_named(options, said, tmp_path):
    length = [] if "--minutes" in options else ["--steps", 5]
    done = called("train", *TINY, *length, *options, "--out", tmp_path / "r")
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_best_model_is_told_where_it_is_not_the_last_and_used_by_its_folder(tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("".join(chr(97 + (i * i * 7 + i // 3) % 26) for i in range(900)), encoding="utf-8")
    out = tmp_path / "r"
    done = minigpt("train", "--corpus", text, *TINY[2:], "--steps", 300, "--learning-rate", 0.02, "--out", out)
    assert done.returncode == 0, done.stderr
    validation = {r.step: r.val_loss for r in saved_records(out) if r.val_loss is not None}
    best = min(validation, key=validation.get)
    assert best < 300 and step_of(out / "best") == best
    assert f"the validation loss was lowest at step {best}, {validation[best]:.3f}" in done.stdout
    assert f"is kept in {out / 'best'}, to be used like any other" in done.stdout
    arguments = ["--prompt", "ab", "--max-new-tokens", "400"]
    written = [minigpt("generate", "--model", folder, *arguments) for folder in (out, out / "best")]
    assert all(w.returncode == 0 for w in written) and written[0].stdout != written[1].stdout


@pytest.mark.parametrize("lines", [1, 4])
def test_a_closed_pipe_stops_training_with_a_word_and_what_was_learned_is_saved(lines, tmp_path):
    out = tmp_path / "r"
    words = " ".join([*TINY, "--steps", "400", "--out", str(out)])
    command = f'"{sys.executable}" -m minigpt_core train {words} | head -{lines}; echo "code ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "code 141" and len(done.stdout.splitlines()) == lines + 1
    said = re.search(r"the output is no longer read, so training stopped after step (\d+) of 400: (.*)", done.stderr)
    if int(said[1]) == 0:  # the reader had gone before the first step
        assert said[2] == "nothing was saved" and lines == 1 and not (out / "training.safetensors").exists()
    else:
        assert int(said[1]) == len(saved_records(out)) < 400
        assert said[2].endswith(f"--out {out} --resume") and minigpt("train", "--out", out, "--resume").returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("rate", ["1e3", "1e9"])
def test_training_that_diverges_says_what_is_kept_and_keeps_what_is_finite(rate, tmp_path):
    out = tmp_path / "r"
    done = minigpt("train", *TINY, "--steps", "9", "--learning-rate", rate, "--out", out)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    said = re.search(rf"; (nothing was saved|the run is saved in {out} as of step (\d+))$", done.stderr.strip())
    if said[1] == "nothing was saved":
        assert not list(out.glob("*.*s*"))
    else:
        assert len(saved_records(out)) == int(said[2])
        assert all(tensor.isfinite().all() for tensor in load_model(out).state_dict().values())
    assert rate == "1e3" or said[1] == "nothing was saved"  # after one step of 1e9 no loss is a number


def test_two_runs_in_one_folder_are_one_too_many(tmp_path):
    out = tmp_path / "r"
    command = [sys.executable, "-m", "minigpt_core", "train", *TINY, "--steps", "100000", "--out", str(out)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        while not (out / ".lock").exists() or not (out / ".lock").read_text():
            time.sleep(0.05)
        second = minigpt("train", *TINY, "--tokenizer", "bpe", "--vocab-size", 350, "--steps", 5, "--out", out)
        assert second.returncode == 2 and len(second.stderr.strip().splitlines()) == 1
        assert f"process {first.pid} is at work in {out}" in second.stderr
        assert first.poll() is None and not (out / "bpe.model").exists()
    finally:
        first.kill()
        first.communicate()


def test_minutes_become_steps_that_can_be_repeated(tmp_path):
    began = time.perf_counter()
    done = minigpt("train", *TINY, "--minutes", "0.05", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 40
    steps = int(re.search(r"--steps (\d+) --seed 0", done.stdout).group(1))
    assert steps > 20
    again = minigpt("train", *TINY, "--steps", steps, "--seed", 0, "--out", tmp_path / "b")
    losses = re.compile(r"step [\d,]+: .*")
    assert losses.findall(done.stdout) == losses.findall(again.stdout)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_a_run_is_planned_as_the_chapter_plans_it_and_says_why(tmp_path):
    text = load_corpus("tales")[:9000]
    (tmp_path / "short.txt").write_text(text, encoding="utf-8")
    out = called("info", "--corpus", tmp_path / "short.txt").stdout
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in split_text(text))
    size, config = propose(train_ids, val_ids, tokenizer)
    assert (size.n_layer, size.n_embd, size.dropout, config.steps) == (2, 64, 0.2, 60 * len(train_ids) // 1024)
    assert "2 layers, 4 heads, 64 wide" in out and f"{size.n_parameters:,} (" in out
    assert f"for {config.steps} steps of 16 x 64 tokens" in out
    (line,) = (line for line in out.splitlines() if line.startswith("planned: "))
    assert "64 wide, for fewer than 50,000 tokens" in line and "dropout 0.2, as it is read more than 40 times" in line
    out = called("info", "--corpus", tmp_path / "short.txt", "--n-embd", 32, "--dropout", 0, "--steps", 9).stdout
    (line,) = (line for line in out.splitlines() if line.startswith("planned: "))
    assert line == "planned: 2 layers, as no time was given" and "32 wide" in out and "for 9 steps" in out
    out = called("info", "--corpus", tmp_path / "short.txt", "--recipe", "default", "--steps", 9).stdout
    assert "planned" not in out and "4 layers, 4 heads, 128 wide" in out


def test_too_many_kinds_of_character_are_planned_for_too(tmp_path):
    rare = "".join(chr(0x4E00 + i) for i in range(2500))
    (tmp_path / "many.txt").write_text(load_corpus("tales_zh")[:100_000] * 2 + rare, encoding="utf-8")
    out = called("info", "--corpus", tmp_path / "many.txt", "--n-layer", 1, "--steps", 3).stdout
    assert "vocabulary of 2000 tokens" in out


def test_the_articles_own_sample_ends_in_a_model_that_speaks(tmp_path):
    """378 characters, named as there: its readers will try that first."""
    (tmp_path / "input.txt").write_text(load_corpus("sample")[:378], encoding="utf-8")
    done = called("train", "--corpus", "input.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\n378 characters are too few: a model needs at least 2,000" in done.stdout  # so it babbles
    command = re.search(r"let it write: minigpt (.*)", done.stdout)[1]
    spoken = called(*shlex.split(command), "--max-new-tokens", 50, cwd=tmp_path)
    assert spoken.returncode == 0 and len(spoken.stdout) > 20
    refused = called("train", "--corpus", "input.txt", "--block-size", 64, "--out", "r", cwd=tmp_path)
    option = re.search(r"take a longer text, or at most (--block-size \d+)$", refused.stderr.strip())[1]
    done = called("train", "--corpus", "input.txt", *option.split(), "--steps", 2, "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_text_too_short_for_any_window_is_refused(tmp_path):
    (tmp_path / "five.txt").write_text("abcde", encoding="utf-8")
    done = called("train", "--corpus", "five.txt", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.strip().endswith("the validation part 0: take a longer text")


def test_the_split_is_chosen_and_the_usual_one_is_by_documents(tmp_path):
    sizes = {}
    for split in ("documents", "blocks", "tail", None):
        given = ["--split", split] if split else []
        out = called("info", *TINY, "--steps", 5, *given).stdout
        sizes[split] = re.search(r"([\d,]+) training tokens, ([\d,]+) validation tokens", out).groups()
    assert sizes[None] == sizes["documents"] and len(set(sizes.values())) == 3


def test_a_name_is_the_books_own_and_a_file_or_a_folder_of_that_name_is_a_path(run, tmp_path):
    (tmp_path / "tales").write_text("My own tales, in another place. " * 300, encoding="utf-8")
    book, own = (
        called("info", "--corpus", name, "--steps", 3, "--n-layer", 1, cwd=tmp_path) for name in ("tales", "./tales")
    )
    assert "vocabulary of 60 tokens" in book.stdout and "vocabulary of 19 tokens" in own.stdout
    shutil.copytree(run[0], tmp_path / "tales-char")
    book, own = (called("info", "--model", name, cwd=tmp_path) for name in ("tales-char", "./tales-char"))
    assert "4 layers" in book.stdout and "1 layer," in own.stdout
    for command in ("train", "generate"):
        assert "./NAME is always a f" in " ".join(called(command, "--help").stdout.split())


def test_the_commands_it_suggests_can_be_typed(tmp_path):
    (tmp_path / "it's mine.txt").write_text("-\\n'tis mine. " * 500, encoding="utf-8")
    short = ["--steps", 2, "--n-layer", 1]
    for out, folder in (("my run", "'my run'"), ("tales-char", "./tales-char")):
        done = called("train", "--corpus", "it's mine.txt", "--out", out, *short, cwd=tmp_path)
        command = re.search(r"let it write: minigpt (.*)", done.stdout)[1]
        assert f"--model {folder} --prompt=" in command
        spoken = called(*shlex.split(command), "--max-new-tokens", 3, cwd=tmp_path)
        assert spoken.returncode == 0 and spoken.stdout.startswith("-\\n'tis"), spoken.stderr
        again = called("train", "--corpus", "it's mine.txt", "--out", out, *short, cwd=tmp_path)
        assert f"--out {folder} --resume" in again.stderr


def test_a_console_that_is_not_utf8_takes_a_prompt_as_it_was_typed(run):
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}
    done = minigpt("generate", "--model", "tales-zh", "--prompt", "露丝", "--max-new-tokens", 3, **ascii_only)
    assert done.returncode == 0 and done.stdout.startswith("露丝"), done.stderr
    command = [sys.executable, "-m", "minigpt_core", "generate", "--model", str(run[0]), "--prompt", b"\xff"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.returncode == 2 and b"the text is not in UTF-8" in done.stderr


def test_the_article_recipe_is_chosen_by_name(tmp_path):
    out = called("info", "--recipe", "article", "--corpus", "tales").stdout
    assert "2 layers, 4 heads, 128 wide, context of 64 tokens" in out
    assert "for 1,000 steps of 32 x 64 tokens" in out


def test_the_muon_recipe_is_the_default_with_another_optimizer(tmp_path):
    chosen = {}
    for recipe in ("default", "muon"):
        out = tmp_path / recipe
        assert called("train", *TINY, "--recipe", recipe, "--steps", 20, "--out", out).returncode == 0
        chosen[recipe] = load_progress(out)["config"]
    assert chosen["muon"]["optimizer"] == "muon" and chosen["default"]["optimizer"] == "adamw"
    assert chosen["muon"] == chosen["default"] | {"optimizer": "muon"}


def test_info_estimates_before_one_runs():
    out = called("info", *TINY, "--steps", "500").stdout
    assert re.search(r"training memory +about \d+ MiB", out) and re.search(r"training time +about .*\d+ s on", out)
    assert "500 steps of 4 x 16 tokens" in out and re.search(
        r"\d s a step, from steps of this model, timed now at", out
    )


def test_info_looks_at_how_a_run_is_computed():
    shape = ("info", *TINY, "--steps", 9, "--batch-size", 64, "--n-layer", 8, "--block-size", 64)
    ways = [], ["--micro-batch", 4], ["--checkpoint-activations"], ["--precision", "float16"]
    needed = [int(re.search(r"about ([\d,]+) MiB at its peak", called(*shape, *way).stdout)[1]) for way in ways]
    assert all(less < needed[0] for less in needed[1:]), needed


def test_info_tells_the_numbers_of_a_model_that_is_too_large_to_be_built():
    """GPT-2's shape, whose time is that of one layer as many times, and one that no machine holds: soon, and without a traceback."""
    for shape, parameters, time_said in (
        (["--n-layer", 12, "--n-head", 12, "--n-embd", 768, "--block-size", 1024, "--batch-size", 8, "--micro-batch", 1],
         GPTConfig(60, block_size=1024, n_layer=12, n_head=12, n_embd=768).n_parameters, "from steps of one layer and 1 window"),
        (["--n-embd", 100_000, "--n-head", 1], GPTConfig(60, n_layer=2, n_embd=100_000).n_parameters,
         "training time    not measured, for "),
    ):  # fmt: skip
        done = called("info", *shape, "--device", "cpu")
        assert done.returncode == 0 and done.stderr == ""
        assert f"parameters       {parameters:,} (" in done.stdout and time_said in done.stdout
    done = called("train", "--n-embd", 100_000, "--n-head", 1, "--device", "cpu")
    assert done.returncode == 2 and "MiB to be trained, and this machine has" in done.stderr


@pytest.mark.parametrize("recipe", ["default", "article", "fast", "muon"])
def test_a_recipe_and_the_options_beside_it(recipe):
    out = called("info", "--recipe", recipe, "--n-embd", 32, "--steps", 40, "--batch-size", 2).stdout
    assert "32 wide" in out and "for 40 steps of 2 x 64 tokens" in out and f"recipe {recipe}" in out


def test_tokenize_shows_pieces_ids_and_counts(run):
    out = called("tokenize", "the cat", "--tokenizer", "bpe", "--vocab-size", "400").stdout.splitlines()
    assert out[0].replace(" | ", "") == "the▁cat"
    assert len(out[0].split(" | ")) == len(out[1].split()) == int(out[2].split()[0]) < 7
    by_model = called("tokenize", "the cat", "--model", run[0]).stdout.splitlines()
    assert by_model[0] == "t | h | e | ▁ | c | a | t"


def test_a_bpe_run_writes_too(tmp_path):
    done = minigpt("train", *TINY, "--tokenizer", "bpe", "--vocab-size", 350, "--steps", 5, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r/bpe.model").exists()
    assert minigpt("generate", "--model", tmp_path / "r", "--prompt", "猫", "--max-new-tokens", 5).stdout.startswith(
        "猫"
    )


def test_help_answers_without_torch():
    script = (
        "import sys\nfrom minigpt_core.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'sentencepiece' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout


BAD = {
    "no command": ([], "required: COMMAND"),
    "unknown command": (["fly"], "invalid choice: 'fly'"),
    "not a number": (["train", "--steps", "many"], "invalid int value: 'many'"),
    "no such corpus": (["train", "--corpus", "nowhere.txt"], "there is no file nowhere.txt"),
    "a directory": (["train", "--corpus", "."], "is a directory"),
    "steps and minutes": (["train", "--steps", "5", "--minutes", "1"], "give one of them"),
    "no minutes": (["train", "--minutes", "0"], "--minutes 0.0 must be a number in (0, inf)"),
    "no steps": (["train", "--steps", "0"], "--steps 0 must be a whole number"),
    "heads": (["train", "--n-embd", "30"], "--n-embd 30 is not divisible by --n-head 4"),
    "heads of info": (["info", "--n-embd", "30"], "--n-embd 30 is not divisible by --n-head 4"),
    "odd heads": (["info", "--recipe", "fast", "--n-embd", "6"], "--n-embd 6 over --n-head 2 is odd"),
    "too short a text": (["train", "--corpus", "sample", "--block-size", "64"], "or at most --block-size 37"),
    "no documents": (["train", "--corpus", "sample", "--split", "documents"], "take --split blocks"),
    "rate": (["train", "--learning-rate", "-1"], "--learning-rate -1.0 must be a number in (0, inf)"),
    "warm-up": (["train", "--steps", "5", "--warmup-steps", "9"], "--warmup-steps 9 is more than --steps 5"),
    "clip": (["train", "--clip", "0"], "--clip 0.0 must be a number in (0, inf]"),
    "dropout": (["info", "--dropout", "1"], "--dropout 1.0 must be a number in [0, 1)"),
    "batch": (["info", "--batch-size", "0"], "--batch-size 0 must be a whole number of at least 1"),
    "temperature": (
        ["generate", "--model", "tales-char", "--temperature", "inf"],
        "--temperature inf must be a finite number, at least 0",
    ),
    "no prompt's character": (
        ["generate", "--model", "tales-char", "--prompt", "\u732b"],
        "or train with --tokenizer bpe, which",
    ),
    "char with a size": (["train", "--vocab-size", "400"], "--vocab-size is for --tokenizer bpe"),
    "impossible size": (
        ["train", "--tokenizer", "bpe", "--vocab-size", "100"],
        "--vocab-size 100 does not fit this text: it must lie between",
    ),
    "resume without folder": (["train", "--resume"], "name its folder with --out"),
    "resume with settings": (["train", "--resume", "--out", "x", "--n-layer", "9"], "leave out --n-layer"),
    "resume nothing": (["train", "--resume", "--out", "nowhere"], "nowhere/training.safetensors is missing"),
    "no model": (["generate", "--model", "nowhere"], "there is no model in nowhere"),
    "export of nothing": (["export", "--model", "nowhere"], "there is no model in nowhere"),
    "info of nothing": (["info", "--model", "nowhere"], "there is no model in nowhere"),
    "model and settings": (["info", "--model", "x", "--n-layer", "2"], "leave out --n-layer"),
    "unseen character": (["tokenize", "\u732b"], "character '\u732b' (U+732B) at position 0"),
    "device": (["train", "--device", "tpu9"], "--device tpu9 cannot be used"),
    "encoding": (["tokenize", "a", "--corpus", __file__, "--encoding", "klingon"], "--encoding klingon is unknown"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line_and_exit_code_2(name, tmp_path):
    arguments, expected = BAD[name]
    done = called(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr
    assert not bare_settings(done.stderr), "it names a setting that cannot be typed"
    assert list(tmp_path.iterdir()) == [], "an error left files behind"


def bare_settings(message: str) -> set[str]:
    """The settings, of those that have an option, that a message names otherwise than as the option."""
    words = {word for word in re.findall(r"(?<![\w-])[a-z_]+(?==)|(?<![\w-])[a-z]+_[a-z_]+", message)}
    return words & ({action.dest for action in options()} | {"how"})


def options() -> list:
    """All options of all commands."""
    (commands,) = (action for action in _build_parser()._actions if action.choices)
    return [action for parser in commands.choices.values() for action in parser._actions if action.option_strings]


def test_every_setting_in_advice_becomes_an_option_that_can_be_typed():
    flags = {action.dest: action.option_strings[-1] for action in options()}
    for name in [*vars(GPTConfig(1)), *vars(TrainConfig()), "encoding", "top_p", "max_new_tokens"]:
        advice = f"take {name}=3, or a lower {name} (now 7)"
        expected = f"take {flags[name]} 3, or a lower {flags[name]} (now 7)" if name in flags else advice
        assert _as_options(advice) == expected
    assert _as_options("take how='blocks', or how=\"tail\"; how it is split") == (
        "take --split blocks, or --split tail; how it is split"
    )
    for as_it_is in ("/home/seed=3/block_size/x", "the seed and the steps", "x.n_layer", "--n-layer 3"):
        assert _as_options(as_it_is) == as_it_is


def test_a_run_that_diverges_after_resume_is_not_told_what_resume_refuses(run, tmp_path, monkeypatch):
    shutil.copytree(run[0], tmp_path / "r")
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(math.nan))
    done = called("train", "--out", tmp_path / "r", "--resume", "--steps", 220)
    assert done.returncode == 2
    assert "(now 1.0), in a new run; the run is saved in" in done.stderr and "as of step 200" in done.stderr


def test_a_run_that_diverges_names_options(tmp_path):
    done = called("train", *TINY, "--learning-rate", "1e30", "--steps", "50", "--out", tmp_path / "r")
    assert done.returncode == 2 and not bare_settings(done.stderr.splitlines()[-1])
    for option in ("--learning-rate", "--warmup-steps", "--clip"):
        assert f"{option} (now" in done.stderr


@pytest.mark.parametrize(
    "knob",
    ["--temperature=-1", "--top-k=0", "--top-p=0", "--top-p=1.5", "--min-p=2", "--temperature=nan", "--seed=-1",
     "--max-new-tokens=-1", "--stop=", "--frequency-penalty=inf"],
)  # fmt: skip
def test_a_knob_out_of_range_is_one_line(run, knob):
    done = called("generate", "--model", run[0], "--prompt", "The ", knob)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("kept", ["training.safetensors", "model.safetensors", "config.json", "tokenizer.json", "best"])
def test_nothing_of_a_run_or_a_model_is_overwritten(run, kept, tmp_path):
    """Each of the files alone is enough, as a model and a tokenizer that Python saved are."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (shutil.copytree if kept == "best" else shutil.copy)(run[0] / kept, folder / kept)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = minigpt("train", *TINY, "--steps", "5", "--out", folder)
    assert done.returncode == 2 and re.search(
        r"already holds a (run|model|tokenizer): .*name another --out", done.stderr
    )
    assert ("--resume" in done.stderr) == (kept == "training.safetensors")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_resume_writes_anew_what_is_missing_beside_the_checkpoint(run, name, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    (folder / name).unlink()
    assert minigpt("train", "--out", folder, "--resume").returncode == 0
    assert (folder / name).read_bytes() == (run[0] / name).read_bytes()


def test_a_damaged_run_is_one_line(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    (folder / "config.json").write_text(json.dumps({"version": 99, "model": {}}))
    assert (
        minigpt("generate", "--model", folder, "--max-new-tokens", "5").returncode == 0
    )  # the checkpoint has all of it
    shutil.copy(folder / "model.safetensors", folder / "training.safetensors")
    for command in (["train", "--resume", "--out"], ["info", "--model"], ["examine"]):
        done = minigpt(*command, folder)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, command
    assert "training.safetensors is no checkpoint of a run" in done.stderr
    (folder / "training.safetensors").unlink()
    assert "format version is 99" in minigpt("generate", "--model", folder).stderr


def test_a_run_that_python_made_does_not_know_its_text(tmp_path):
    ids = torch.arange(300) % 5
    config = TrainConfig(steps=2, warmup_steps=0, device="cpu")
    tokenizer = CharTokenizer.train("abcd")
    model = GPT(GPTConfig(5, block_size=8, n_layer=1, n_embd=8))
    list(train(model, ids[:200], ids[200:], config, tmp_path / "r", tokenizer=tokenizer))
    for command in (["train", "--resume", "--out"], ["examine"]):
        assert "does not say where its text is" in minigpt(*command, tmp_path / "r").stderr
    assert minigpt("generate", "--model", tmp_path / "r", "--max-new-tokens", "5").returncode == 0


def test_a_closed_pipe_is_no_error(run):
    command = f'"{sys.executable}" -m minigpt_core generate --model "{run[0]}" --max-new-tokens 3000 | head -c 5'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_a_shipped_model_is_named_by_its_name(tmp_path):
    assert "tales-char" in re.sub(r"\s", "", called("generate", "--help").stdout)
    assert "CharTokenizer" in called("info", "--model", "tales-char", cwd=tmp_path).stdout
    out = called("generate", "--model", "tales-char", "--prompt", "Wren ", "--max-new-tokens", "5", cwd=tmp_path).stdout
    assert out.startswith("Wren ") and len(out) > 6


def test_export_writes_one_file_and_never_over_another(run, tmp_path):
    out = called("export", "--model", run[0], cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    raw = model_file(load_model(run[0]), load_tokenizer(run[0]))
    assert (tmp_path / "tales.mgpt").read_bytes() == raw and [p.name for p in tmp_path.iterdir()] == ["tales.mgpt"]
    assert out.stdout.startswith(f"tales.mgpt, {len(raw) / 1e6:.1f} MB: drop it")
    for options in ([], ["--out", "tales.mgpt"]):
        again = called("export", "--model", run[0], *options, cwd=tmp_path)
        assert again.returncode == 2 and again.stderr == "minigpt: tales.mgpt is there already: name another --out\n"
    assert called("export", "--model", "tales-zh", "--out", "new/zh.mgpt", cwd=tmp_path).returncode == 0
    assert (tmp_path / "new" / "zh.mgpt").read_bytes() == model_file(*load_pretrained("tales-zh"))


def test_export_of_what_the_page_cannot_compute_is_one_line_and_no_file(tmp_path):
    tokenizer = CharTokenizer(["a", "b"])
    model = ComposedGPT(ComposedConfig(3, n_layer=1, n_head=1, n_embd=8, feed_forward="experts"))
    save_model(model, tmp_path / "experts")
    tokenizer.save(tmp_path / "experts")
    out = called("export", "--model", "experts", cwd=tmp_path)
    assert out.returncode == 2 and out.stderr.endswith("in float32 only, and this one has experts\n")
    assert [path.name for path in tmp_path.iterdir()] == ["experts"]


def test_examine_tells_what_the_losses_of_a_run_mean(run):
    folder, _ = run
    done = called("examine", folder)
    assert done.returncode == 0 and done.stdout.startswith("Verdict: "), done.stderr
    assert "ln V 4.09" in done.stdout and "  Try: " in done.stdout


@pytest.fixture(scope="module")
def own_text(tmp_path_factory):
    """The folder of a run on a file, and the file."""
    file = tmp_path_factory.mktemp("own") / "own.txt"
    file.write_text(load_corpus("tales")[:9000], encoding="utf-8")
    done = called("train", "--corpus", file, "--steps", 20, "--n-layer", 1, "--out", file.parent / "run")
    assert done.returncode == 0, done.stderr
    return file.parent / "run", file


@pytest.mark.parametrize("change", ["shuffled", "longer", "other characters", "gone"])
def test_a_run_is_judged_by_its_own_text_only(own_text, change):
    folder, file = own_text
    text = file.read_text(encoding="utf-8")
    assert "own.txt, unchanged since" in called("info", "--model", folder).stdout
    assert called("examine", folder).returncode == 0
    changed = {"shuffled": text[4500:] + text[:4500], "longer": text + text[:500], "other characters": "猫" + text}
    try:
        file.unlink() if change == "gone" else file.write_text(changed[change], encoding="utf-8")
        said = "cannot be had as it was" if change in ("gone", "other characters") else "own.txt has changed since"
        for done in (called("examine", folder), called("train", "--out", folder, "--resume")):
            assert done.returncode == 2 and done.stdout == "" and said in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
        shown = called("info", "--model", folder)  # which tells all the same what the model is
        assert shown.returncode == 0 and "1 layer," in shown.stdout and said in shown.stdout
    finally:
        file.write_text(text, encoding="utf-8")


def test_examine_knows_how_the_run_was_made(tmp_path):
    """Chinese at the end of English: by the tail it advises another split, by options, and by blocks it does not."""
    file = tmp_path / "mixed.txt"
    file.write_text(load_corpus("tales")[:9000] + load_corpus("tales_zh")[:600], encoding="utf-8")
    short = ["--steps", 20, "--n-layer", 1, "--tokenizer", "char"]
    assert called("train", "--corpus", file, "--split", "tail", "--out", tmp_path / "t", *short).returncode == 0
    out = called("examine", tmp_path / "t").stdout
    assert out.startswith("Verdict: distribution shift") and "--split documents, or --split blocks" in out


def test_examine_refuses_what_is_no_run(tmp_path):
    done = called("examine", tmp_path / "nothing")
    assert done.returncode != 0 and "Traceback" not in done.stderr and str(tmp_path / "nothing") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
