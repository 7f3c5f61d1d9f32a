"""Does this device compute what it should? The same small GPT learns one batch by heart on it, and in float64 on the CPU."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import GPTConfig, TrainConfig
from ..corpus import load_corpus
from ..devices import autocast, pick_device
from ..model import GPT
from ..optimizer import make_optimizer
from ..sampling import generate
from ..tokenizer import CharTokenizer
from ..training import find_gradient

# How far a number may be from the reference, as a share of the whole tensor (of the norms). Rounding on a CPU stays below a
# tenth of each (tests/test_selftest.py); a fault is mostly a matter of tenths, or of all.
OUTPUT = 1e-4  # float32 rounds to 6e-8; products in TF32, which is shorter, are seen
GRADIENT = 2e-2  # more, since a rounded number may switch another unit of the ReLU on
UPDATE = 1e-3  # of a step of AdamW, which is small beside the weight that it is rounded with
LOSS = 1e-2  # nats, in the first steps
SHORT = {"bfloat16": 0.04, "float16": 0.005}  # outputs; they round to 4e-3 and 5e-4
FIRST, STEPS, KNOWN = 10, 50, 0.05  # steps whose losses are compared, steps in all, and the loss at the end, in nats
BATCH, WINDOW = 4, 64
RECIPE = TrainConfig(precision="float32", batch_size=BATCH)


@dataclass(frozen=True)
class Check:
    """One kind of computation: the place where it is farthest from the reference, for its share of what is allowed."""

    kind: str  # such as "outputs"
    place: str  # such as "the output of blocks.0.norm1"
    share: float  # the error; above 1 it is more than rounding explains
    fault: str  # what is wrong, in words; empty where nothing is


@dataclass(frozen=True)
class Report:
    """What `check_device` found. `ok` is the verdict, `str` the table with the verdict in words."""

    device: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return not any(check.fault for check in self.checks)

    @property
    def verdict(self) -> str:
        faults = {check.kind: check.fault for check in self.checks if check.fault}
        if not faults:
            return f"device '{self.device}' learns as it should: beside float64 on the CPU there is only rounding"
        fault = next(iter(faults.values()))
        if set(faults) <= set(SHORT):
            advice = "train with precision='float32'"
        elif self.device == "cpu":
            advice = "take another version of PyTorch"
        else:
            advice = "train with device='cpu'"
        return f"device '{self.device}' computes something else: {fault}; {advice}, and report it to PyTorch"

    def __str__(self) -> str:
        rows = [f"{c.kind:<12} {'WRONG' if c.fault else 'right':<6} {c.fault or _allowed(c)}" for c in self.checks]
        return "\n".join([f"torch {torch.__version__}, device '{self.device}'", *rows, self.verdict])


def _allowed(check: Check) -> str:
    return f"{check.share:.2%} of what is allowed, at {check.place}" if check.place else "not on this device"


def check_device(device: str = "auto") -> Report:
    """Let a small GPT learn four windows of the tales by heart on `device`, and in float64 on the CPU, and compare: what each
    part gives and its gradient, AdamW's step, the key-value cache, the losses, and what it recites. Of several faults
    the report names the first, in the order of the computation: what comes after it is wrong by its doing.

    Only small shapes are tried, so a fault that large ones alone have is not found. A device that does not exist, or that
    cannot compute a part at all, is a `ValueError`.

    >>> print(check_device("cpu").verdict)                                              # doctest: +SKIP
    device 'cpu' learns as it should: beside float64 on the CPU there is only rounding
    """
    place = pick_device(device)
    text = load_corpus("tales")[: BATCH * (WINDOW + 1)]
    tokenizer = CharTokenizer.train(text)
    windows = torch.tensor(tokenizer.encode(text)).view(BATCH, -1)  # (B, T + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT(GPTConfig(tokenizer.vocab_size, block_size=WINDOW, n_layer=2))
    reference = Learner(model, torch.device("cpu"), torch.float64, windows)
    true_losses = list(reference.learn(FIRST))
    halfway = reference.model.state_dict()  # attention has begun to choose
    try:
        learner = Learner(model, place, torch.float32, windows)
        losses = list(learner.learn(STEPS))
        known = learner.recites()
        reference, tested = (learner.at(halfway) for learner in (reference, learner))
        checks = [
            _compare("outputs", tested.outputs(), true := reference.outputs(), OUTPUT),
            _compare("gradient", tested.gradient(), reference.gradient(), GRADIENT),
            _compare("AdamW", tested.updates(), reference.updates(), UPDATE),
            _compare("cache", tested.cached(), reference.cached(), OUTPUT),
        ]
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"device '{place}' cannot do what training needs, take another: {reason}") from None
    for precision, band in SHORT.items():
        try:
            checks.append(_compare(precision, tested.outputs(precision), true, band))
        except (RuntimeError, NotImplementedError):  # older devices have no such numbers
            checks.append(Check(precision, "", 0.0, ""))
    return Report(str(place), (*checks, *_judge(losses, true_losses, known)))


def _compare(kind: str, found: dict[str, Tensor], true: dict[str, Tensor], band: float) -> Check:
    """The first place of `found` that is further from the `true` one than the band allows, else the farthest. The error is a
    share of the true tensor's norm, but of no less than a hundredth of the largest: the gradient of a key's bias is zero."""
    largest = max(tensor.norm().item() for tensor in true.values())
    shares = {}
    for place, tensor in found.items():
        size = max(true[place].norm().item(), largest / 100)
        error = (tensor - true[place]).norm().item() / (band * size)
        shares[place] = error if error == error else float("inf")
    wrong = [place for place, share in shares.items() if share > 1]
    place = wrong[0] if wrong else max(shares, key=lambda place: shares[place])
    apart, size = (found[place] - true[place]).abs().max().item(), true[place].abs().max().item()
    fault = f"{place} differs by {apart:.2g} (its largest value is {size:.2g})" if wrong else ""
    return Check(kind, place, shares[place], fault)


def _judge(losses: list[float], true: list[float], known: bool) -> Iterator[Check]:
    """The losses of the first steps beside the true ones, and whether the text is known by heart in the end."""
    apart = [
        abs(a - b) if abs(a - b) < float("inf") else float("inf") for a, b in zip(losses[:FIRST], true, strict=True)
    ]
    step = next((i for i, nats in enumerate(apart) if nats > LOSS), apart.index(max(apart)))
    fault = f"the loss of step {step + 1} is {losses[step]:.4f}, not {true[step]:.4f}" if apart[step] > LOSS else ""
    yield Check("losses", f"the loss of step {step + 1}", apart[step] / LOSS, fault)
    fault = ""
    if not losses[-1] < KNOWN:
        fault = f"after {STEPS} steps on one batch the loss is {losses[-1]:.3f}, and should be below {KNOWN}"
    elif not known:
        fault = f"with a loss of {losses[-1]:.3f} it does not recite what it knows"
    yield Check("by heart", f"the loss of step {STEPS}", losses[-1] / KNOWN, fault)


class Learner:
    """A copy of the model on a device, and the windows (B, T + 1) that it learns. What is asked of it comes back in float64, on
    the CPU."""

    def __init__(self, model: GPT, device: torch.device, dtype: torch.dtype, windows: Tensor):
        self.model = copy.deepcopy(model).to(device, dtype)
        self.windows = windows.to(device)
        self.x, self.y = self.windows[:, :-1], self.windows[:, 1:]  # (B, T) each

    def at(self, weights: dict[str, Tensor]) -> "Learner":
        """The same with these weights, rounded to float32."""
        self.model.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return self

    def learn(self, steps: int) -> Iterator[float]:
        """The losses of so many steps on the one batch."""
        optimizer = make_optimizer(self.model, RECIPE)
        for step in range(1, steps + 1):
            yield find_gradient(self.model, optimizer, self.x, self.y, RECIPE, step)[0]
            optimizer.step()

    def recites(self) -> bool:
        """Whether the first window, from its first letters on, is what it writes."""
        window = self.windows[0, :-1].tolist()
        return [*window[:10], *generate(self.model, window[:10], len(window) - 10, temperature=0)] == window

    def outputs(self, precision: str = "float32") -> dict[str, Tensor]:
        """What each part gives, in the order of the computation."""
        found: dict[str, Tensor] = {}

        def note(place: str) -> Callable[..., None]:
            def hook(_: nn.Module, tensors: Any, output: Any = None) -> None:
                found[place] = _exact(tensors[0] if output is None else output)

            return hook

        hooks = []
        for name, part in self.model.named_modules():
            if name.endswith(("attention.output", "narrow")):
                before = "attention" if name.endswith("output") else "ReLU"
                place = f"{before} in {'.'.join(name.split('.')[:2])}"
                hooks.append(part.register_forward_pre_hook(note(place)))
            if next(part.parameters(recurse=False), None) is not None:
                hooks.append(part.register_forward_hook(note(f"the output of {name}")))
        try:
            with torch.no_grad(), autocast(self.model.device, precision):
                loss = self.model(self.x, self.y)[1]
        finally:
            for hook in hooks:
                hook.remove()
        return found | {"the loss": _exact(loss)}

    def gradient(self) -> dict[str, Tensor]:
        """Of each weight, in the order of the backward pass."""
        self.model.zero_grad()
        self.model(self.x, self.y)[1].backward()
        weights = reversed(list(self.model.named_parameters()))
        return {f"the gradient of {name}": _exact(p.grad) for name, p in weights if p.grad is not None}

    def updates(self) -> dict[str, Tensor]:
        """What two steps of AdamW change, with gradients that are the same everywhere; and in a matrix that lies transposed in
        memory, as in code of other people, what a product with it gives and its two steps."""
        optimizer = make_optimizer(self.model, RECIPE)
        before = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        for factor in (1.0, -0.3):
            for name, p in self.model.named_parameters():
                p.grad = (factor * torch.cos(before[name].cpu().double() * 50)).to(p)
            optimizer.step()
        found = {f"the update of {name}": _exact(p - before[name]) for name, p in self.model.named_parameters()}
        matrix = before["head.weight"].t().requires_grad_()  # (C, V), not contiguous
        product = F.linear(before["token_embedding.weight"].t(), matrix)  # (C, C)
        found["a product with a transposed matrix"] = _exact(product)
        for p, value in zip(self.model.parameters(), before.values(), strict=True):
            p.data.copy_(value)
        start = matrix.detach().clone()
        transposed = torch.optim.AdamW([matrix], lr=RECIPE.learning_rate)
        for factor in (1.0, -0.3):
            matrix.grad = (factor * torch.cos(start.cpu().double() * 50)).to(matrix)
            transposed.step()
        return found | {"the update of a transposed matrix": _exact(matrix.detach() - start)}

    @torch.no_grad()
    def cached(self) -> dict[str, Tensor]:
        """The logits, where the first half of a window is read at once, then a quarter, then token by token."""
        cache = self.model.new_cache(BATCH)
        pieces = torch.split(self.x, [WINDOW // 2, WINDOW // 4, *[1] * (WINDOW // 4)], dim=1)
        logits = [self.model(piece, cache=cache)[0] for piece in pieces]
        ways = {"the first half": logits[:1], "the next quarter": logits[1:2], "single tokens": logits[2:]}
        return {f"the logits of {what}, with the cache": _exact(torch.cat(part, dim=1)) for what, part in ways.items()}


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()
