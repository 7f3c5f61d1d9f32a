"""The command line: train, prepare, generate, chat, tokenize, export, info, examine, selftest, project, collect. torch is imported only by the commands that need it."""

import argparse
import contextlib
import math
import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .config import GPTConfig, TrainConfig, check_number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .model import GPT
    from .runs import SavedRun
    from .study.projects import Result
    from .tokenizer import Coder, Tokenizer
    from .training import Record, Run

EXAMPLES = """\
examples
  minigpt info --corpus alice                      how large, how long, before you start
  minigpt train --corpus alice --minutes 1         learn for a minute, save to runs/alice
  minigpt prepare web/*.jsonl.gz --out data/web    cut much text into tokens, for minigpt train --data data/web
  minigpt generate --model runs/alice --prompt "Alice "
  minigpt generate --model tales-char              a model that ships with the package
  minigpt generate --model alice.mgpt              one that export, or a page of the book, wrote as a file
  minigpt chat --model smollm2                     talk with a real model, which is fetched once (93 MB)
  minigpt tokenize "The cat sat." --tokenizer bpe  see the pieces a text is cut into
  minigpt export --model runs/alice                one file, with which it writes in a page of the book
  minigpt selftest                                 does this device compute what it should?
  minigpt project rival runs/mine --name Ada       judge a project by its rubric, write a small file
  minigpt collect results                          the files of a class as one figure

`minigpt COMMAND --help` lists what a command takes.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        _tell(f"{self.prog}: {message} (see {self.prog} --help)")
        sys.exit(2)


class _Stopped(Exception):
    """A command was stopped from outside: a line for stderr, and the exit code."""

    def __init__(self, line: str, code: int):
        super().__init__(line)
        self.code = code


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0, 2 after an error, which is one line on stderr, and where a signal stopped it 128
    and its number, as in 130 after Ctrl-C."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as by 2>&-
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    parser = _build_parser()
    arguments = parser.parse_args(list(map(_as_utf8, sys.argv[1:] if argv is None else argv)))
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            # A console that cannot show a character shows "?"; whoever reads a pipe sees each line when it is printed.
            output.reconfigure(errors="replace", line_buffering=True)
    try:
        arguments.command(arguments)
        return 0
    except BrokenPipeError:  # the reader of our output has gone, as after `| head`
        _close_output()
        return 0
    except _Stopped as stopped:
        if str(stopped):
            _tell(f"\nminigpt: {stopped}")
        return stopped.code
    except KeyboardInterrupt as interrupt:
        _tell(f"\nminigpt: {interrupt or 'interrupted'}")
        return 130
    except (ValueError, FloatingPointError, OSError) as error:
        _tell(f"minigpt: {_as_options(' '.join(str(error).split()))}")
        return 2
    except (MemoryError, RuntimeError) as error:  # PyTorch's own, of a device's memory too
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
            raise
        smaller = "--n-embd, --n-layer, --block-size or --batch-size"
        _tell(f"minigpt: the memory of this machine does not suffice: take a smaller {smaller}")
        return 2


def _several() -> bool:
    """Whether torchrun has started this program several times."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _tell(line: str) -> None:
    """Why the program ends; of several processes, the first that knows it tells."""
    if _several():
        from .beyond.many import first_to_tell

        if not first_to_tell():
            return
    print(line, file=sys.stderr)


def _close_output() -> None:
    """Let nothing more be written to an output that no one reads: Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def train_command(a: argparse.Namespace) -> None:
    """`minigpt train`: train a model, showing the loss and a sample as it learns. Of several processes the first one shows it."""
    if not _several():
        return _train(a)
    from .beyond.many import processes

    with processes() as rank, contextlib.ExitStack() as silence:
        if rank:
            silence.enter_context(contextlib.redirect_stdout(silence.enter_context(open(os.devnull, "w"))))
        return _train(a, quiet=rank > 0)


def _train(a: argparse.Namespace, quiet: bool = False) -> None:
    if _several():
        from .beyond.many import leave_signals_to_the_run as own_signals
    else:
        from .interrupts import end_in_order as own_signals

    prepare = _saved_run if a.resume else _new_run
    run, tokenizer, train_ids, told = prepare(a)
    own_signals()
    try:
        print(told)
        _watch(run, tokenizer, quiet)
    except (FloatingPointError, KeyboardInterrupt, SystemExit) as stop:
        if quiet:  # it came to all processes, and the first one tells
            raise _Stopped("", 2) from None
        if not isinstance(stop, FloatingPointError):
            raise _stopped(run, stop) from None
        advice = f"{stop}, in a new run" if a.resume else str(stop)  # this one keeps its settings
        raise FloatingPointError(f"{advice}; {run.where}") from None
    except BrokenPipeError as stop:
        raise _stopped(run, stop) from None
    if not quiet:
        _tell_end(run, tokenizer, train_ids)


def _new_run(a: argparse.Namespace) -> "tuple[Run, Tokenizer, Tensor, str]":
    """A run that is to begin, its tokenizer and training ids, and what is told of it before."""
    import torch

    from .files import held_in
    from .registry import build
    from .study.planning import check_memory
    from .training import train

    origin = _origin(a)
    folder = Path(a.out or f"runs/{Path(origin['data'] or origin['corpus']).stem}")
    if found := held_in(folder, "a run", "a model", "a tokenizer"):
        go_on = f"go on with it by --out {_quoted(folder)} --resume, or " if found == "a run" else ""
        raise ValueError(f"{folder} already holds {found}: {go_on}name another --out")
    train_ids, val_ids, tokenizer = _prepare(origin)
    size, config, reasons = _plan(a, train_ids, val_ids, tokenizer)
    engine = _engine(a, config.precision)
    check_memory(size, config, **_kept(engine))
    _needed_memory(size, config, engine)
    torch.manual_seed(config.seed)
    model = build(size)
    run = train(model, train_ids, val_ids, config, folder, tokenizer=tokenizer, notes=origin, engine=engine)
    repeat = f"--n-layer {size.n_layer} --steps {config.steps} --seed {config.seed}"
    told = (
        f"{_describe_data(train_ids, val_ids, tokenizer)}{_too_little(origin)}\n{reasons}\n"
        f"{model.n_parameters:,} parameters, will be saved in {folder}\n{_describe_steps(run)}; to repeat this run: {repeat}"
    )
    return run, tokenizer, train_ids, told


def _saved_run(a: argparse.Namespace) -> "tuple[Run, Tokenizer, Tensor, str]":
    """The same of a run that goes on where it was saved."""
    from .optimizer import learning_rate_at
    from .registry import build
    from .runs import load_run
    from .training import resume

    longer = ("steps", "minutes")
    fixed = (*_TEXT, *_SIZE, *_RECIPE, "precision")
    given = [n for n in fixed if n not in (*longer, "data") and getattr(a, n) is not None]
    if given or not a.out:
        problem = f"leave out --{given[0].replace('_', '-')}" if given else "name its folder with --out"
        raise ValueError(f"--resume goes on with a run and its own settings: {problem}")
    folder = Path(a.out)
    saved = load_run(folder)
    train_ids, val_ids, tokenizer = _data_of_run(folder, saved, a.data)
    steps = _length(a, saved, train_ids, val_ids)
    engine = _engine(a, saved.config.precision, folder)
    _needed_memory(saved.model, saved.config, engine)
    run = resume(build(saved.model), train_ids, val_ids, folder, device=a.device, steps=steps, engine=engine)
    assert run.folder is not None
    run.folder.notes |= _origin_of(folder, saved, a.data)  # the prepared text may have moved
    done = len(run.records)
    if done < run.config.steps:
        rate = learning_rate_at(done + 1, run.config)
        state = f"; {done:,} are done, the learning rate goes on at {rate:.2g}"
    else:
        state = f" are done; to train further, give --steps above {done} or --minutes"
    told = f"{_describe_data(train_ids, val_ids, tokenizer)}\n{_describe_steps(run)}{state}"
    return run, tokenizer, train_ids, told


def _engine(a: argparse.Namespace, precision: str, folder: Path | None = None) -> "Callable[..., Run]":
    """What computes a new run, or that in `folder`: the plain way, where no option says otherwise."""
    from .beyond.large import Large
    from .training import Run

    given = {name: getattr(a, name) for name in _HOW if getattr(a, name) is not None}
    kind = Large
    if _several():
        from .beyond.many import Many

        kind = Many
    elif given.pop("shard", False):
        raise ValueError("--shard spreads a model over several processes: start them with torchrun, or leave it out")
    large = kind(**given) if folder is None else kind.of_run(folder, **given)
    plain = large == Large() and precision != "float16"
    if a.minutes is not None and not plain:
        raise ValueError(
            "--minutes are measured with the plain way to compute a step: say by --steps how long to train"
        )
    return Run if plain else large


def _kept(engine: "Callable[..., Run]") -> dict[str, Any]:
    """Of how a run is computed, what decides on its memory."""
    return {name: getattr(engine, name) for name in ("micro_batch", "checkpoint_activations") if hasattr(engine, name)}


def _needed_memory(size: GPTConfig, config: TrainConfig, engine: "Callable[..., Run]") -> float:
    """Bytes that a run needs. Of one that needs much, all that it frees goes back, so that it needs no more."""
    from .beyond.large import return_freed_memory
    from .study.planning import training_memory

    needed = training_memory(size, config, **_kept(engine))
    if needed > MUCH:
        return_freed_memory()
    return needed


def _watch(run: "Run", tokenizer: "Tokenizer", quiet: bool = False) -> None:
    """Train, with a bar, and at each evaluation the losses and a sample."""
    from tqdm import tqdm

    done = len(run.records)
    hidden = {"disable": True} if quiet else {}
    with tqdm(total=run.config.steps, initial=done, unit="step", desc="training", dynamic_ncols=True, **hidden) as bar:
        for record in run:
            bar.update()
            bar.set_postfix(loss=f"{record.train_loss:.2f}", refresh=False)
            if record.val_loss is not None and not quiet:
                losses = f"training loss {record.train_loss:.3f}, validation loss {record.val_loss:.3f}"
                tqdm.write(f"\nstep {record.step:,}: {losses}\n{_sample(run.model, tokenizer)}")


def _stopped(run: "Run", stop: BaseException) -> _Stopped:
    """How a run that was stopped ends: by Ctrl-C, by a signal, or since nobody reads the output, as after `| head`."""
    told, code = f"stopped after step {len(run.records)} of {run.config.steps}: {run.where}", 130
    if isinstance(stop, BrokenPipeError):
        _close_output()
        told, code = f"the output is no longer read, so training {told}", 141
    elif isinstance(stop, SystemExit):  # by SIGTERM or SIGHUP
        code = int(stop.code or 0)
    if run.folder and run.folder.saved:
        told += f"; go on with: minigpt train --out {_quoted(run.folder.path)} --resume"
    return _Stopped(told, code)


def _tell_end(run: "Run", tokenizer: "Tokenizer", train_ids: "Tensor") -> None:
    """Where the models are, and the command that lets them write."""
    from .checkpoint import step_of
    from .runs import BEST

    assert run.folder is not None
    folder, best = run.folder.path, run.best_step
    if best is not None and best < len(run.records) and step_of(folder / BEST) == best:
        lowest = f"the validation loss was lowest at step {best:,}, {run.records[best - 1].val_loss:.3f}"
        print(f"\n{lowest}: the model of that step is kept in {folder / BEST}, to be used like any other")
    opening = tokenizer.decode(train_ids[:50].tolist()).split()[:1] or [""]
    prompt = shlex.quote(opening[0].replace("\\", r"\\"))
    print(f"\nsaved in {folder}; let it write: minigpt generate --model {_quoted(folder)} --prompt={prompt}")


def prepare_command(a: argparse.Namespace) -> None:
    """`minigpt prepare`: cut more text than fits in memory into tokens, for `minigpt train --data`."""
    from .beyond.prepare import PIECES, prepare
    from .beyond.shards import PARTS
    from .interrupts import end_in_order

    if a.model and a.vocab_size is not None:
        raise ValueError("--model brings its own tokenizer: leave out --vocab-size")
    settings = {name: getattr(a, name) for name in ("fraction", "field", "encoding", "near", "workers")}
    settings["tokenizer"] = _load_tokenizer(a.model) if a.model else None
    settings["vocab_size"] = PIECES if a.vocab_size is None else a.vocab_size
    end_in_order()
    try:
        done = prepare(a.files, a.out, **settings)
    except (KeyboardInterrupt, SystemExit) as stop:
        code = int(stop.code or 0) if isinstance(stop, SystemExit) else 130
        raise _Stopped("stopped; the same command goes on where it was", code) from None
    except MemoryError:
        raise ValueError(
            "the memory of this machine does not suffice: take fewer workers, or shorter documents"
        ) from None
    (documents, tokens), (held_out, val_tokens) = (done.count(part) for part in PARTS)
    print(
        f"{_count(documents, 'document')} to learn from, {held_out:,} held out; {done.repeated:,} repeated, and dropped"
    )
    if done.near is not None:
        alike, across = done.near
        print(
            f"{_count(alike, 'document')} almost like an earlier one, {across:,} of them on both sides of the split: see "
            f"{Path(a.out) / 'near.jsonl'}"
        )
    print(
        f"{tokens:,} training tokens, {val_tokens:,} validation tokens; vocabulary of {done.vocab_size} tokens\n"
        f"saved in {a.out}; learn from it: minigpt train --data {_quoted(Path(a.out))}"
    )


def generate_command(a: argparse.Namespace) -> None:
    """`minigpt generate`: continue a prompt, streaming."""
    from .sampling import stream

    model, tokenizer = _load(a.model, a.device)
    for stop in a.stop or ():
        _check_can_be_written(stop, tokenizer)
    knobs = {name: getattr(a, name) for name in _KNOBS}
    texts = stream(model, tokenizer, a.prompt, a.max_new_tokens, stop=a.stop or (), **knobs)
    written = next(texts, "")
    print(a.prompt + written, end="", flush=True)  # a prompt or a knob that is refused shows no text before
    for text in texts:
        print(text, end="", flush=True)
        written += text
    print()
    if not written.strip() and a.max_new_tokens:
        what = "wrote only spaces or line breaks" if written else "ended the text at once"
        stopped = ", or came to a --stop text" if a.stop else ""
        other = "--seed or --prompt" if a.temperature else "--prompt, or a --temperature above 0"
        print(f"minigpt: the model {what}{stopped}: try another {other}", file=sys.stderr)


def chat_command(a: argparse.Namespace) -> None:
    """`minigpt chat`: talk with a model that was trained to answer, turn by turn."""
    from .beyond.byte_level import ByteLevelBPETokenizer
    from .beyond.chat import Conversation

    model, tokenizer = _load(a.model, a.device)
    if not isinstance(tokenizer, ByteLevelBPETokenizer):
        raise ValueError(
            f"{a.model} was not trained to talk, it continues texts: take minigpt generate, or --model smollm2"
        )
    system = {} if a.system is None else {"system": a.system}
    talk = Conversation(model, tokenizer, window=a.window, **system)
    knobs = {name: getattr(a, name) for name in _KNOBS}
    sign = "> " if sys.stdin.isatty() else ""
    if sign:
        print("Ctrl-C ends an answer, Ctrl-D or an empty line the talk.")
    forgotten = 0
    while message := _asked(sign):
        knobs["seed"] = (knobs["seed"] + 1) % 2**32  # the same question twice has not the same answer
        try:
            for piece in talk.reply(message, a.max_new_tokens, stop=tuple(a.stop or ()), **knobs):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:  # of the answer; the talk goes on
            print(" ...", end="")
        except ValueError as error:
            if not sign:
                raise
            print(f"minigpt: {error}", end="", file=sys.stderr)
        print()
        if talk.forgotten > forgotten:
            forgotten = talk.forgotten
            turns = _count(forgotten, "question")
            print(
                f"minigpt: the window of {talk.window} tokens is full: the oldest {turns} with the answer is forgotten",
                file=sys.stderr,
            )


def _asked(sign: str) -> str:
    """The next line that the reader writes; nothing at the end of the input."""
    try:
        return input(sign).strip()
    except EOFError:
        return ""


def tokenize_command(a: argparse.Namespace) -> None:
    """`minigpt tokenize`: show the pieces of a text and their ids."""
    if a.model:
        given = [name for name in _TEXT if getattr(a, name) is not None]
        if given:
            raise ValueError(f"--model brings its own tokenizer: leave out --{given[0].replace('_', '-')}")
        real = _load_real(a.model)
        tokenizer = real[1] if real else _load_tokenizer(a.model)
    else:
        tokenizer = _prepare(_origin(a))[2]
    ids = tokenizer.encode(a.text)
    pieces = [tokenizer.tokens[i] for i in ids]
    print(" | ".join(pieces))
    print(" ".join(map(str, ids)))
    print(
        f"{_count(len(ids), 'token')} for {_count(len(a.text), 'character')}, from a vocabulary of {tokenizer.vocab_size}"
    )


def export_command(a: argparse.Namespace) -> None:
    """`minigpt export`: a model as one file, which a page of the book can read."""
    from .files import write_atomic
    from .widgets.export import model_file

    path = Path(a.out or f"{_model_path(a.model).resolve().name.removesuffix('.mgpt')}.mgpt")
    if path.exists():
        raise ValueError(f"{path} is there already: name another --out")
    raw = model_file(*_load(a.model))
    write_atomic(path, raw)
    print(f"{path}, {len(raw) / 1e6:.1f} MB: drop it on a playground of the book, or choose it there")


def info_command(a: argparse.Namespace) -> None:
    """`minigpt info`: what a saved model is, or what a run would take."""
    from .study.planning import check_memory, estimate_steps

    if a.model:
        given = [
            name
            for name in (*_TEXT, *_SIZE, *_RECIPE, *_HOW, "precision")
            if name != "data" and getattr(a, name) is not None
        ]
        if given:
            raise ValueError(f"--model shows a saved model: leave out --{given[0].replace('_', '-')}")
        _show_saved(a.model, a.data)
        return
    origin = _origin(a)
    train_ids, val_ids, tokenizer = _prepare(origin)
    size, config, reasons = _plan(a, train_ids, val_ids, tokenizer)
    print(f"{_describe_data(train_ids, val_ids, tokenizer)}{_too_little(origin)}\n{reasons}")
    _show_size(size)
    engine = _engine(a, config.precision)
    needed = _needed_memory(size, config, engine)
    print(f"training memory  about {needed / 2**20:,.0f} MiB at its peak, besides torch and the text")
    work = f"{config.steps:,} steps of {config.batch_size} x {size.block_size} tokens"
    try:
        check_memory(size, config, **_kept(engine))
        step, evaluation, how = estimate_steps(size, config, train_ids, val_ids, engine)
    except ValueError as error:
        print(f"training time    not measured, for {work}: {_as_options(str(error))}")
    else:
        seconds = config.steps * step - (-config.steps // config.eval_every) * evaluation
        print(f"training time    about {_clock(seconds)} on this machine, for {work}")
        print(f"                 {step:.2g} s a step, {how}")


def examine_command(a: argparse.Namespace) -> None:
    """`minigpt examine`: what the losses of a run say."""
    from .runs import load_run
    from .study.clinic import COUNTED, examine
    from .training import saved_records

    folder = Path(a.run)
    run, records = load_run(folder), saved_records(folder)
    train_ids, val_ids, tokenizer = _data_of_run(folder, run, a.data)
    stored = _origin_of(folder, run)["data"] is not None
    train_part, val_part = (ids[: COUNTED if stored else None] for ids in (train_ids, val_ids))
    if stored:
        print(f"counted in the first {len(train_part):,} training and {len(val_part):,} validation tokens")
    losses, validation, done = _losses(folder, run, records)
    print(_as_options(str(examine(losses, validation, train_part, val_part, tokenizer.vocab_size, **done))))


def _losses(
    folder: Path, run: "SavedRun", records: "list[Record]"
) -> tuple[list[float], dict[int, float], dict[str, Any]]:
    """What the clinic asks of a run: its losses of training and validation, and what was already done."""
    validation = {record.step: record.val_loss for record in records if record.val_loss is not None}
    done = {"split": _origin_of(folder, run)["split"], "dropout": run.model.dropout}
    return [record.train_loss for record in records], validation, done


def selftest_command(a: argparse.Namespace) -> None:
    """`minigpt selftest`: whether a device computes what it should."""
    from .study import selftest

    report = selftest.check_device(a.device)
    print(_as_options(str(report)))
    if not report.ok:
        raise ValueError(report.verdict)


def project_command(a: argparse.Namespace) -> None:
    """`minigpt project`: judge an entry by the rubric of its project, and write the result."""
    from .study import projects

    needed = {"tokenizer": ("corpus",), "rung": ()}.get(a.project, ())
    allowed = {"tokenizer": ("corpus", "encoding"), "rung": ("corpus", "encoding", "tune")}.get(a.project, ())
    for name in ("corpus", "encoding", "tune"):
        if getattr(a, name) and name not in allowed:
            raise ValueError(f"--{name} says nothing of the project {a.project}: leave it out")
        if name in needed and not getattr(a, name):
            raise ValueError(f"the project {a.project} needs its text: name it by --{name}")
    name = projects.check_name(a.name)
    path = Path(a.out) if a.out else projects.default_path(a.project, name)
    if not a.tune:
        projects.check_free(path, a.overwrite)
    result = {"tokenizer": _tokenizer, "rival": _rival, "patient": _patient, "rung": _rung}[a.project](a, name, path)
    print(_as_options(str(result)))
    if a.tune:
        print("nothing is written: this was on the end of the training part, to choose settings")
        return
    projects.write(result, path, overwrite=a.overwrite)
    print(f"saved in {path}; gather those of a class: minigpt collect {shlex.quote(str(path.parent))}")


def _tokenizer(a: argparse.Namespace, name: str, _: Path) -> "Result":
    from .corpus import load_corpus
    from .study.rubric_tokenizer import judge

    return judge(a.entry, load_corpus(a.corpus, encoding=a.encoding), name)


def _rival(a: argparse.Namespace, name: str, _: Path) -> "Result":
    from .checkpoint import load_model
    from .files import held_in
    from .runs import BEST, load_run
    from .study.rubric_rival import judge
    from .training import saved_records

    folder = Path(a.entry)
    run, records = load_run(folder), saved_records(folder)
    if _origin_of(folder, run)["data"] is not None:
        raise ValueError(f"the run in {folder} learned from prepared text, which is not counted whole: take --corpus")
    train_ids, val_ids, tokenizer = _data_of_run(folder, run)
    losses, validation, done = _losses(folder, run, records)
    model = load_model(folder / BEST if held_in(folder / BEST, "a model") else folder)
    seconds = records[-1].elapsed if records else None
    return judge(model, tokenizer, train_ids, val_ids, losses, validation, name, seconds=seconds, **done)


def _patient(a: argparse.Namespace, name: str, _: Path) -> "Result":
    from .study.rubric_patient import judge

    return judge(a.entry, name)


def _rung(a: argparse.Namespace, name: str, path: Path) -> "Result":
    from .beyond.rubric_rung import judge
    from .corpus import load_corpus

    text = load_corpus(a.corpus or "shakespeare", encoding=a.encoding)
    kept = None if a.tune else path.with_suffix(".jsonl")
    try:
        return judge(a.entry, text, name, kept, tune=a.tune)
    except KeyboardInterrupt:
        advice = "" if kept is None else "; what was measured is kept, and the same command goes on from there"
        raise _Stopped(f"stopped{advice}", 130) from None


def collect_command(a: argparse.Namespace) -> None:
    """`minigpt collect`: the results of a class as one figure."""
    from .files import write_atomic
    from .study.projects import PROJECTS, check_free, gather, summary

    path = Path(a.out)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path} must end in .png or .svg")
    check_free(path, a.overwrite)
    found = gather(a.folder)
    for note in found.notes:
        print(f"minigpt: {note}", file=sys.stderr)
    try:
        from .notebook import class_figure
    except ImportError as error:
        raise ValueError(
            f'the figure needs {error.name}, which is not installed: pip install "matplotlib>=3.8" ipykernel'
        ) from None
    panels = [
        class_figure.Panel(
            title=summary(project, results),
            axis=PROJECTS[project].axis,
            line=results[0].line,
            line_name=PROJECTS[project].line,
            kinds=[criterion.name for criterion in results[0].criteria],
            names=[result.name for result in results],
            values=[result.score for result in results],
            errors=[result.error for result in results],
            counted=[result.met for result in results],
            marks=[[criterion.met for criterion in result.criteria] for result in results],
        )
        for project, results in found.results.items()
    ]
    write_atomic(path, class_figure.as_file(class_figure.class_results(panels), path.suffix[1:]))
    for panel in panels:
        print(panel.title)
        for name, value, counted in zip(panel.names, panel.values, panel.counted, strict=True):
            print(f"  {'met' if counted else 'NOT met':8} {value:8.3f}  {name}")
    rows = _count(sum(len(panel.names) for panel in panels), "row")
    print(f"{path} shows {rows}, a dot for each person: {'; '.join(panel.title for panel in panels)}.")


MUCH = 64 * 2**20  # bytes; of a run that needs less, no one asks where they are
WINDOWS = 1_000  # of the validation part of prepared text, spread over it, on which a model is evaluated

# What the options mean: text and tokenizer, size of the model, recipe of the training, how it is computed, knobs of sampling.
_TEXT = {"corpus": "tales", "data": None, "encoding": None, "tokenizer": None, "vocab_size": None, "split": None}
_SIZE = ("n_layer", "n_head", "n_embd", "block_size", "dropout")
_RECIPE = ("recipe", "steps", "minutes", "batch_size", "learning_rate", "warmup_steps", "clip", "eval_every", "seed")
_HOW = ("micro_batch", "checkpoint_activations", "compile", "shard")
_KNOBS = ("temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "seed")


def _origin(a: argparse.Namespace) -> dict[str, Any]:
    """Where the tokens of a run come from: enough to make them again."""
    from .corpus import BUNDLED, DOWNLOADS

    if a.data is not None:
        if given := [name for name in _TEXT if name != "data" and getattr(a, name) is not None]:
            raise ValueError(
                f"--data brings its own text, split and tokenizer: leave out --{given[0].replace('_', '-')}"
            )
        return dict.fromkeys(_TEXT) | {"data": str(Path(a.data).resolve())}
    origin: dict[str, Any] = {
        name: default if getattr(a, name) is None else getattr(a, name) for name, default in _TEXT.items()
    }
    if origin["tokenizer"] != "bpe" and origin["vocab_size"] is not None:
        raise ValueError(
            "--vocab-size is for --tokenizer bpe: a char tokenizer has as many tokens as the text characters"
        )
    if origin["tokenizer"] == "bpe" and origin["vocab_size"] is None:
        origin["vocab_size"] = 512
    if origin["split"] is None and getattr(a, "recipe", None) == "article":
        origin["split"] = "tail"
    if origin["corpus"] not in (*BUNDLED, *DOWNLOADS) and Path(origin["corpus"]).is_file():
        origin["corpus"] = str(Path(origin["corpus"]).resolve())  # a run may be resumed from another folder
    return origin


def _origin_of(folder: Path, run: "SavedRun", data: str | None = None) -> dict[str, Any]:
    """Where the tokens of a run come from, by its notes; prepared text may lie elsewhere now, in `data`."""
    notes = run.notes
    if data is not None:
        if not notes.get("data"):
            raise ValueError(f"the run in {folder} did not learn from prepared text: leave out --data")
        notes = notes | {"data": str(Path(data).resolve())}
    named = notes.get("corpus") or notes.get("data")
    if not all(isinstance(notes.get(name), str | int | None) for name in _TEXT) or not named:
        raise ValueError(f"the run in {folder} does not say where its text is: only `minigpt train` notes that")
    return {name: notes.get(name) for name in _TEXT}


def _prepare(origin: dict[str, Any], tokenizer: "Tokenizer | None" = None) -> "tuple[Tensor, Tensor, Tokenizer]":
    """Training and validation ids, and the tokenizer: char learns from the whole text, BPE from the training part, and where
    neither is asked for, the text decides. Text that `minigpt prepare` cut stays on disk."""
    import torch

    if origin["data"]:
        from .beyond.stored import load_data

        return load_data(origin["data"], tokenizer)

    from .corpus import load_corpus
    from .data import split_text
    from .study.planning import fitting_tokenizer, look_at
    from .tokenizer import BPETokenizer, CharTokenizer

    text = load_corpus(origin["corpus"], encoding=origin["encoding"])
    train_text, val_text = split_text(text, origin["split"])
    if tokenizer is None and origin["tokenizer"] == "bpe":
        tokenizer = BPETokenizer.train(train_text, vocab_size=origin["vocab_size"])
    elif tokenizer is None and origin["tokenizer"] == "char":
        tokenizer = CharTokenizer.train(text)
    elif tokenizer is None:
        tokenizer = fitting_tokenizer(look_at(text), train_text)
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part), dtype=torch.long) for part in (train_text, val_text))
    return train_ids, val_ids, tokenizer


def _data_of_run(folder: Path, run: "SavedRun", data: str | None = None) -> "tuple[Tensor, Tensor, Tokenizer]":
    """The ids and the tokenizer of a run; a text that is no longer what the run learned from is a `ValueError`."""
    from .runs import fingerprint
    from .tokenizer import load_tokenizer

    origin = _origin_of(folder, run, data)
    try:
        train_ids, val_ids, tokenizer = _prepare(origin, load_tokenizer(folder))
    except ValueError as error:
        reason = str(error).split(": ")[0]  # without the advice, which is for a new run
        moved = "; if it has moved, say by --data where it is" if origin["data"] else ""
        raise ValueError(f"the text of the run in {folder} cannot be had as it was: {reason}{moved}") from None
    if run.fingerprint != fingerprint(train_ids, val_ids):
        raise ValueError(
            f"the run in {folder} learned from another text: {origin['data'] or origin['corpus']} has changed since"
        )
    return train_ids, val_ids, tokenizer


def _plan(
    a: argparse.Namespace, train_ids: "Tensor", val_ids: "Tensor", tokenizer: "Tokenizer"
) -> tuple[GPTConfig, TrainConfig, str]:
    """Size and recipe, and one line on what was chosen and why: planned for text and time, or a recipe that has a name.
    Options that were given stay as they are."""
    from .study.planning import explain, propose

    training = (*(name for name in _RECIPE if name not in ("recipe", "minutes")), "device", "precision")
    chosen = {name: getattr(a, name) for name in (*_SIZE, *training) if getattr(a, name, None) is not None}
    if a.data is not None:  # of much text, a part says how good the model is
        chosen["eval_windows"] = WINDOWS
    if a.minutes is not None and a.steps is not None:
        raise ValueError("--steps and --minutes both say how long: give one of them")
    if a.minutes is not None:
        check_number("minutes", a.minutes, 0, math.inf, low_included=False)
    seconds = None if a.minutes is None else 60 * a.minutes
    if a.recipe is not None:
        return *_named_recipe(a.recipe, chosen, seconds, train_ids, val_ids, tokenizer), f"recipe {a.recipe}"
    size, config = propose(train_ids, val_ids, tokenizer, seconds, **chosen)
    return (
        size,
        config,
        f"planned: {explain(size, config, len(train_ids), seconds, **chosen) or 'nothing, all is given'}",
    )


def _named_recipe(
    recipe: str,
    chosen: dict[str, Any],
    seconds: float | None,
    train_ids: "Tensor",
    val_ids: "Tensor",
    tokenizer: "Tokenizer",
) -> tuple[GPTConfig, TrainConfig]:
    from .beyond.fast import FastConfig, fast_recipe
    from .study.planning import time_steps

    shapes: dict[str, Callable[..., GPTConfig]] = {"article": GPTConfig.article, "fast": FastConfig}
    recipes = {"article": TrainConfig.article(), "fast": fast_recipe(), "muon": TrainConfig(optimizer="muon")}
    size = shapes.get(recipe, GPTConfig)(tokenizer.vocab_size, end_id=tokenizer.end_id)
    size = replace(size, **{name: value for name, value in chosen.items() if name in _SIZE})
    given = {name: value for name, value in chosen.items() if name not in _SIZE}
    config = recipes.get(recipe, TrainConfig())
    steps = given.get("steps", config.steps)
    config = replace(config, **given | {"steps": config.steps, "warmup_steps": 0})
    if seconds is not None:
        step, evaluation = time_steps(size, config, train_ids, val_ids)
        steps = max(10, int((seconds - 10 * evaluation) / step))
    usual = recipes.get(recipe, TrainConfig())
    timing = {"warmup_steps": usual.warmup_steps, "eval_every": usual.eval_every}
    if steps != usual.steps:
        part = max(1, steps // 10)
        timing = {"warmup_steps": min(usual.warmup_steps, part), "eval_every": part, "checkpoint_every": part}
    return size, replace(config, **timing | given | {"steps": steps})


def _length(a: argparse.Namespace, run: "SavedRun", train_ids: "Tensor", val_ids: "Tensor") -> int | None:
    """How many steps in all --steps, or --minutes from where it is, give a saved run; None where neither is given."""
    from .study.planning import time_steps

    if a.minutes is None:
        return a.steps
    if a.steps is not None:
        raise ValueError("--steps and --minutes both say how long: give one of them")
    check_number("minutes", a.minutes, 0, math.inf, low_included=False)
    config = replace(run.config, device=a.device or run.config.device)
    step, evaluation = time_steps(run.model, config, train_ids, val_ids)
    return len(run.rows) + max(1, int(60 * a.minutes / (step + evaluation / config.eval_every)))


def _sample(model: "GPT", tokenizer: "Tokenizer") -> str:
    from .sampling import stream

    return "".join(stream(model, tokenizer, "", 120, temperature=0.8))


def _describe_data(train_ids: "Tensor", val_ids: "Tensor", tokenizer: "Tokenizer") -> str:
    V = tokenizer.vocab_size
    return (
        f"{len(train_ids):,} training tokens, {len(val_ids):,} validation tokens; vocabulary of {V} tokens "
        f"(guessing blindly: a loss of ln {V} = {math.log(V):.2f})"
    )


def _too_little(origin: dict[str, Any]) -> str:
    """Of a text from which no words can be learned, a line that says so."""
    from .corpus import load_corpus
    from .study.planning import look_at

    if origin["data"]:
        return ""
    look = look_at(load_corpus(origin["corpus"], encoding=origin["encoding"]))
    return "" if look.usable else f"\n{'; '.join(look.advice)}"


def _describe_steps(run: "Run") -> str:
    return f"{run.config.steps:,} steps of {run.config.batch_size} x {run.model.config.block_size} tokens"


def _model_path(name: str) -> Path:
    """The folder of the shipped model called so, or the folder or file of that name. That there is none is a `ValueError`."""
    from .beyond.real import PUBLISHED
    from .pretrained import FOLDER, PRETRAINED

    path = FOLDER / name if name in PRETRAINED else Path(name)
    if not path.exists() and name not in PUBLISHED:
        raise ValueError(
            f"there is no model in {name}: name a folder, a file, one of the shipped models {', '.join(PRETRAINED)}, or of the "
            f"published ones {', '.join(PUBLISHED)}"
        )
    return path


def _load(name: str, device: str | None = None) -> "tuple[GPT, Coder]":
    """A shipped, saved or published model, and its tokenizer. One token at a time, a CPU is as fast as any device."""
    from .checkpoint import load_model
    from .devices import pick_device
    from .tokenizer import load_tokenizer
    from .widgets.export import load_model_file

    chosen = pick_device(device or "cpu")
    if real := _load_real(name, chosen):
        return real
    path = _model_path(name)
    model, tokenizer = load_model_file(path) if path.is_file() else (load_model(path), load_tokenizer(path))
    return model.to(chosen), tokenizer


def _load_tokenizer(name: str) -> "Tokenizer":
    """That of a shipped or saved model."""
    from .tokenizer import load_tokenizer
    from .widgets.export import load_model_file

    path = _model_path(name)
    return load_model_file(path)[1] if path.is_file() else load_tokenizer(path)


def _load_real(name: str, device: "torch.device | str" = "cpu") -> "tuple[GPT, Coder] | None":
    """A published model and its tokenizer; None where the name is that of one of this package."""
    from .beyond.real import is_real, load_real
    from .pretrained import PRETRAINED

    return load_real(name, device) if name not in PRETRAINED and is_real(name) else None


def _quoted(folder: Path) -> str:
    """The folder as it is typed in a command: quoted where it must be, and never taken for a shipped model."""
    from .pretrained import PRETRAINED

    name = str(folder)
    return shlex.quote(f"./{name}" if name in PRETRAINED or name.startswith("-") else name)


def _show_saved(name: str, data: str | None) -> None:
    from .runs import load_run
    from .training import saved_records

    folder = _model_path(name)
    model, tokenizer = _load(name)
    print(f"tokenizer        {type(tokenizer).__name__}, {tokenizer.vocab_size} tokens")
    _show_size(model.config)
    is_run = (folder / "training.safetensors").exists()
    if data is not None and not is_run:
        raise ValueError(f"{name} is a model without a run: leave out --data")
    if is_run and (records := saved_records(folder)):
        val_loss = next((r.val_loss for r in reversed(records) if r.val_loss is not None), None)
        shown = f"validation loss {val_loss:.3f}" if val_loss is not None else "not yet evaluated"
        print(f"training         {records[-1].step:,} steps in {_clock(records[-1].elapsed)}, {shown}")
        try:
            run = load_run(folder)
            _data_of_run(folder, run, data)
            origin = _origin_of(folder, run, data)
            print(f"text             {origin['data'] or origin['corpus']}, unchanged since")
        except ValueError as error:
            print(f"text             {_as_options(str(error))}")


def _show_size(size: GPTConfig) -> None:
    blocks = f"{_count(size.n_layer, 'layer')}, {_count(size.n_head, 'head')}, {size.n_embd} wide"
    print(f"model            {blocks}, context of {_count(size.block_size, 'token')}")
    n = size.n_parameters
    print(f"parameters       {n:,} ({size.n_block_parameters:,} in the blocks), {4 * n / 2**20:,.1f} MiB")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 120:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _as_options(message: str) -> str:
    """Advice with the names of settings as the options that set them: block_size=36 as --block-size 36, "a lower
    learning_rate" as "a lower --learning-rate". What has no option stays as it is, but for how BPE is always trained here."""
    names = {
        name: f"--{name.replace('_', '-')}"
        for name in (
            *_TEXT,
            *_SIZE,
            *_RECIPE,
            *_HOW,
            *_KNOBS,
            "precision",
            "max_new_tokens",
            "device",
            "field",
            "fraction",
            "workers",
        )
    }
    names["how"] = "--split"  # as in split_text

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if value is not None:
            return f"{names[name]} {shlex.quote(value.strip(chr(39) + chr(34)))}"
        return names[name] if "_" in name or match["now"] is not None else name

    pattern = rf"(?<![\w./-])(?P<name>{'|'.join(names)})(?![\w/-])(?:=(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;:()]+)|(?P<now>(?= \(now )))?"
    message = message.replace("with character_coverage=1.0 and byte_fallback=True ", "")
    return re.sub(pattern, option, message).replace("use a BPETokenizer", "train with --tokenizer bpe")


def _as_utf8(argument: str) -> str:
    """An argument as it was typed: in a locale that is not UTF-8, Python takes its bytes for half characters."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:  # the name of an old file: it can be opened as it is
        return argument


def _text(argument: str) -> str:
    """A text as an argument, in which \\n is a line break, \\t a tab and \\\\ a backslash."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("the text is not in UTF-8: set the terminal to UTF-8") from None
    return re.sub(r"\\([nt\\])", lambda match: {"n": "\n", "t": "\t", "\\": "\\"}[match[1]], argument)


def _check_can_be_written(stop: str, tokenizer: "Coder") -> None:
    """Refuse a text that the model can never write, so that nothing would stop at it."""
    try:
        tokenizer.encode(stop)
    except ValueError as error:
        raise ValueError(f"--stop {shlex.quote(stop)} can never be written: {error}") from None


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="minigpt",
        description="Build, train and play with a GPT small enough for a laptop.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add_command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        description = text[0].upper() + text[1:] + "."
        command = commands.add_parser(name, help=text, description=description, usage=f"minigpt {name} [options]")
        command.set_defaults(command=function)
        return command

    p = add_command("train", train_command, "train a model on a text")
    for add in (_add_text, _add_size, _add_recipe, _add_how):
        add(p)
    group = p.add_argument_group("where")
    group.add_argument("--out", metavar="FOLDER", help="folder of the run (default runs/CORPUS)")
    text = (
        "go on with the run in --out where it was saved; with --steps, to so many in all, with --minutes so much longer"
    )
    group.add_argument("--resume", action="store_true", help=text)

    p = add_command("prepare", prepare_command, "cut more text than fits in memory into tokens, for train --data")
    p.usage = "minigpt prepare FILES... --out FOLDER [options]"
    text = "files or patterns: .txt, .jsonl, both also as .gz, and .parquet (with pyarrow)"
    p.add_argument("files", nargs="+", metavar="FILES", help=text)
    text = "folder for tokens and tokenizer; after a kill, the same command goes on where it was"
    p.add_argument("--out", required=True, metavar="FOLDER", help=text)
    p.add_argument(
        "--field", default="text", metavar="NAME", help="where the text is in .jsonl and .parquet (default text)"
    )
    p.add_argument("--encoding", metavar="NAME", help="of the files, where it is not UTF-8: gb18030, ...")
    p.add_argument("--model", metavar="MODEL", help="cut with the tokenizer of this model or run, not with a new one")
    _option(p, "vocab_size", int, "number of BPE pieces, learned from a part of the text (default 2000)")
    _option(p, "fraction", float, "share of the documents that is held out for validation", default=0.1)
    p.add_argument("--near", action="store_true", help="list the documents that are almost the same, in near.jsonl")
    _option(p, "workers", int, "processes that cut (default, and at most: one for each processor)")

    p = add_command("generate", generate_command, "let a trained model write")
    text = (
        "a shipped model (tales-char, tales-bpe, tales-zh, shakespeare-char), a published one (smollm2, gpt2), a file (.mgpt or "
        "GGUF), or the folder of one; ./NAME is always a folder or a file"
    )
    p.add_argument("--model", required=True, metavar="MODEL", help=text)
    text = r"text to continue, with \n for a line break (default: begin a new one)"
    p.add_argument("--prompt", type=_text, default="", metavar="TEXT", help=text)
    _add_knobs(p)

    p = add_command("chat", chat_command, "talk with a model that was trained to answer")
    text = "a published model that was trained to talk (smollm2), a GGUF file, or a folder of transformers"
    p.add_argument("--model", default="smollm2", metavar="MODEL", help=f"{text} (default smollm2)")
    p.add_argument("--system", type=_text, metavar="TEXT", help="what the model reads before the talk")
    text = "keep at most N tokens of the talk (default: the context of the model)"
    p.add_argument("--window", type=int, metavar="N", help=text)
    _add_knobs(p)

    p = add_command("tokenize", tokenize_command, "show the pieces of a text and their ids")
    p.usage = "minigpt tokenize TEXT [options]"
    p.add_argument("text", type=_text, metavar="TEXT", help=r"the text to cut into pieces, with \n for a line break")
    p.add_argument("--model", metavar="MODEL", help="use the tokenizer of this model, not a new one")
    _add_text(p)

    p = add_command("export", export_command, "write a model as one file, for the playground of a page")
    text = (
        "the folder of a run or of a saved model, a shipped model, or such a file; ./NAME is always a folder or a file"
    )
    p.add_argument("--model", required=True, metavar="MODEL", help=text)
    p.add_argument("--out", metavar="FILE", help="(default MODEL.mgpt, here)")

    p = add_command("info", info_command, "show what a run would take, or what a saved model is")
    p.add_argument(
        "--model", metavar="MODEL", help="a saved, a shipped or a published model: a folder, a file or a name"
    )
    for add in (_add_text, _add_size, _add_recipe, _add_how):
        add(p)

    p = add_command("examine", examine_command, "tell what the losses of a run mean, and what to try")
    p.usage = "minigpt examine RUN [options]"
    p.add_argument("run", metavar="RUN", help="folder of a run")
    p.add_argument("--data", metavar="FOLDER", help="where its prepared text is, if that has moved")

    p = add_command("selftest", selftest_command, "check in seconds that a device computes what it should")
    text = "auto, cpu, cuda or mps (default auto: what train would take)"
    p.add_argument("--device", default="auto", metavar="NAME", help=text)

    p = add_command("project", project_command, "judge a project by its rubric, and write the result")
    p.usage = "minigpt project PROJECT ENTRY --name NAME [options]"
    text = "tokenizer, rival, patient or rung: the page Projects of the book tells what each is"
    p.add_argument("project", choices=("tokenizer", "rival", "patient", "rung"), metavar="PROJECT", help=text)
    text = (
        "what is judged: the folder or .py file of a tokenizer, the folder of a run, the .py file of a patient, the .json or "
        ".py file of a rung; Python files are run, so judge only what you trust"
    )
    p.add_argument("entry", metavar="ENTRY", help=text)
    p.add_argument("--name", required=True, type=_text, metavar="NAME", help="who made it, as a figure shows it")
    p.add_argument("--corpus", metavar="TEXT", help="the text of a tokenizer, or of a rung (default shakespeare)")
    p.add_argument("--encoding", metavar="NAME", help="of the text, where it is not UTF-8: gb18030, ...")
    text = "of a rung: measure on the end of the training part, to choose settings; nothing is written"
    p.add_argument("--tune", action="store_true", help=text)
    p.add_argument("--out", metavar="FILE", help="(default results/NAME-PROJECT.json)")
    p.add_argument("--overwrite", action="store_true", help="replace the result that is there")

    p = add_command("collect", collect_command, "gather the results of a class into one figure")
    p.usage = "minigpt collect FOLDER [options]"
    p.add_argument("folder", metavar="FOLDER", help="of the files that minigpt project wrote, folders inside it too")
    p.add_argument("--out", default="class.png", metavar="FIGURE", help=".png or .svg (default class.png)")
    p.add_argument("--overwrite", action="store_true", help="replace the figure that is there")
    return parser


def _add_knobs(p: argparse.ArgumentParser) -> None:
    text = r"end before this text, such as \n\n; may be given several times"
    p.add_argument("--stop", type=_text, action="append", metavar="TEXT", help=text)
    p.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps (default cpu)")
    _option(p, "max_new_tokens", int, "at most so many tokens", default=500)
    group = p.add_argument_group("knobs")
    _option(group, "temperature", float, "0: always the likeliest token; 1: as learned", default=0.8)
    _option(group, "top_k", int, "draw from the N likeliest tokens")
    _option(group, "top_p", float, "draw from the likeliest tokens that reach X together", default=1.0)
    _option(group, "min_p", float, "drop what is less than X times as likely as the likeliest", default=0.0)
    _option(group, "frequency_penalty", float, "cost of each earlier occurrence of a token", default=0.0)
    _option(group, "presence_penalty", float, "cost of having occurred at all", default=0.0)
    _option(group, "seed", int, "another number, another text", default=42)


def _add_text(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("text")
    text = "tales, tales_zh, sample, alice, shakespeare, or a file; ./NAME is always a file (default tales)"
    group.add_argument("--corpus", metavar="TEXT", help=text)
    text = "text that minigpt prepare cut, instead of --corpus and what follows; of a saved run, where it has moved to"
    group.add_argument("--data", metavar="FOLDER", help=text)
    group.add_argument("--encoding", metavar="NAME", help="of the file, where it is not UTF-8: gb18030, ...")
    group.add_argument(
        "--tokenizer", choices=("char", "bpe"), help="characters, or byte-pair pieces (default: the text decides)"
    )
    _option(group, "vocab_size", int, "number of BPE pieces (default 512)")
    text = (
        "validated on whole documents, on blocks from everywhere, or on the last tenth (default documents where the text has "
        "20 or more that end in <|endoftext|>, else blocks)"
    )
    group.add_argument("--split", choices=("documents", "blocks", "tail"), help=text)


def _add_size(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("size", "Without --recipe, what is not given is planned for the text and the time.")
    _option(group, "n_layer", int, "blocks")
    _option(group, "n_head", int, "attention heads a block")
    _option(group, "n_embd", int, "width")
    _option(group, "block_size", int, "context window in tokens")
    _option(group, "dropout", float, "share of activations dropped in training")


def _add_recipe(p: argparse.ArgumentParser) -> None:
    default = TrainConfig()
    group = p.add_argument_group("recipe")
    text = (
        "a recipe that does not look at the text; default: four blocks, 128 wide; article: the baseline that this book grew "
        "from; muon: the default with another optimizer, for a text that is read only a few times; fast: another "
        "architecture, words in seconds"
    )
    group.add_argument("--recipe", choices=("default", "article", "muon", "fast"), help=text)
    _option(
        group, "steps", int, f"training steps (default {default.steps}, fewer where they would only learn by heart)"
    )
    _option(group, "minutes", float, "as many steps as fit into X minutes here, instead of --steps")
    _option(group, "batch_size", int, f"windows a step (default {default.batch_size})")
    _option(group, "learning_rate", float, f"at its peak (default {default.learning_rate})")
    _option(group, "warmup_steps", int, f"steps in which it rises (default a tenth, at most {default.warmup_steps})")
    _option(group, "clip", float, f"largest norm of the gradient (default {default.clip})")
    _option(group, "eval_every", int, "steps between evaluations (default a tenth of the steps)")
    _option(group, "seed", int, f"of weights, batches and dropout (default {default.seed})")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps (default auto)")


def _add_how(p: argparse.ArgumentParser) -> None:
    text = (
        "For what does not fit or takes too long. What is learned stays the same, but for rounding; --resume may change it. "
        "Several processes on one machine: torchrun --nproc-per-node=2 -m minigpt_core train ..."
    )
    group = p.add_argument_group("how it is computed", text)
    _option(group, "micro_batch", int, "windows at once; the gradients of a batch are added up (default: all)")
    switch = argparse.BooleanOptionalAction
    text = "keep less memory for the backward pass, and compute each block twice"
    group.add_argument("--checkpoint-activations", action=switch, help=text)
    text = "by torch.compile: slow to begin, and faster mostly on a GPU"
    group.add_argument("--compile", action=switch, help=text)
    text = "each of several processes keeps a part of the weights (FSDP), not all of them (DDP)"
    group.add_argument("--shard", action=switch, help=text)
    text = "float32, bfloat16, float16 with a scaled loss, or auto, the better for the device (default); stays with the run"
    group.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), help=text)


def _option(p: Any, name: str, kind: type, text: str, default: float | None = None) -> None:
    """--name-with-dashes, a number; without a default here the command settles it."""
    shown = text if default is None else f"{text} (default {default})"
    flag = f"--{name.replace('_', '-')}"
    p.add_argument(flag, type=kind, default=default, metavar="N" if kind is int else "X", help=shown)
