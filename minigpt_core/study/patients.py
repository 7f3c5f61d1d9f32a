"""Ten faults that a loss does not explain, each as a short program: sick and cured, and the number that tells the two apart.

Real programs had them, and many a loss curve looks sound beside them. A program that should convict or acquit is measured by
the same function as both of its likes here: `PATIENTS["top-k"].convicts(mine)`. A patient of your own is anything with a `sick`
program, a `healthy` one and a `measure` that makes a number of either, such as a module of these three names: `separate` says
whether the number tells them apart, whatever is drawn at random.
"""

import contextlib
import copy
import difflib
import inspect
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from ..attention import CausalSelfAttention, KVCache, causal_mask
from ..checks import check_logits
from ..config import GPTConfig, check_whole
from ..corpus import load_corpus
from ..data import MASKED, get_batch, split_text
from ..model import GPT, evaluating
from ..pretrained import load_pretrained
from ..tokenizer import CharTokenizer

Program = Callable[..., Any]
Pair = tuple[Tensor, Tensor]  # x and y
SEEDS = range(5)


class Case(Protocol):
    """A fault as a measurement sees it. A module of these names is one too."""

    @property
    def sick(self) -> Program: ...

    @property
    def healthy(self) -> Program: ...

    @property
    def measure(self) -> Callable[[Program], float]: ...


@dataclass(frozen=True)
class Patient:
    """A fault: what its owner says, the program that has it and the same one cured, and the number that tells them apart."""

    symptom: str
    sick: Program
    healthy: Program
    measure: Callable[[Program], float]
    measured: str  # what that number is
    limit: float  # above it, a program has the fault
    cure: str

    def convicts(self, program: Program, seed: int = 0) -> bool:
        """Whether a program that is called as `sick` is has the fault.

        >>> PATIENTS["top-k"].convicts(lambda logits, k: logits)  # one that keeps all
        True
        """
        return not measured(self.measure, program, seed) <= self.limit  # no number is no acquittal


class Measured(NamedTuple):
    """One number for each seed, of the sick program and of the healthy one."""

    sick: tuple[float, ...]
    healthy: tuple[float, ...]

    @property
    def apart(self) -> bool:
        """Whether no sick program has a number that lies among those of the healthy ones, or beyond them."""
        numbers = all(math.isfinite(value) for value in self.sick + self.healthy)
        return numbers and (min(self.sick) > max(self.healthy) or max(self.sick) < min(self.healthy))

    @property
    def limit(self) -> float:
        """Half way between the two, where they are apart; else a `ValueError`.

        >>> Measured((0.9, 0.8), (0.1, 0.2)).limit
        0.5
        """
        if not self.apart:
            raise ValueError(
                f"the measurement does not separate them: sick {_shown(self.sick)}, healthy {_shown(self.healthy)}"
            )
        below, above = sorted((self.sick, self.healthy))
        return (max(below) + min(above)) / 2


def separate(case: Case, seeds: Iterable[int] = SEEDS) -> Measured:
    """Measure the sick and the healthy program of a `case` once for each seed. Before each measurement PyTorch's random
    numbers are seeded; afterwards they are as they were.

    >>> separate(PATIENTS["masked targets"], seeds=[0]).apart
    True
    """
    seeds = tuple(seeds)
    if not seeds:
        raise ValueError("there is no seed to measure with: give at least one")
    sick, healthy = (tuple(measured(case.measure, p, seed) for seed in seeds) for p in (case.sick, case.healthy))
    return Measured(sick, healthy)


def measured(measure: Callable[[Program], float], program: Program, seed: int = 0) -> float:
    """What `measure` says of a program, with PyTorch's random numbers from this seed on, in one thread, so that the number of
    cores changes nothing."""
    check_whole("seed", seed, least=0)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        value = measure(program)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"a measurement must give one number, and gives a {type(value).__name__}") from None


def changed_lines(sick: Program, healthy: Program) -> str:
    """The lines in which two programs differ, those of the sick one after a minus, names and docstrings aside.

    >>> print(changed_lines(top_k_sick, top_k_healthy))
    - return logits.masked_fill(logits < least, 1e-10)
    + return logits.masked_fill(logits < least, -math.inf)
    """
    lines = difflib.ndiff(_body(sick), _body(healthy))
    return "\n".join(line[:2] + line[2:].removeprefix("    ") for line in lines if line[0] in "+-")


def _body(program: Program) -> list[str]:
    """The source of a function after its first line, without its docstring."""
    source = textwrap.dedent(inspect.getsource(program))
    return re.sub(r'\n *(r?"""(?:.|\n)*?""")', "", source, count=1).splitlines()[1:]


def _shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


# What is measured: each of these works for any program of yours.


@torch.no_grad()
def prefill_gap(model: GPT, ids: Tensor) -> float:
    """Read a prompt (B, T) into a cache, whole and token by token. Returned is how much of the probability of the next token
    differs between the two, from 0 to 1, the mean over the texts; it should be rounding.

    >>> prefill_gap(GPT(GPTConfig(vocab_size=65)), torch.arange(20)[None]) < 1e-4
    True
    """
    if ids.dim() != 2 or ids.shape[1] < 2:
        raise ValueError(f"a prompt must have the shape (B, T) and at least 2 tokens, not {tuple(ids.shape)}")
    with evaluating(model):
        whole = model(ids, cache=model.new_cache(len(ids)))[0]  # (B, T, V)
        one_by_one = model.new_cache(len(ids))
        for t in range(ids.shape[1]):
            last = model(ids[:, t : t + 1], cache=one_by_one)[0]  # (B, 1, V)
    apart = whole[:, -1].softmax(-1) - last[:, -1].softmax(-1)  # (B, V)
    return apart.abs().sum(-1).mean().item() / 2


def largest_rise(losses: Sequence[float], parts: int = 10) -> float:
    """By how much the mean loss of a part of the steps lies above that of the part before it, at most, in nats; the run is cut
    into `parts` of the same length. A curve that falls has less than its scatter; one with steps in it has a step.

    >>> largest_rise([4.0, 3.0, 2.0, 1.0, 3.5, 2.5], parts=3)
    1.5
    """
    check_whole("parts", parts, least=2)
    if len(losses) < parts:
        raise ValueError(f"{len(losses)} losses cannot be cut into {parts} parts: give the loss of every step")
    cuts = [len(losses) * i // parts for i in range(parts + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    return max(b - a for a, b in itertools.pairwise(means))


@torch.no_grad()
def excess_at_start(model: GPT, x: Tensor, y: Tensor) -> float:
    """The loss of an untrained model on a batch x, y (B, T), less ln V, in nats: near 0 where nothing is likelier than the rest.

    >>> ids = torch.arange(65)
    >>> abs(excess_at_start(GPT(GPTConfig(vocab_size=65)), ids[None, :64], ids[None, 1:])) < 0.2
    True
    """
    with evaluating(model):
        return model(x, y)[1].item() - math.log(model.config.vocab_size)


def tag_share(text: str) -> float:
    """The share of the characters of a text that stand in tags such as <p> or </div>, from 0 to 1. A text that was meant to be
    prose has next to none; the mark <|endoftext|> is no tag.

    >>> tag_share("<p>Not Found</p>")
    0.4375
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"tags are counted in a text of at least one character, not in {text!r}")
    return sum(map(len, re.findall(r"</?[a-zA-Z!][^<>]*>", text))) / len(text)


def mass_outside(cut: Callable[[Tensor, int], Tensor], logits: Tensor, k: int) -> float:
    """The probability that remains outside the `k` likeliest tokens after `cut(logits, k)`, the mean over logits (B, V). These
    are first moved so that the largest is 0, which changes no probability, but shows numbers that stand for others.

    >>> mass_outside(top_k_healthy, torch.tensor([[3.0, 1.0, 2.0]]), k=2)
    0.0
    """
    check_logits(logits, "(B, V)")
    check_whole("k", k, least=1)
    moved = logits - logits.amax(-1, keepdim=True)
    outside = moved.argsort(-1, descending=True)[:, k:]  # (B, V - k)
    return cut(moved, k).softmax(-1).gather(1, outside).sum(-1).mean().item()


def unmoved_share(model: nn.Module, step: Callable[[], object]) -> float:
    """The share of the weights that have a gradient, and that `step()` leaves as they were, bit for bit, from 0 to 1. The step
    has to leave the gradients in place.

    >>> model = GPT(GPTConfig(vocab_size=65, n_layer=1))
    >>> unmoved_share(model, lambda: model(torch.zeros(1, 9).long(), torch.ones(1, 9).long())[1].backward())
    1.0
    """
    before = [p.detach().clone() for p in model.parameters()]
    step()
    due = same = 0
    for p, old in zip(model.parameters(), before, strict=True):
        if p.grad is not None:
            pulled = p.grad.ne(0)
            due += int(pulled.sum())
            same += int((pulled & p.eq(old)).sum())
    if not due:
        raise ValueError("no weight has a gradient after the step: let it keep the gradients")
    return same / due


def gradient_gap(model: nn.Module, one: Callable[[], object], other: Callable[[], object]) -> float:
    """How far the gradients that `one()` and `other()` add are apart: the norm of their difference over that of `one`'s.

    >>> layer = nn.Linear(3, 1)
    >>> loss = lambda: layer(torch.ones(2, 3)).sum()
    >>> gradient_gap(layer, lambda: loss().backward(), lambda: (2 * loss()).backward())
    1.0
    """
    found = []
    for way in (one, other):
        model.zero_grad()
        way()
        found.append(torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None]))
    return ((found[1] - found[0]).norm() / found[0].norm()).item()


def insensitive_share(loss_of: Callable[[Tensor], float], val_ids: Tensor) -> float:
    """The loss on the validation ids (N,) as they are, over that on the same ids shuffled. Far below 1 for a model that has
    learned anything; 1 where what is called validation loss is measured on something else.

    >>> insensitive_share(lambda ids: 1.4, torch.arange(100))
    1.0
    """
    if val_ids.dim() != 1 or len(val_ids) < 2:
        raise ValueError(f"val_ids must have the shape (N,) and at least 2 tokens, not {tuple(val_ids.shape)}")
    return loss_of(val_ids) / loss_of(val_ids[torch.randperm(len(val_ids))])


def without_targets(targets: Iterable[Tensor]) -> float:
    """The share of the batches, each with its `targets` of any shape, in which no token is to be learned: all are -100, and
    their mean loss is 0/0.

    >>> without_targets([torch.tensor([-100, -100]), torch.tensor([-100, 7])])
    0.5
    """
    empty = [bool((y == MASKED).all()) for y in targets]
    if not empty:
        raise ValueError("there is no batch to look at: give at least one")
    return sum(empty) / len(empty)


# The patients: what is wrong stands in few lines, the program of the cure has the same lines elsewhere.


def prefill_sick(q: Tensor, k: Tensor, v: Tensor, cached: bool) -> Tensor:
    """Attention, (B, H, T, D) -> (B, H, T, D). A single new token may look at all that is in the cache, but with a cache come
    whole prompts too."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=not cached)


def prefill_healthy(q: Tensor, k: Tensor, v: Tensor, cached: bool) -> Tensor:
    """A mask in both cases: for a single new token it hides nothing."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_mask(q, k))


def attending(attend: Program) -> Any:
    """A context in which the attention of each `GPT` is computed by `attend(q, k, v, cached)`.

    >>> with attending(prefill_healthy):                                                # doctest: +SKIP
    ...     model(idx)
    """

    def forward(self: CausalSelfAttention, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        q, k, v = (self.split_heads(part(x)) for part in (self.query, self.key, self.value))  # (B, H, T, D)
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D)
        return self.output(attend(q, k, v, cache is not None).transpose(1, 2).reshape(x.shape))

    return mock.patch.object(CausalSelfAttention, "forward", forward)


def _measure_prefill(program: Program) -> float:
    model, _, val_ids = _trained()
    with attending(program):
        return prefill_gap(model, _batch(val_ids, T=32, B=4)[0])


def order_sick(ids: Tensor, T: int) -> Iterator[Tensor]:
    """Windows (T + 1,) of ids (N,), each once, in the order of the text."""
    starts = torch.arange(0, len(ids) - T, T)
    for start in starts:
        yield ids[start : start + T + 1]


def order_healthy(ids: Tensor, T: int) -> Iterator[Tensor]:
    """Windows (T + 1,) of ids (N,), each once, in a random order."""
    starts = torch.arange(0, len(ids) - T, T)
    for start in starts[torch.randperm(len(starts))]:
        yield ids[start : start + T + 1]


def losses_in_order(order: Program, T: int = 32, B: int = 8) -> list[float]:
    """The losses of one pass through two texts, one after the other in one file, English tales and then Chinese ones, B windows
    at a time in the `order` that they come in.

    >>> len(losses_in_order(order_sick))                                                # doctest: +SKIP
    93
    """
    ids, V = _two_languages()
    model, windows = _tiny(V, T), list(order(ids, T))
    optimizer = AdamW(model.parameters(), lr=3e-3)
    batches = (torch.stack(windows[i : i + B]) for i in range(0, len(windows) - B + 1, B))
    with _one_thread():  # with more, so small a model only waits
        return [_step(model, optimizer, batch) for batch in batches]


def _measure_order(program: Program) -> float:
    return largest_rise(losses_in_order(program))


def tied_sick(config: GPTConfig) -> GPT:
    """A model whose head is its token embedding, so that both are one matrix."""
    model = GPT(config)
    model.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
    model.head.weight = model.token_embedding.weight
    return model


def tied_healthy(config: GPTConfig) -> GPT:
    """The embedding as a head has to be: N(0, 0.02), not N(0, 1) as PyTorch draws it."""
    model = GPT(config)
    model.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
    nn.init.normal_(model.token_embedding.weight, std=0.02)
    model.head.weight = model.token_embedding.weight
    return model


def _measure_tied(program: Program) -> float:
    ids, V = _tales()
    return excess_at_start(program(GPTConfig(V, n_layer=1)), *_batch(ids))


ERROR_PAGE = """<!DOCTYPE html>
<html><head><title>429 Too Many Requests</title></head>
<body><h1>Too Many Requests</h1><p>You have exceeded a rate limit. Please wait a moment.</p></body></html>
"""


def download_sick(get: Callable[[], bytes]) -> str:
    """The text that a server sends; `get()` asks it once."""
    return get().decode()


def download_healthy(get: Callable[[], bytes]) -> str:
    """The text that a server sends, asked again while it sends a page in its place."""
    for _ in range(3):
        text = get().decode()
        if "<html" not in text[:500].lower():
            return text
    raise ValueError(f"this is a page, not the text: {text[:60]!r}")


def _measure_download(program: Program) -> float:
    """The server is busy at first."""
    text = load_corpus("tales")[int(torch.randint(1000, ())) :]
    answers = itertools.chain([ERROR_PAGE.encode()], itertools.repeat(text.encode()))
    return tag_share(program(lambda: next(answers)))


def top_k_sick(logits: Tensor, k: int) -> Tensor:
    """Logits (B, V) of which those below the k largest are removed."""
    least = logits.topk(k).values[:, -1:]  # (B, 1)
    return logits.masked_fill(logits < least, 1e-10)


def top_k_healthy(logits: Tensor, k: int) -> Tensor:
    """Logits (B, V) of which those below the k largest are removed."""
    least = logits.topk(k).values[:, -1:]  # (B, 1)
    return logits.masked_fill(logits < least, -math.inf)


def _measure_top_k(program: Program) -> float:
    model, _, val_ids = _trained()
    with torch.no_grad(), evaluating(model):
        return mass_outside(program, model(_batch(val_ids, T=32)[0])[0][:, -1], k=5)


def short_numbers_sick(model: GPT, rate: float) -> Program:
    """A function that takes a step of AdamW on a batch x, y (B, T): in bfloat16, weights and all."""
    model.bfloat16()
    optimizer = AdamW(model.parameters(), lr=rate)

    def step(x: Tensor, y: Tensor) -> None:
        model(x, y)[1].backward()
        optimizer.step()

    return step


def short_numbers_healthy(model: GPT, rate: float) -> Program:
    """The same: the products in bfloat16, the weights in float32."""
    optimizer = AdamW(model.parameters(), lr=rate)

    def step(x: Tensor, y: Tensor) -> None:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            loss = model(x, y)[1]
        loss.backward()
        optimizer.step()

    return step


def _measure_short_numbers(program: Program) -> float:
    ids, V = _tales()
    x, y = _batch(ids)
    model = _tiny(V, T=64)
    step = program(model, 1e-5)  # the weights of one kind or the other, from here on
    return unmoved_share(model, lambda: step(x, y))


def accumulate_sick(model: GPT, x: Tensor, y: Tensor, size: int) -> None:
    """Add the gradient of a batch x, y (B, T) in groups of `size` rows."""
    groups = torch.split(torch.arange(len(x)), size)
    for rows in groups:
        loss = model(x[rows], y[rows])[1]
        (loss / len(groups)).backward()


def accumulate_healthy(model: GPT, x: Tensor, y: Tensor, size: int) -> None:
    """The same, each group with its share of the rows. (Where targets are masked, it has to be the share of the targets:
    `beyond.large.add_gradients`.)"""
    groups = torch.split(torch.arange(len(x)), size)
    for rows in groups:
        loss = model(x[rows], y[rows])[1]
        (loss * len(rows) / len(x)).backward()


def _measure_accumulate(program: Program) -> float:
    ids, V = _tales()
    x, y = _batch(ids, B=9)  # groups of 4, 4 and 1
    model = _tiny(V, T=64)
    return gradient_gap(model, lambda: model(x, y)[1].backward(), lambda: program(model, x, y, 4))


def evaluate_sick(model: GPT, train_ids: Tensor, val_ids: Tensor) -> float:
    """The validation loss, on four batches."""
    losses = []
    for step in range(4):
        x, y = get_batch(train_ids, 64, 8, seed=0, step=step)
        losses.append(model(x, y)[1].item())
    return sum(losses) / len(losses)


def evaluate_healthy(model: GPT, train_ids: Tensor, val_ids: Tensor) -> float:
    """The validation loss, on four batches."""
    losses = []
    for step in range(4):
        x, y = get_batch(val_ids, 64, 8, seed=0, step=step)
        losses.append(model(x, y)[1].item())
    return sum(losses) / len(losses)


def _measure_evaluate(program: Program) -> float:
    model, train_ids, val_ids = _trained()
    with torch.no_grad(), evaluating(model):
        return insensitive_share(lambda ids: program(model, train_ids, ids), val_ids)


def example_sick(prompt: Tensor, answer: Tensor, T: int) -> Pair:
    """x and y, of at most T tokens, of which only those of the answer are to be learned."""
    ids = torch.cat([prompt, answer])[: T + 1]
    y = ids[1:].clone()
    y[: len(prompt) - 1] = MASKED
    return ids[:-1], y


def example_healthy(prompt: Tensor, answer: Tensor, T: int) -> Pair:
    """The same; what does not fit is cut off at the beginning of the prompt."""
    prompt = prompt[-max(1, T + 1 - len(answer)) :]
    ids = torch.cat([prompt, answer])[: T + 1]
    y = ids[1:].clone()
    y[: len(prompt) - 1] = MASKED
    return ids[:-1], y


def _measure_example(program: Program) -> float:
    """A hundred questions of up to 99 tokens, in a window of 64."""
    ids, _ = _tales()
    starts, lengths = torch.randint(len(ids) - 200, (100,)), torch.randint(1, 100, (100,))
    pairs = [(ids[a : a + n], ids[a + n : a + n + 12]) for a, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
    return without_targets(program(prompt, answer, 64)[1] for prompt, answer in pairs)


def resume_sick(model: GPT, optimizer: AdamW) -> tuple[GPT, AdamW]:
    """A run is saved and ended, and a new program goes on with it."""
    saved = copy.deepcopy(model.state_dict())
    model = GPT(model.config)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    model.load_state_dict(saved)
    return model, optimizer


def resume_healthy(model: GPT, optimizer: AdamW) -> tuple[GPT, AdamW]:
    """A run is saved and ended, and a new program goes on with it."""
    saved = copy.deepcopy(model.state_dict())
    state = copy.deepcopy(optimizer.state_dict())
    model = GPT(model.config)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    model.load_state_dict(saved)
    optimizer.load_state_dict(state)
    return model, optimizer


def losses_across(resume: Program, before: int = 60, after: int = 10) -> tuple[list[float], list[float]]:
    """The losses of the `after` steps that follow `before` others, in a run that was never stopped, and in one that was stopped
    there and resumed, both on the same batches.

    >>> whole, resumed = losses_across(resume_healthy)                                  # doctest: +SKIP
    """
    ids, V = _tales()
    model = _tiny(V, T=32)
    batches = [_windows(ids, T=32) for _ in range(before + after)]
    optimizer = AdamW(model.parameters(), lr=1e-2)
    for batch in batches[:before]:
        _step(model, optimizer, batch)
    other = resume(*copy.deepcopy((model, optimizer)))
    runs = ((model, optimizer), other)
    whole, resumed = ([_step(net, state, batch) for batch in batches[before:]] for net, state in runs)
    return whole, resumed


def _measure_resume(program: Program) -> float:
    whole, resumed = losses_across(program)
    return max(b - a for a, b in zip(whole, resumed, strict=True))


# What the measurements work on.


@cache
def _trained() -> tuple[GPT, Tensor, Tensor]:
    """A model that knows its text, and the two parts of the text."""
    model, tokenizer = load_pretrained("tales-char")
    parts = split_text(load_corpus("tales"), parts=3)[:2]
    train_ids, val_ids = (torch.tensor(tokenizer.encode(part)) for part in parts)
    return model, train_ids, val_ids


@cache
def _tales() -> tuple[Tensor, int]:
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    return torch.tensor(tokenizer.encode(text)), tokenizer.vocab_size


@cache
def _two_languages(n: int = 12_000) -> tuple[Tensor, int]:
    text = load_corpus("tales")[:n] + load_corpus("tales_zh")[:n]
    tokenizer = CharTokenizer.train(text)
    return torch.tensor(tokenizer.encode(text)), tokenizer.vocab_size


def _windows(ids: Tensor, T: int = 64, B: int = 8) -> Tensor:
    """(B, T + 1), by PyTorch's own random numbers, which `measured` seeds."""
    return ids[torch.randint(len(ids) - T, (B, 1)) + torch.arange(T + 1)]


def _batch(ids: Tensor, T: int = 64, B: int = 8) -> tuple[Tensor, Tensor]:
    windows = _windows(ids, T, B)
    return windows[:, :-1], windows[:, 1:]


def _tiny(V: int, T: int) -> GPT:
    return GPT(GPTConfig(V, block_size=T, n_layer=1, n_head=2, n_embd=32))


def _step(model: GPT, optimizer: torch.optim.Optimizer, windows: Tensor) -> float:
    """The loss of windows (B, T + 1), before a step on them."""
    loss = model(windows[:, :-1], windows[:, 1:])[1]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


PATIENTS: dict[str, Patient] = {
    "prefill": Patient(
        "Training and validation loss are fine, but what it writes after a prompt is worse than they promise.",
        prefill_sick,
        healthy=prefill_healthy,
        measure=_measure_prefill,
        measured="probability that moves when a prompt is read whole, not token by token",
        limit=0.01,
        cure="Mask each read of several tokens, with a cache as well as without.",
    ),
    "order": Patient(
        "The training loss falls, and in each pass through the text it jumps up at the same place.",
        order_sick,
        healthy=order_healthy,
        measure=_measure_order,
        measured="largest rise of the mean loss from one tenth of the steps to the next, in nats",
        limit=0.5,
        cure="Shuffle the windows before each pass, or draw them at random.",
    ),
    "tied weights": Patient(
        "Since the head is the token embedding, the first loss is above 100. It falls, so the run goes on.",
        tied_sick,
        healthy=tied_healthy,
        measure=_measure_tied,
        measured="first loss less ln V, in nats",
        limit=0.5,
        cure="Draw the one matrix as small as a head has to be: N(0, 0.02).",
    ),
    "download": Patient(
        "The text came at once, and the loss falls as never before. It writes <p>.",
        download_sick,
        healthy=download_healthy,
        measure=_measure_download,
        measured="share of the characters that stand in tags",
        limit=0.05,
        cure="Look at the first line, or compare a checksum, before a file is kept.",
    ),
    "top-k": Patient(
        "With top-k, letters still come that should not be among the k likeliest.",
        top_k_sick,
        healthy=top_k_healthy,
        measure=_measure_top_k,
        measured="probability outside the k likeliest, with the largest logit at 0",
        limit=0.001,
        cure="Write -math.inf for minus infinity: 1e-10 is nearly 0.",
    ),
    "short numbers": Patient(
        "All in bfloat16, the run needs half the memory. At a small rate the loss no longer falls.",
        short_numbers_sick,
        healthy=short_numbers_healthy,
        measure=_measure_short_numbers,
        measured="share of the weights that a step leaves as they were, bit for bit",
        limit=0.1,
        cure="Keep the weights in float32, and only compute the products in bfloat16.",
    ),
    "accumulation": Patient(
        "The batch is computed in groups. The loss falls, but not as the loss of the whole batch does.",
        accumulate_sick,
        healthy=accumulate_healthy,
        measure=_measure_accumulate,
        measured="distance between the gradients in groups and in one, as a share",
        limit=0.01,
        cure="Give each group its share of the batch.",
    ),
    "evaluation": Patient(
        "Validation and training loss fall together to the end. No overfitting, however long the run.",
        evaluate_sick,
        healthy=evaluate_healthy,
        measure=_measure_evaluate,
        measured="validation loss, over that on the same text with its letters shuffled",
        limit=0.9,
        cure="Draw the batches of the validation loss from the validation part.",
    ),
    "masked targets": Patient(
        "The loss is fine, and suddenly it is nan. A lower learning rate does not help.",
        example_sick,
        healthy=example_healthy,
        measure=_measure_example,
        measured="share of the examples without any target",
        limit=0.0,
        cure="Cut a long prompt at its beginning, so that the answer stays.",
    ),
    "resume": Patient(
        "After each pause the loss is a little higher than before, and soon falls again.",
        resume_sick,
        healthy=resume_healthy,
        measure=_measure_resume,
        measured="how far one of the next ten losses lies above that without a pause, in nats",
        limit=0.02,
        cure="Save the optimizer's state with the weights.",
    ),
}
