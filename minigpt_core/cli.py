"""The command line: train, generate, tokenize, info. torch is imported only by the commands that need it."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .config import GPTConfig, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from .model import GPT
    from .tokenizer import Tokenizer

EXAMPLES = """\
examples
  minigpt info --corpus alice                      how large, how long, before you start
  minigpt train --corpus alice --minutes 1         learn for a minute, save to runs/alice
  minigpt generate --model runs/alice --prompt "Alice "
  minigpt generate --model tales-char              a model that ships with the package
  minigpt tokenize "The cat sat." --tokenizer bpe  see the pieces a text is cut into

`minigpt COMMAND --help` lists what a command takes.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0, 2 after an error, which is one line on stderr, 130 after Ctrl-C."""
    parser = _build_parser()
    arguments = parser.parse_args(argv)
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # a console that cannot show a character shows "?"
    try:
        arguments.command(arguments)
        return 0
    except BrokenPipeError:  # the reader of our output has gone, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupt:
        print(f"\nminigpt: {interrupt or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"minigpt: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def train_command(a: argparse.Namespace) -> None:
    """`minigpt train`: train a model, showing the loss and a sample as it learns."""
    from tqdm import tqdm

    from .checkpoint import load_progress
    from .fast import build, config_of
    from .files import write_atomic
    from .tokenizer import load_tokenizer
    from .training import resume, saved_records, train

    if a.resume:
        given = [name for name in (*_TEXT, *_SIZE, *_RECIPE) if getattr(a, name) is not None]
        if given or not a.out:
            problem = f"leave out --{given[0].replace('_', '-')}" if given else "name its folder with --out"
            raise ValueError(f"--resume goes on with a run and its own settings: {problem}")
        folder = Path(a.out)
        progress = load_progress(folder)
        origin = _read_origin(folder)
        tokenizer = load_tokenizer(folder)
        train_ids, val_ids, _ = _prepare(origin, tokenizer)
        model = build(config_of(progress["model"]))
        config = TrainConfig(**progress["config"])
        done = len(saved_records(folder))
        records = resume(model, train_ids, val_ids, folder, device=a.device)
    else:
        origin = _origin(a)
        folder = Path(a.out or f"runs/{Path(origin['corpus']).stem}")
        if (folder / "training.safetensors").exists():
            raise ValueError(
                f"{folder} already holds a run: go on with it by --out {folder} --resume, or name another --out"
            )
        train_ids, val_ids, tokenizer = _prepare(origin)
        model = _new_model(a, tokenizer)
        config = _recipe(a, model, train_ids, val_ids)
        done = 0
        records = train(model, train_ids, val_ids, config, folder)
        tokenizer.save(folder)
        write_atomic(folder / "run.json", json.dumps(origin, indent=1).encode("utf-8"))

    print(f"{_describe_data(train_ids, val_ids, tokenizer)}\n{model.n_parameters:,} parameters, saved in {folder}")
    print(
        f"{config.steps:,} steps of {config.batch_size} x {model.config.block_size} tokens; "
        f"to repeat this run: --steps {config.steps} --seed {config.seed}"
    )
    try:
        with tqdm(total=config.steps, initial=done, unit="step", desc="training", dynamic_ncols=True) as bar:
            for record in records:
                bar.update()
                bar.set_postfix(loss=f"{record.train_loss:.2f}", refresh=False)
                if record.val_loss is not None:
                    losses = f"training loss {record.train_loss:.3f}, validation loss {record.val_loss:.3f}"
                    tqdm.write(f"\nstep {record.step:,}: {losses}\n{_sample(model, tokenizer)}")
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(f"{interrupt}; go on with: minigpt train --out {folder} --resume") from None
    opening = tokenizer.decode(train_ids[:50].tolist()).split()[:1] or [""]
    print(f'\nsaved in {folder}; let it write: minigpt generate --model {folder} --prompt "{opening[0]}"')


def generate_command(a: argparse.Namespace) -> None:
    """`minigpt generate`: continue a prompt, streaming."""
    from .checkpoint import load_model
    from .sampling import stream
    from .tokenizer import load_tokenizer
    from .training import pick_device

    folder = _model_folder(a.model)
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, pick_device(a.device or "cpu"))  # one token at a time, a CPU is as fast
    knobs = {name: getattr(a, name) for name in _KNOBS}
    texts = stream(model, tokenizer, a.prompt, a.max_new_tokens, stop=a.stop or (), **knobs)
    print(a.prompt + next(texts, ""), end="", flush=True)  # a prompt or a knob that is refused shows no text before
    for text in texts:
        print(text, end="", flush=True)
    print()


def tokenize_command(a: argparse.Namespace) -> None:
    """`minigpt tokenize`: show the pieces of a text and their ids."""
    from .tokenizer import load_tokenizer

    if a.model:
        given = [name for name in _TEXT if getattr(a, name) is not None]
        if given:
            raise ValueError(f"--model brings its own tokenizer: leave out --{given[0].replace('_', '-')}")
        tokenizer = load_tokenizer(_model_folder(a.model))
    else:
        _, _, tokenizer = _prepare(_origin(a))
    ids = tokenizer.encode(a.text)
    pieces = [tokenizer.tokens[i] for i in ids]
    print(" | ".join(pieces))
    print(" ".join(map(str, ids)))
    print(f"{len(ids)} tokens for {len(a.text)} characters, from a vocabulary of {tokenizer.vocab_size}")


def info_command(a: argparse.Namespace) -> None:
    """`minigpt info`: what a saved model is, or what a run would take."""
    from .planning import time_steps, training_memory

    if a.model:
        given = [name for name in (*_TEXT, *_SIZE, *_RECIPE) if getattr(a, name) is not None]
        if given:
            raise ValueError(f"--model shows a saved model: leave out --{given[0].replace('_', '-')}")
        _show_saved(_model_folder(a.model))
        return
    train_ids, val_ids, tokenizer = _prepare(_origin(a))
    model = _new_model(a, tokenizer)
    config = _recipe(a, model, train_ids, val_ids)
    step, evaluation = time_steps(model, config, train_ids, val_ids)
    evaluations = -(-config.steps // config.eval_every)
    print(_describe_data(train_ids, val_ids, tokenizer))
    _show_size(model)
    print(f"training memory  about {training_memory(model, config) / 2**20:,.0f} MiB, besides torch itself")
    print(
        f"training time    about {_clock(config.steps * step + evaluations * evaluation)} on this machine, for "
        f"{config.steps:,} steps of {config.batch_size} x {model.config.block_size} tokens"
    )


def examine_command(a: argparse.Namespace) -> None:
    """`minigpt examine`: what the losses of a run say."""
    from .clinic import examine
    from .tokenizer import load_tokenizer
    from .training import saved_records

    folder = Path(a.run)
    records = saved_records(folder)
    train_ids, val_ids, tokenizer = _prepare(_read_origin(folder), load_tokenizer(folder))
    validation = {record.step: record.val_loss for record in records if record.val_loss is not None}
    print(examine([r.train_loss for r in records], validation, train_ids, val_ids, tokenizer.vocab_size))


# What the options mean: text and tokenizer, size of the model, recipe of the training, knobs of sampling.
_TEXT = {"corpus": "tales", "encoding": None, "tokenizer": "char", "vocab_size": None, "split": None}
_SIZE = ("n_layer", "n_head", "n_embd", "block_size", "dropout")
_RECIPE = ("recipe", "steps", "minutes", "batch_size", "learning_rate", "eval_every", "seed")
_KNOBS = ("temperature", "top_k", "top_p", "min_p", "frequency_penalty", "presence_penalty", "seed")


def _origin(a: argparse.Namespace) -> dict[str, Any]:
    """Where the tokens of a run come from: enough to make them again."""
    origin: dict[str, Any] = {
        name: default if getattr(a, name) is None else getattr(a, name) for name, default in _TEXT.items()
    }
    if origin["tokenizer"] == "char" and origin["vocab_size"] is not None:
        raise ValueError(
            "--vocab-size is for --tokenizer bpe: a char tokenizer has as many tokens as the text characters"
        )
    if origin["tokenizer"] == "bpe" and origin["vocab_size"] is None:
        origin["vocab_size"] = 512
    if origin["split"] is None:
        origin["split"] = "tail" if getattr(a, "recipe", None) == "article" else "blocks"
    if Path(origin["corpus"]).is_file():
        origin["corpus"] = str(Path(origin["corpus"]).resolve())  # a run may be resumed from another folder
    return origin


def _read_origin(folder: Path) -> dict[str, Any]:
    try:
        origin = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return {name: origin[name] for name in _TEXT}
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder}/run.json is missing or damaged: without it the run's text is not known") from None


def _prepare(origin: dict[str, Any], tokenizer: "Tokenizer | None" = None) -> "tuple[Tensor, Tensor, Tokenizer]":
    """Training and validation ids, and the tokenizer: char learns from the whole text, BPE from the training part."""
    import torch

    from .corpus import load_corpus
    from .data import split_text
    from .tokenizer import BPETokenizer, CharTokenizer

    text = load_corpus(origin["corpus"], encoding=origin["encoding"])
    train_text, val_text = split_text(text, origin["split"])
    if tokenizer is None and origin["tokenizer"] == "bpe":
        tokenizer = BPETokenizer.train(train_text, vocab_size=origin["vocab_size"])
    elif tokenizer is None:
        tokenizer = CharTokenizer.train(text)
    return torch.tensor(tokenizer.encode(train_text)), torch.tensor(tokenizer.encode(val_text)), tokenizer


def _new_model(a: argparse.Namespace, tokenizer: "Tokenizer") -> "GPT":
    import torch

    from .fast import FastConfig, build

    bases: dict[str, Callable[..., GPTConfig]] = {"article": GPTConfig.article, "fast": FastConfig}
    chosen = {name: getattr(a, name) for name in _SIZE if getattr(a, name) is not None}
    torch.manual_seed(a.seed or 0)
    return build(replace(bases.get(a.recipe, GPTConfig)(tokenizer.vocab_size, end_id=tokenizer.end_id), **chosen))


def _recipe(a: argparse.Namespace, model: "GPT", train_ids: "Tensor", val_ids: "Tensor") -> TrainConfig:
    """The settings of the run; --minutes is turned into a number of steps by timing a few."""
    from .fast import fast_recipe

    recipes = {"article": TrainConfig.article(), "fast": fast_recipe(), "muon": TrainConfig(optimizer="muon")}
    config = recipes.get(a.recipe, TrainConfig())
    names = ("batch_size", "learning_rate", "seed", "device")
    config = replace(config, **{name: getattr(a, name) for name in names if getattr(a, name) is not None})
    steps = config.steps if a.steps is None else a.steps
    if a.minutes is not None:
        if a.steps is not None:
            raise ValueError("--steps and --minutes both say how long: give one of them")
        if not 0 < a.minutes < 1e6:
            raise ValueError(f"--minutes {a.minutes} must be above 0")
        from .planning import time_steps

        step, evaluation = time_steps(model, config, train_ids, val_ids)
        steps = max(10, int((60 * a.minutes - 10 * evaluation) / step))
    replace(config, warmup_steps=0, steps=steps)  # refuses a number of steps that cannot be
    if steps != config.steps:
        config = replace(
            config,
            steps=steps,
            warmup_steps=min(config.warmup_steps, steps // 10),
            eval_every=max(1, steps // 10),
            checkpoint_every=max(1, steps // 10),
        )
    return config if a.eval_every is None else replace(config, eval_every=a.eval_every)


def _sample(model: "GPT", tokenizer: "Tokenizer") -> str:
    from .sampling import stream

    return "".join(stream(model, tokenizer, "", 120, temperature=0.8))


def _describe_data(train_ids: "Tensor", val_ids: "Tensor", tokenizer: "Tokenizer") -> str:
    import math

    V = tokenizer.vocab_size
    return (
        f"{len(train_ids):,} tokens to learn from, {len(val_ids):,} to be tested on; vocabulary of {V} tokens "
        f"(guessing blindly: a loss of ln {V} = {math.log(V):.2f})"
    )


def _model_folder(name: str) -> Path:
    """The folder of that name, or that of the shipped model called so."""
    from .pretrained import FOLDER, PRETRAINED

    return FOLDER / name if name in PRETRAINED and not Path(name).exists() else Path(name)


def _show_saved(folder: Path) -> None:
    from .checkpoint import load_model
    from .tokenizer import load_tokenizer
    from .training import saved_records

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    print(f"tokenizer        {type(tokenizer).__name__}, {tokenizer.vocab_size} tokens")
    _show_size(model)
    if (folder / "training.safetensors").exists() and (records := saved_records(folder)):
        val_loss = next((r.val_loss for r in reversed(records) if r.val_loss is not None), None)
        shown = f"validation loss {val_loss:.3f}" if val_loss is not None else "not yet evaluated"
        print(f"training         {records[-1].step:,} steps in {_clock(records[-1].elapsed)}, {shown}")


def _show_size(model: "GPT") -> None:
    c = model.config
    blocks = sum(p.numel() for p in model.blocks.parameters())
    print(f"model            {c.n_layer} layers, {c.n_head} heads, {c.n_embd} wide, context of {c.block_size} tokens")
    print(
        f"parameters       {model.n_parameters:,} ({blocks:,} in the blocks), {4 * model.n_parameters / 2**20:.1f} MiB"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


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
    for add in (_add_text, _add_size, _add_recipe):
        add(p)
    group = p.add_argument_group("where")
    group.add_argument("--out", metavar="FOLDER", help="folder of the run (default runs/CORPUS)")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out where it was saved")

    p = add_command("generate", generate_command, "let a trained model write")
    text = "folder of a trained model, or a shipped one: tales-char, tales-bpe, tales-zh, shakespeare-char"
    p.add_argument("--model", required=True, metavar="MODEL", help=text)
    p.add_argument("--prompt", default="", metavar="TEXT", help="text to continue (default: begin a new one)")
    p.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be given several times")
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

    p = add_command("tokenize", tokenize_command, "show the pieces of a text and their ids")
    p.usage = "minigpt tokenize TEXT [options]"
    p.add_argument("text", metavar="TEXT", help="the text to cut into pieces")
    p.add_argument("--model", metavar="MODEL", help="use the tokenizer of this model, not a new one")
    _add_text(p)

    p = add_command("info", info_command, "show what a run would take, or what a saved model is")
    p.add_argument("--model", metavar="MODEL", help="a saved or a shipped model")
    for add in (_add_text, _add_size, _add_recipe):
        add(p)

    p = add_command("examine", examine_command, "tell what the losses of a run mean, and what to try")
    p.usage = "minigpt examine RUN"
    p.add_argument("run", metavar="RUN", help="folder of a run")
    return parser


def _add_text(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("text")
    group.add_argument(
        "--corpus", metavar="TEXT", help="tales, tales_zh, sample, alice, shakespeare or a file (default tales)"
    )
    group.add_argument("--encoding", metavar="NAME", help="of the file, where it is not UTF-8: gb18030, ...")
    group.add_argument("--tokenizer", choices=("char", "bpe"), help="characters, or byte-pair pieces (default char)")
    _option(group, "vocab_size", int, "number of BPE pieces (default 512)")
    text = "tested on blocks from everywhere, or on the last tenth (default blocks)"
    group.add_argument("--split", choices=("blocks", "tail"), help=text)


def _add_size(p: argparse.ArgumentParser) -> None:
    default = GPTConfig(vocab_size=1)
    group = p.add_argument_group("size")
    _option(group, "n_layer", int, f"blocks (default {default.n_layer})")
    _option(group, "n_head", int, f"attention heads a block (default {default.n_head})")
    _option(group, "n_embd", int, f"width (default {default.n_embd})")
    _option(group, "block_size", int, f"context window in tokens (default {default.block_size})")
    _option(group, "dropout", float, f"share of activations dropped in training (default {default.dropout})")


def _add_recipe(p: argparse.ArgumentParser) -> None:
    default = TrainConfig()
    group = p.add_argument_group("recipe")
    text = (
        "article: the baseline that this book grew from; muon: the default with another optimizer, for a text that is read "
        "only a few times; fast: another architecture, words in seconds"
    )
    group.add_argument("--recipe", choices=("default", "article", "muon", "fast"), help=text)
    _option(group, "steps", int, f"training steps (default {default.steps})")
    _option(group, "minutes", float, "as many steps as fit into X minutes here, instead of --steps")
    _option(group, "batch_size", int, f"windows a step (default {default.batch_size})")
    _option(group, "learning_rate", float, f"at its peak (default {default.learning_rate})")
    _option(
        group, "eval_every", int, f"steps between evaluations (default {default.eval_every}, or a tenth of the steps)"
    )
    _option(group, "seed", int, f"of weights, batches and dropout (default {default.seed})")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps (default auto)")


def _option(p: Any, name: str, kind: type, text: str, default: float | None = None) -> None:
    """--name-with-dashes, a number; without a default here the command settles it."""
    shown = text if default is None else f"{text} (default {default})"
    flag = f"--{name.replace('_', '-')}"
    p.add_argument(flag, type=kind, default=default, metavar="N" if kind is int else "X", help=shown)
