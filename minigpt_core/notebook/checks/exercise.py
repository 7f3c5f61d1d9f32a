"""An exercise that answers back.

It knows an answer of its own, cases, and mistakes: small programs, each wrong in one way, with a sentence on what is wrong. The reader's
function is run on the cases. Where it differs, the mistakes are run too: if one of them gives exactly what the reader's
function gives, in all cases, its sentence is the diagnosis. If none does, the difference itself is told, as it was measured.
"""

import dis
import inspect
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import kept
from .compare import same, shown
from .difference import difference, relation
from .outcome import LIMIT, Endless, Outcome, Raised, Value, run

Arguments = Sequence[Any]
Says = str | Callable[[Any], str]
TIMES = ("a minute", "ten minutes", "an evening")
WIDTH = 72  # letters: what a page shows in one line
EMPTY = {"RESUME", "RETURN_CONST", "LOAD_CONST", "RETURN_VALUE", "NOP", "POP_TOP", "PUSH_NULL", "COPY_FREE_VARS"}


@dataclass(frozen=True)
class Verdict:
    """What a check says; `right` is what a program asks for."""

    right: bool
    text: str
    diagnosis: str = ""  # the name of the mistake that was recognised

    def __repr__(self) -> str:
        return "\n".join(textwrap.fill(line, WIDTH, break_long_words=False) for line in self.text.splitlines())


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, and what to say to whoever gives it: a sentence, or a function from what was given to a sentence."""

    function: Callable[..., Any]
    says: Says


@dataclass(eq=False)
class Exercise:
    """`asks` begins with the call, such as "mask(scores): ...". `gives`, a function of a case's arguments, says in words what they are
    where they cannot be typed.

    An exercise is defined by decorators, one after the other:

    >>> double = Exercise("01", "a minute", "double(x): twice x.", hints=["How often is x in it?"])
    >>> @double.cases
    ... def _():
    ...     yield (1,)
    ...     yield (3,)
    >>> @double.answer
    ... def _(x):
    ...     return 2 * x
    >>> @double.mistake("You square it.")
    ... def squares(x):
    ...     return x * x
    >>> double(lambda x: x ** 2)
    not yet: You square it.
    double(1) gives 1; right is 2.
    >>> double(lambda x: x + 1)
    not yet: it gives 4, and should give 6. (1 of 2 cases are right.)
    double(3) gives 4; right is 6.
    """

    chapter: str  # such as "06"
    time: str
    asks: str
    hints: Sequence[str]
    planted: bool = False  # the stub is a short broken program
    exact: bool = False  # numbers of 16 bits are not forgiven their rounding
    gives: Callable[..., str] | None = None
    mistakes: dict[str, Mistake] = field(default_factory=dict, init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.asks.partition("(")[0]
        if self.time not in TIMES or not self.name.isidentifier():
            raise ValueError(f"{self.asks[:30]!r}: time must be one of {', '.join(TIMES)}, and asks begin with a call")

    def cases(self, function: Callable[[], Iterable[Arguments]]) -> Callable[[], Iterable[Arguments]]:
        """Decorates a function that yields the arguments of each case, the smallest first. It is called anew for each run, so
        that no run sees what another changed."""
        self._cases = function
        return function

    def answer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates the exercise's own answer."""
        self._answer = function
        return function

    def mistake(self, says: Says) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorates a wrong answer, by whose name the test knows it."""

        def note(function: Callable[..., Any]) -> Callable[..., Any]:
            self.mistakes[function.__name__] = Mistake(function, says)
            return function

        return note

    def __call__(self, function: Callable[..., Any]) -> Verdict:
        """Check the reader's function. It never raises: whatever is wrong is told, so that the notebook runs on."""
        if isinstance(function, Exercise) or not callable(function):
            return self._not_yet(f"give the function itself, without brackets: check.{self.name}({self.name})")
        cases = list(self._cases())
        if problem := _unlike(function, cases[0]):
            return self._not_yet(problem + f" The task: {self.asks}")
        if _is_empty(function):
            return self._not_yet(
                f'{self.name} is still empty. {self._example(cases[0])}. If you are stuck: check.hint("{self.name}")'
            )
        right = [run(self._answer, arguments, float("inf")) for arguments in self._cases()]
        given: list[Outcome] = []
        for arguments in cases:  # a function that did not end is not called again
            endless = bool(given) and isinstance(given[-1], Endless)
            given.append(given[-1] if endless else run(function, arguments, time.perf_counter() + LIMIT))
        if any(
            isinstance(outcome, Value) and outcome.in_place for outcome in given
        ):  # then nothing to change is no fault
            given = [
                Value(arguments[0], in_place=True) if outcome == Value(None) else outcome
                for outcome, arguments in zip(given, cases, strict=True)
            ]
        wrong = [i for i, (g, r) in enumerate(zip(given, right, strict=True)) if not self._equal(g, r)]
        if not wrong:
            return Verdict(True, f"right: {self.name}, in {len(cases)} cases. {kept.note(self.name)}")
        return self._diagnose(given, right, wrong)

    def _diagnose(self, given: list[Outcome], right: list[Outcome], wrong: list[int]) -> Verdict:
        at = wrong[0]
        arguments = list(self._cases())[at]
        got, expected = given[at], right[at]
        assert isinstance(expected, Value)
        for name, mistake in self.mistakes.items():
            outcomes = (run(mistake.function, case, float("inf")) for case in self._cases())  # until one differs
            if all(map(self._equal, given, outcomes)):
                value = got.value if isinstance(got, Value) else got
                says = mistake.says if isinstance(mistake.says, str) else mistake.says(value)
                return self._not_yet(f"{says}\n{self._compared(arguments, got, expected)}", name)
        if isinstance(got, Endless):
            says = f"it did not end within {LIMIT:.0f} seconds, and was stopped at your line `{got.line}`."
        elif isinstance(got, Raised):
            where = f", at your line `{got.line}`" if got.line else ""
            says = f"{type(got.error).__name__}: {got.error}{where}."
        else:
            says = self._measured(got, expected, [(given[i], right[i]) for i in wrong])
        passed = len(given) - len(wrong)
        if passed:
            says += f" ({passed} of {len(given)} cases are right.)"
        return self._not_yet(f"{says}\n{self._compared(arguments, got, expected)}")

    def _measured(self, got: Value, expected: Value, pairs: list[tuple[Outcome, Outcome]]) -> str:
        """The difference in the first wrong case, and what all wrong cases have in common."""
        if got.in_place:
            return "it gives back None: does it end with return? (And what it made of its first argument is not right.)"
        common = {relation(g.value, r.value) if isinstance(g, Value) and isinstance(r, Value) else "" for g, r in pairs}
        shared = f": {common.pop()}" if len(common) == 1 and "" not in common else ""
        return f"{difference(got.value, expected.value)}{shared}.".replace("?.", "?")

    def _equal(self, a: Outcome, b: Outcome) -> bool:
        if isinstance(a, Raised) and isinstance(b, Raised):
            return type(a.error) is type(b.error)
        return isinstance(a, Value) and isinstance(b, Value) and same(a.value, b.value, forgiving=not self.exact)

    def _compared(self, arguments: Arguments, got: Outcome, expected: Value) -> str:
        gives = {Value: "gives", Raised: "raises", Endless: "does not end"}[type(got)]
        what = " " + shown(got.value) if isinstance(got, Value) else ""
        return f"{self._typed(arguments)} {gives}{what}; right is {shown(expected.value)}."

    def _example(self, arguments: Arguments) -> str:
        expected = run(self._answer, arguments, float("inf"))
        assert isinstance(expected, Value)
        return f"{self._typed(arguments)} should give {shown(expected.value)}"

    def _typed(self, arguments: Arguments) -> str:
        return f"{self.name}({self.gives(*arguments) if self.gives else ', '.join(map(shown, arguments))})"

    def _not_yet(self, says: str, diagnosis: str = "") -> Verdict:
        return Verdict(False, f"not yet: {says}", diagnosis)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Numbers for a case, short enough to be read: halves from -2 to 2.

    >>> numbers(3)
    tensor([ 2., -2., -1.])
    """
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)) / 2


def _unlike(function: Callable[..., Any], arguments: Arguments) -> str:
    """A sentence where the function cannot be called with these arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        takes = ", ".join(inspect.signature(function).parameters) or "nothing"
        return f"your function takes ({takes}), and will be called with {len(arguments)} argument{'s' * (len(arguments) != 1)}."
    except ValueError:  # some functions of compiled code do not tell what they take
        pass
    return ""


def _is_empty(function: Callable[..., Any]) -> bool:
    """Whether its body is nothing but `...`, `pass`, a docstring, or `raise NotImplementedError`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    if "NotImplementedError" in code.co_names and len(code.co_names) == 1:
        return True
    returns_nothing = all(constant is None or isinstance(constant, str) for constant in code.co_consts)
    return returns_nothing and {step.opname for step in dis.get_instructions(code)} <= EMPTY
