"""A quiz: questions on a chapter, each of whose answers, right or wrong, is explained."""

import html
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..notebook.rich import fault, rich, short_id
from . import live_module
from .base import Widget

KEYS = {"question", "type", "answers", "code"}
Answer = dict[str, Any]
Refuse = Callable[[str], ValueError]


def load_quiz(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The questions of notebooks/quizzes/NAME.json, checked: those of the chapter of that name. What does not hold, is a
    `ValueError` that names the question and says what to do.

    >>> load_quiz("06_attention")[0]["type"]                                            # doctest: +SKIP
    'multiple_choice'
    """
    if folder is None:  # from the notebooks' folder, where they run, or from the repository's
        folder = Path("notebooks/quizzes") if Path("notebooks/quizzes").is_dir() else Path("quizzes")
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none so far"
        raise ValueError(f"there is no quiz {name!r}: choose one of {known}, or write notebooks/quizzes/{name}.json")
    try:
        questions = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"the quiz {name!r} is no JSON, mend its line {error.lineno}: {error.msg}") from None
    check_quiz(name, questions)
    return questions


def check_quiz(name: str, questions: Any) -> None:
    """Nothing, where each question can be asked and each of its answers explains itself; else a `ValueError`.

    >>> check_quiz("06_attention", [])
    Traceback (most recent call last):
    ValueError: the quiz '06_attention' has no questions: write a list of at least one
    """
    if not isinstance(questions, list) or not questions:
        raise ValueError(f"the quiz {name!r} has no questions: write a list of at least one")
    seen: dict[str, int] = {}
    for place, question in enumerate(questions, 1):

        def refuse(why: str, place: int = place) -> ValueError:
            return ValueError(f"the quiz {name!r}, question {place}: {why}")

        _check_question(question, refuse)
        if first := seen.get(question["question"]):
            raise refuse(f"it is asked in the same words as question {first}: change one of them")
        seen[question["question"]] = place


def _check_question(question: Any, refuse: Refuse) -> None:
    if not isinstance(question, dict):
        raise refuse("it is no object: write one with question, type and answers")
    if unknown := sorted(question.keys() - KEYS):
        raise refuse(f"{unknown[0]!r} is unknown: use {', '.join(sorted(KEYS))}")
    if why := fault(question.get("question")):
        raise refuse(f"its text {why}")
    if "code" in question and not (isinstance(question["code"], str) and question["code"].strip()):
        raise refuse("its code is empty: write some, or leave it out")
    answers = question.get("answers")
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers) or len(answers) < 2:
        raise refuse("it has fewer than two answers: write a list of objects")
    for number, answer in enumerate(answers, 1):
        if why := fault(answer.get("feedback")):
            raise refuse(f"the feedback of answer {number} {why}")
    if question.get("type") in ("multiple_choice", "many_choice"):
        _check_choice(question["type"], answers, refuse)
    elif question.get("type") == "numeric":
        _check_numeric(answers, refuse)
    else:
        raise refuse(f"its type is {question.get('type')!r}: choose multiple_choice, many_choice or numeric")


def _check_choice(kind: str, answers: list[Answer], refuse: Refuse) -> None:
    for number, answer in enumerate(answers, 1):
        if unknown := sorted(answer.keys() - {"answer", "correct", "feedback"}):
            raise refuse(f"{unknown[0]!r} of answer {number} is unknown: use answer, correct and feedback")
        if why := fault(answer.get("answer")):
            raise refuse(f"the text of answer {number} {why}")
        if not isinstance(answer.get("correct"), bool):
            raise refuse(f"answer {number} does not say whether it is correct: write true or false")
    if len({answer["answer"] for answer in answers}) < len(answers):
        raise refuse("two of its answers are the same: change one of them")
    right = sum(answer["correct"] for answer in answers)
    if kind == "multiple_choice" and right != 1:
        raise refuse(f"{right} of its answers are correct: mark exactly one, or make it a many_choice")
    if kind == "many_choice" and not 0 < right < len(answers):
        raise refuse(f"{right} of its {len(answers)} answers are correct: mark at least one, and leave one that is not")


def _check_numeric(answers: list[Answer], refuse: Refuse) -> None:
    wanted = {"value": {"value", "correct"}, "range": {"range", "correct"}, "default": set()}
    for number, answer in enumerate(answers, 1):
        if answer.get("type") not in wanted:
            raise refuse(f"the type of answer {number} is {answer.get('type')!r}: choose value, range or default")
        if answer.keys() != (needed := wanted[answer["type"]] | {"type", "feedback"}):
            raise refuse(f"answer {number} must have {', '.join(sorted(needed))}, and nothing else: mend it")
        if "correct" in answer and not isinstance(answer["correct"], bool):
            raise refuse(f"answer {number} does not say whether it is correct: write true or false")
        if answer["type"] == "value" and not _is_number(answer["value"]):
            raise refuse(f"the value of answer {number} is {answer['value']!r}: write a number")
        ends = answer.get("range", [0, 1])
        if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] < ends[1]):
            raise refuse(f"the range of answer {number} is {ends!r}: write two numbers, the smaller one first")
    if [answer["type"] for answer in answers].count("default") != 1:
        raise refuse("it needs exactly one answer of type default: say there what to tell all other numbers")
    right = [answer for answer in answers if answer.get("correct")]
    if len(right) != 1:
        raise refuse(f"{len(right)} of its answers are correct: mark exactly one value or range")
    for number in right[0].get("range", [right[0].get("value")]):
        if meant(answers, number) is not right[0]:
            raise refuse(f"{number} is taken by an earlier answer: put the correct one first")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def meant(answers: list[Answer], number: float) -> Answer:
    """The first answer of a numeric question that a number falls under, as in quiz.js.

    >>> meant([{"type": "value", "value": 2}, {"type": "range", "range": [1, 3]}, {"type": "default"}], 3)
    {'type': 'range', 'range': [1, 3]}
    """
    for answer in answers:
        if answer["type"] == "value" and math.isclose(answer["value"], number, rel_tol=1e-9, abs_tol=1e-12):
            return answer
        if answer["type"] == "range" and answer["range"][0] <= number <= answer["range"][1]:
            return answer
    return next(answer for answer in answers if answer["type"] == "default")


def called(answer: Answer) -> str:
    """What stands for an answer in a list of all, as HTML.

    >>> called({"type": "range", "range": [1, 3]})
    '1 to 3'
    """
    if "answer" in answer:
        return rich(answer["answer"])
    if answer["type"] == "default":
        return "any other number"
    return " to ".join(f"{number:,}" for number in answer.get("range", [answer.get("value")]))


class Quiz(Widget):
    """The questions of a chapter, from notebooks/quizzes/NAME.json (`load_quiz`). What the reader has answered stays in the
    reader's browser and is told to nobody.

    >>> Quiz("06_attention")                                                            # doctest: +SKIP
    Quiz(06_attention: 6 questions)
    """

    NAME = "quiz"
    _esm = live_module(NAME)

    def __init__(self, name: str):
        super().__init__()
        questions = load_quiz(name)
        self.state = {
            "name": name,
            "questions": [{"id": short_id(question["question"])} | question for question in questions],
        }

    def picture(self) -> str:
        """The questions, and, folded, what is to be said to each of their answers."""
        asked, answered = "", ""
        for question in self.state["questions"]:
            code = f"<pre><code>{html.escape(question['code'])}</code></pre>" if "code" in question else ""
            options = "".join(f"<li>{called(answer)}</li>" for answer in question["answers"])
            if question["type"] == "numeric":
                options = "<li>The answer is a number.</li>"
            elif question["type"] == "many_choice":
                code += "<p>More than one may be right.</p>"
            asked += f"<li>{rich(question['question'])}{code}<ul>{options}</ul></li>"
            told = "".join(
                f"<li><b>{'✓ Right' if answer.get('correct') else '✗ Wrong'}:</b> {called(answer)}<br>"
                f"{rich(answer['feedback'])}</li>"
                for answer in question["answers"]
            )
            answered += f"<li><ul>{told}</ul></li>"
        return (
            f'<ol class="mg-questions">{asked}</ol>'
            f'<details><summary>Answers</summary><ol class="mg-questions">{answered}</ol></details>'
        )

    def __repr__(self) -> str:
        return f"Quiz({self.state['name']}: {len(self.state['questions'])} questions)"
