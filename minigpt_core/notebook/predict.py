"""A prediction: the reader commits to a guess before the experiment runs, and is told afterwards how far off it was. In the page
the outputs in between stay folded until then (widgets/predict.js)."""

import html
import json
import math
from typing import Any

from .rich import fault, rich, short_id

Guess = str | int | float


class Answer:
    """What turned out, beside what was guessed: a sentence, in a notebook and in the page."""

    def __init__(self, asked: str, value: str, said: str, guessed: str):
        self.asked, self.value, self.said, self.guessed = asked, value, said, guessed

    def __repr__(self) -> str:
        return f"it is {self.said}{self.guessed}"

    def _repr_html_(self) -> str:
        return (
            f'<div class="mg-answer" data-answer-of="{self.asked}" data-value="{html.escape(self.value)}">'
            f'It is <b>{rich(self.said)}</b><span class="mg-in-notebook">{rich(self.guessed)}</span>.</div>'
        )


class Prediction:
    """A question that `predict` has asked. Show it by its name alone on a cell's last line; a later cell ends in `compare`."""

    def __init__(self, question: str, choices: tuple[str, ...], unit: str, digits: int, guess: Guess | None):
        self.question, self.choices, self.unit, self.digits, self.guess = question, choices, unit, digits, guess
        self.id = short_id(question)

    def compare(self, value: Any) -> Answer:
        """What turned out, beside the guess.

        >>> predict("How high?", unit="nats", guess=3.0).compare(4.1744)
        it is 4.17 nats; you had guessed 3.0: 1.17 too low
        >>> predict("How many?").compare(1200)
        it is 1,200 (no guess made)
        >>> predict("Which?", "a", "b", guess="a").compare("b")
        it is b; you had guessed a
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{value!r} is none of the choices: compare with one of {_listed(self.choices)}")
            if self.guess is None:
                return Answer(self.id, value, value, " (no guess made)")
            hit = ", as you had guessed" if self.guess == value else f"; you had guessed {self.guess}"
            return Answer(self.id, value, value, hit)
        number = _number("value", value, "compare with the number that was computed")
        decimals = _decimals(number, self.digits)
        if isinstance(number, float):  # rounded, so that what a notebook stores is the same on all machines
            number = float(f"{number:.{self.digits - 1}e}")
        shown = f"{number:.{decimals}f}"
        said = self._with_unit(f"{float(shown):,.{decimals}f}")
        if self.guess is None:
            return Answer(self.id, shown, said, " (no guess made)")
        off = round(float(shown) - float(self.guess), decimals)
        verdict = f"{abs(off):,.{decimals}f} too {'low' if off > 0 else 'high'}" if off else "right"
        return Answer(self.id, shown, said, f"; you had guessed {self.guess}: {verdict}")

    def _with_unit(self, number: str) -> str:
        return f"{number}{'' if self.unit in ('', '%') else ' '}{self.unit}"

    def _how(self) -> str:
        example = json.dumps(self.choices[0], ensure_ascii=False) if self.choices else "4.2"
        return f"guess={example}"

    def __repr__(self) -> str:
        asked = f"{self.question} {_listed(self.choices, ' or ')}".rstrip()
        return f"{asked} (no guess yet: add {self._how()})" if self.guess is None else f"{asked} (guess: {self.guess})"

    def _repr_html_(self) -> str:
        state = html.escape(json.dumps({"id": self.id, "choices": self.choices, "unit": self.unit}, ensure_ascii=False))
        choices = "".join(f"<li>{rich(choice)}</li>" for choice in self.choices)
        if self.guess is None:
            how = f"To guess, add <code>{html.escape(self._how(), quote=False)}</code> to the call, and run the cell again."
        else:
            how = f"Your guess: <b>{html.escape(self._with_unit(str(self.guess)))}</b>."
        return (
            f'<div class="mg" data-minigpt="predict" data-state="{state}">'
            f'<p class="mg-question"><strong>Predict.</strong> {rich(self.question)}</p>'
            f"{f'<ul>{choices}</ul>' if choices else ''}"
            f'<p class="mg-in-notebook">{how}</p></div>'
        )


def predict(
    question: str, *choices: str, unit: str | None = None, digits: int | None = None, guess: Guess | None = None
) -> Prediction:
    """A question to be answered before the experiment: by one of the choices, or, where there are none, by a number, in a
    `unit`. The number that is computed is shown to so many `digits` (3, if nothing else is said; whole numbers as they are).
    The reader adds `guess`. What is no such question is a `ValueError`.

    >>> predict("How high is the loss before any training?", unit="nats", guess=3.0)
    How high is the loss before any training? (guess: 3.0)
    """
    if why := fault(question):
        raise ValueError(f"the question {why}")
    if choices and (unit is not None or digits is not None):
        raise ValueError("a question has choices, or it asks for a number with a unit and digits: give one of the two")
    if len(choices) == 1:
        raise ValueError(f"{choices[0]!r} is the only choice: give at least two, or none to ask for a number")
    for choice in choices:
        if why := fault(choice):
            raise ValueError(f"the choice {choice!r} {why}")
    if len(set(choices)) < len(choices):
        raise ValueError(f"two of the choices are the same: {_listed(choices)}")
    digits = 3 if digits is None else digits
    if not isinstance(digits, int) or isinstance(digits, bool) or not 1 <= digits <= 12:
        raise ValueError(f"digits={digits!r} must be a whole number from 1 to 12")
    if choices and guess is not None and guess not in choices:
        raise ValueError(f"guess={guess!r} is none of the choices: write one of {_listed(choices)}")
    if not choices and guess is not None:
        _number("guess", guess, "write a number, such as 4.2")
    return Prediction(question, choices, unit or "", digits, guess)


def _listed(choices: tuple[str, ...], last: str = ", ") -> str:
    return last.join(filter(None, (", ".join(map(repr, choices[:-1])), *map(repr, choices[-1:]))))


def _number(name: str, value: Any, what: str) -> int | float:
    """A number of Python, of numpy, or of a tensor that holds a single one."""
    try:
        number = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):
        number = None
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not math.isfinite(number):
        raise ValueError(f"{name}={value!r} is no number: {what}")
    return number


def _decimals(number: int | float, digits: int) -> int:
    """How many places a number is shown to.

    >>> _decimals(4.1744, 3), _decimals(0.01234, 3), _decimals(1234.5, 3), _decimals(7, 3)
    (2, 4, 0, 0)
    """
    if isinstance(number, int):
        return 0
    return max(0, digits - 1 - (int(f"{number:.{digits - 1}e}".split("e")[1]) if number else 0))
