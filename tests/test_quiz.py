"""Quizzes: what is no quiz is refused in a sentence; every chapter's quiz, still, and answered by keyboard in a real browser."""

import copy
import doctest
import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
import widgets

from conftest import ROOT, press, serious_faults, write_scripts
from minigpt_core.notebook import rich
from minigpt_core.widgets import quiz
from minigpt_core.widgets.quiz import Quiz, check_quiz, load_quiz, meant

FOLDER = ROOT / "notebooks" / "quizzes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
LAST = "last"  # over the whole book
CHAPTERS = [name for name in NAMES if name != LAST]
CHOICE = {
    "question": "Which `code`?",
    "type": "multiple_choice",
    "code": "a < b",
    "answers": [
        {"answer": "`a < b`", "correct": True, "feedback": "It is *this* one."},
        {"answer": "c & d", "correct": False, "feedback": "Not that one."},
        {"answer": "e", "correct": False, "feedback": "Nor that."},
    ],
}
MANY = CHOICE | {"question": "Which ones?", "type": "many_choice"}
NUMBER = {
    "question": "How many?",
    "type": "numeric",
    "answers": [
        {"type": "value", "value": 4, "correct": False, "feedback": "One too many."},
        {"type": "range", "range": [2.5, 3.5], "correct": True, "feedback": "Three, or nearly."},
        {"type": "default", "feedback": "Count again."},
    ],
}


def at(question: dict, *path, **change) -> dict:
    """The question with these keys of the part at `path` changed; those that are None are gone."""
    question = copy.deepcopy(question)
    part = question
    for key in path:
        part = part[key]
    part.update(change)
    for key in [key for key, value in change.items() if value is None]:
        del part[key]
    return question


def test_its_examples_are_true():
    assert doctest.testmod(quiz).failed == doctest.testmod(rich).failed == 0


FAULTS = [
    ("a question", "it is no object"),
    (CHOICE | {"hint": "none"}, "'hint' is unknown: use answers, code, question, type"),
    (CHOICE | {"question": "  "}, "its text is missing or empty: write it as text"),
    (CHOICE | {"question": "What is `a?"}, "its text has a ` without its partner"),
    (CHOICE | {"question": "What is $x$?"}, "its text has $, HTML or an entity outside of `code`"),
    (CHOICE | {"question": "What is <b>x</b>?"}, "its text has $, HTML or an entity"),
    (CHOICE | {"question": "What is x&nbsp;?"}, "its text has $, HTML or an entity"),
    (CHOICE | {"code": " "}, "its code is empty"),
    (CHOICE | {"answers": CHOICE["answers"][:1]}, "it has fewer than two answers"),
    (CHOICE | {"answers": ["a", "b"]}, "it has fewer than two answers"),
    (at(CHOICE, "answers", 1, feedback=""), "the feedback of answer 2 is missing or empty"),
    (at(CHOICE, "answers", 2, feedback=None), "the feedback of answer 3 is missing or empty"),
    (at(NUMBER, "answers", 2, feedback=" "), "the feedback of answer 3 is missing or empty"),
    (at(CHOICE, "answers", 1, points=2), "'points' of answer 2 is unknown"),
    (at(CHOICE, "answers", 0, answer=None), "the text of answer 1 is missing or empty"),
    (at(CHOICE, "answers", 0, correct="yes"), "answer 1 does not say whether it is correct"),
    (at(CHOICE, "answers", 2, answer="c & d"), "two of its answers are the same"),
    (at(CHOICE, "answers", 0, correct=False), "0 of its answers are correct: mark exactly one"),
    (at(CHOICE, "answers", 1, correct=True), "2 of its answers are correct: mark exactly one"),
    (at(MANY, "answers", 0, correct=False), "0 of its 3 answers are correct: mark at least one"),
    (
        MANY | {"answers": [CHOICE["answers"][0], CHOICE["answers"][0] | {"answer": "b"}]},
        "2 of its 2 answers are correct",
    ),
    (CHOICE | {"type": "essay"}, "its type is 'essay': choose multiple_choice, many_choice or numeric"),
    (at(NUMBER, "answers", 0, type="exact"), "the type of answer 1 is 'exact': choose value, range or default"),
    (at(NUMBER, "answers", 0, correct=None), "answer 1 must have correct, feedback, type, value, and nothing else"),
    (at(NUMBER, "answers", 2, correct=True), "answer 3 must have feedback, type, and nothing else"),
    (at(NUMBER, "answers", 0, correct=1), "answer 1 does not say whether it is correct"),
    (at(NUMBER, "answers", 0, value="4"), "the value of answer 1 is '4': write a number"),
    (at(NUMBER, "answers", 0, value=True), "the value of answer 1 is True: write a number"),
    (
        at(NUMBER, "answers", 1, range=[3, 2]),
        "the range of answer 2 is [3, 2]: write two numbers, the smaller one first",
    ),
    (at(NUMBER, "answers", 1, range=[3]), "the range of answer 2 is [3]"),
    (NUMBER | {"answers": NUMBER["answers"][:2]}, "it needs exactly one answer of type default"),
    (at(NUMBER, "answers", 1, correct=False), "0 of its answers are correct: mark exactly one value or range"),
    (at(NUMBER, "answers", 0, correct=True), "2 of its answers are correct: mark exactly one value or range"),
    (at(NUMBER, "answers", 0, value=3.5), "3.5 is taken by an earlier answer: put the correct one first"),
    (CHOICE, "it is asked in the same words as question 1"),
]


@pytest.mark.parametrize("question, words", FAULTS)
def test_what_is_no_question_is_refused_by_its_quiz_its_number_and_what_to_do(question, words):
    with pytest.raises(ValueError, match=re.escape(f"the quiz 'trial', question 2: {words}")):
        check_quiz("trial", [CHOICE, question])


@pytest.mark.parametrize("found", [[], {}, None, "text"])
def test_what_is_no_list_of_questions_is_refused(found):
    with pytest.raises(ValueError, match="the quiz 'trial' has no questions"):
        check_quiz("trial", found)


def test_a_quiz_is_found_from_both_folders_and_what_is_not_there_is_told(monkeypatch, tmp_path):
    for folder in (ROOT, ROOT / "notebooks"):
        monkeypatch.chdir(folder)
        assert load_quiz("06_attention") == load_quiz("06_attention", FOLDER)
        with pytest.raises(ValueError, match=r"there is no quiz 'nonsense': choose one of .*06_attention"):
            Quiz("nonsense")
    (tmp_path / "damaged.json").write_text('[\n{"question": }]', encoding="utf-8")
    with pytest.raises(ValueError, match="the quiz 'damaged' is no JSON, mend its line 2"):
        load_quiz("damaged", tmp_path)


def test_a_number_falls_under_the_first_answer_that_fits():
    told = [meant(NUMBER["answers"], number)["feedback"] for number in (4, 4 + 1e-12, 2.5, 3.5, 3.51, -3)]
    assert told == ["One too many."] * 2 + ["Three, or nearly."] * 2 + ["Count again."] * 2


class Text(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def plain(text: str) -> str:
    """As it is read: without the marks of code and emphasis."""
    return Text(rich.rich(text)).text


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_every_quiz_has_five_questions_belongs_to_a_chapter_and_is_whole_in_its_still_face(name, here):
    questions = load_quiz(name)
    assert len(questions) >= 5
    bundle = Quiz(name)._repr_mimebundle_()[0]
    assert bundle["text/html"] == Quiz(name).still() and bundle["text/plain"].startswith(f"Quiz({name}: ")
    face = Text(bundle["text/html"])
    for question in questions:
        asked = [question["question"], *(answer["feedback"] for answer in question["answers"])]
        asked += [answer["answer"] for answer in question["answers"] if "answer" in answer]
        assert all(plain(text) in face.text for text in asked)
        assert question.get("code", "") in face.text
    assert face.tags.count("details") == 1 and "script" not in face.tags
    if name == LAST:
        return
    chapter = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    stored = [
        output.get("data", {}).get("text/html", "") for cell in chapter.cells for output in cell.get("outputs", [])
    ]
    assert [shown for shown in stored if 'data-minigpt="quiz"' in shown] == [bundle["text/html"]], "run make notebooks"


def test_every_chapter_has_a_quiz_and_the_book_a_last_one():
    assert set(NAMES) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} | {LAST}
    assert f"```{{quiz}} {LAST}\n" in (ROOT / "book" / "last-quiz.md").read_text(encoding="utf-8")


HEAD = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A quiz</title><link rel="stylesheet" href="widgets.css">
<style>:root { color-scheme: light dark; } body { margin: 0 1rem; font: 17px sans-serif; }
html[data-theme="dark"] body { color: #ddd; background: #121212; } * { box-sizing: border-box; }</style>
<script>document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";</script>
<script defer src="host.js"></script></head>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages that hold a quiz each, as the book publishes it, to be opened from a folder; and the panel of progress."""
    folder = tmp_path_factory.mktemp("quiz")
    write_scripts(folder, "quiz", "progress")
    chapters = [
        widgets.chapter(ROOT / "notebooks" / f"{name}.ipynb") | {"href": f"{name}.html"}
        for name in NAMES
        if name != LAST
    ]
    pages = {"progress": widgets.progress(chapters)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        pages |= {name: Quiz(name).still() for name in NAMES}
        patch.setattr(quiz, "load_quiz", lambda name: [CHOICE, MANY, NUMBER])
        trial = Quiz("trial")
        pages["trial"] = trial.still()
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(
            f"{HEAD}<body><main><h1>Questions</h1>{body}</main></body></html>", encoding="utf-8"
        )
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } });"
    (folder / "refused.html").write_text(
        f"{HEAD}<body><script>{refuse}</script><main><h1>Questions</h1>{pages['trial']}{pages['progress']}</main></body></html>",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def opened(visit, folder):
    """A function: the quiz of that name, awake."""
    seen = []

    def opened(name: str, **options):
        seen.append(visit((folder / f"{name}.html").as_uri(), **options))
        return seen[-1].awake("progress" if name == "progress" else "quiz")

    yield opened
    for each in seen:
        assert each.problems == [] and each.outside == []
        each.page.close()


def kept(shown) -> dict:
    return json.loads(shown.page.evaluate("localStorage.getItem('minigpt')") or "{}")


def answer(form, question: dict, right: bool) -> list[str]:
    """Answer by the keyboard alone, Enter at the end; what must be told."""
    answers, press = question["answers"], form.page.keyboard.press
    inputs = form.locator("input").all()
    if question["type"] == "numeric":
        (chosen,) = (
            [a for a in answers if a.get("correct")] if right else [a for a in answers if a["type"] == "default"]
        )
        number = chosen.get("value", chosen["range"][0] if "range" in chosen else -98765.5)
        inputs[0].focus()
        press("Control+a")
        form.page.keyboard.type(str(number))
        press("Enter")
        return [chosen["feedback"]]
    if question["type"] == "many_choice":
        wanted = [a["correct"] == right for a in answers]
        for field, want in zip(inputs, wanted, strict=True):
            field.focus()
            if field.is_checked() != want:
                press("Space")
        press("Enter")
        return [a["feedback"] for a, want in zip(answers, wanted, strict=True) if want]
    place = next(i for i, a in enumerate(answers) if a["correct"] == right)
    inputs[0].focus()
    press("Space")
    for _ in range(place):
        press("ArrowDown")
    press("Enter")
    return [answers[place]["feedback"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_answered_wrong_and_right_by_the_keyboard_and_remembered(opened, name):
    shown = opened(name)
    questions, forms = load_quiz(name, FOLDER), shown.locator("form").all()
    for right, result in ((False, "✗ Not yet."), (True, "✓ Right.")):
        for question, form in zip(questions, forms, strict=True):
            told, status = answer(form, question, right), form.get_by_role("status").text_content()
            assert status.startswith(result) and all(plain(feedback) in status for feedback in told)
            if right and question["type"] != "numeric":  # now all are explained
                text = form.text_content()
                assert all(plain(a["feedback"]) in text for a in question["answers"])
        score = len(questions) if right else 0
        assert shown.get_by_text(f"{score} of {len(questions)} answered right").count() == 1
    shown.page.reload()
    shown.page.get_by_text(f"{len(questions)} of {len(questions)} answered right").wait_for()
    assert shown.get_by_text("✓ answered right").count() == len(questions)
    assert set(kept(shown)["quiz"]) == {name} and set(kept(shown)["quiz"][name].values()) == {"right"}


def test_a_wrong_answer_explains_itself_and_the_others_when_asked_so_that_one_may_try_again(opened):
    shown = opened("trial")
    first, many, number = shown.locator("form").all()
    first.get_by_label("c & d").check()
    press(first, "Check")
    assert first.get_by_role("status").text_content() == "✗ Not yet. Not that one."
    assert "this one" not in first.text_content() and "Nor that." not in first.text_content()
    press(first, "Show all explanations")
    assert "✓ Right: It is this one." in first.text_content() and "✗ Wrong: Nor that." in first.text_content()
    assert not first.get_by_role("button", name="Show all explanations").is_visible()
    first.get_by_label("a < b").check()
    press(first, "Check")
    assert first.get_by_role("status").text_content() == "✓ Right. It is this one."
    assert first.locator("fieldset > pre").text_content() == "a < b"

    many.get_by_label("a < b").check()
    many.get_by_label("c & d").check()
    press(many, "Check")
    assert "✗ Not yet.✓ Right: a < bIt is this one.✗ Wrong: c & dNot that one." in many.text_content()

    for typed, told in (
        ("4", "✗ Not yet. One too many."),
        ("2.5", "✓ Right. Three, or nearly."),
        ("9", "✗ Not yet. Count again."),
    ):
        number.get_by_label("your answer").fill(typed)
        press(number, "Check")
        assert number.get_by_role("status").text_content() == told
    press(number, "Show all explanations")
    assert "✓ Right: 2.5 to 3.5Three, or nearly." in number.text_content()
    assert shown.get_by_text("1 of 3 answered right").count() == 1


def test_nothing_chosen_is_told_and_forgetting_forgets_this_quiz_alone(opened):
    shown = opened("trial")
    first, _, number = shown.locator("form").all()
    press(first, "Check")
    assert first.get_by_role("status").text_content() == "Choose an answer first."
    press(number, "Check")
    assert number.get_by_role("status").text_content() == "Type a number first."
    assert kept(shown) == {}
    shown.page.evaluate(
        """localStorage.setItem("minigpt", '{"quiz": {"other": {"x": "right"}}, "predict": {"y": null}}')"""
    )
    first.get_by_label("a < b").check()
    press(first, "Check")
    assert len(kept(shown)["quiz"]["trial"]) == 1
    press(shown, "Forget my answers")
    assert kept(shown) == {"quiz": {"other": {"x": "right"}}, "predict": {"y": None}}
    assert shown.get_by_text("0 of 3 answered right").count() == 1
    assert not first.get_by_label("a < b").is_checked() and first.get_by_role("status").text_content() == ""


@pytest.mark.parametrize(
    "damaged", ["{", "[]", "7", '{"quiz": 3}', '{"quiz": {"trial": []}}', '{"quiz": {"trial": {"x": 1}}}']
)
def test_what_is_damaged_counts_as_nothing(opened, damaged):
    shown = opened("trial")
    shown.page.evaluate("text => localStorage.setItem('minigpt', text)", damaged)
    shown.page.reload()
    shown.page.get_by_text("0 of 3 answered right").wait_for()
    shown.locator("form").first.get_by_label("a < b").check()
    press(shown.locator("form").first, "Check")
    assert list(kept(shown)["quiz"]["trial"].values())[-1] == "right"


def test_where_storage_is_refused_it_works_and_says_nothing(opened):
    shown = opened("refused")
    shown.locator("form").first.get_by_label("a < b").check()
    press(shown.locator("form").first, "Check")
    assert shown.get_by_text("1 of 3 answered right").count() == 1
    assert shown.get_by_text("Remembered in this browser").count() == 0
    press(shown, "Forget my answers")
    assert shown.get_by_text("0 of 3 answered right").count() == 1
    shown.page.get_by_text("This browser does not let the page remember anything.").wait_for()
    assert not shown.page.get_by_role("button", name="Forget everything").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_has_no_serious_fault_of_access_and_fits_the_page(opened, width, scheme):
    shown = opened(NAMES[0], color_scheme=scheme, viewport={"width": width, "height": 900})
    for right in (False, True):
        for question, form in zip(load_quiz(NAMES[0], FOLDER), shown.locator("form").all(), strict=True):
            answer(form, question, right)
            if not right:
                press(form, "Show all explanations")
        assert serious_faults(shown.page) == []
        assert shown.page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_without_a_script_the_questions_are_there_and_their_answers_unfold(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "trial.html").as_uri())
    assert page.get_by_text("How many?").is_visible() and not page.get_by_text("Count again.").is_visible()
    page.get_by_text("Answers", exact=True).click()
    assert page.get_by_text("Count again.").is_visible()
    context.close()


def test_the_way_through_the_book_shows_what_was_answered_and_forgets_it(opened):
    shown = opened("progress")
    of = {name: len(load_quiz(name, FOLDER)) for name in CHAPTERS}
    cells = shown.locator("tbody tr td:nth-child(2)")
    assert cells.all_text_contents() == [f"0 of {n}" for n in of.values()]
    first = widgets.chapter(ROOT / "notebooks" / f"{CHAPTERS[0]}.ipynb")["questions"]
    some = {"quiz": {CHAPTERS[0]: {first[0]: "right", first[1]: "wrong", "gone": "right"}}, "predict": {"other": "3"}}
    shown.page.evaluate("text => localStorage.setItem('minigpt', text)", json.dumps(some))
    shown.page.reload()
    shown.page.get_by_text(f"1 of {of[CHAPTERS[0]]}").wait_for()
    press(shown, "Forget everything")
    assert cells.first.text_content() == f"0 of {of[CHAPTERS[0]]}" and kept(shown) == {}
    all_right = {"quiz": {CHAPTERS[0]: dict.fromkeys(first, "right")}}
    shown.page.evaluate("text => localStorage.setItem('minigpt', text)", json.dumps(all_right))
    shown.page.reload()
    shown.page.get_by_text(f"✓ {len(first)} of {len(first)}").wait_for()
    assert serious_faults(shown.page) == []


def test_the_still_way_through_the_book_counts_questions_and_predictions():
    state = {"name": "x", "title": "A <b>", "questions": ["1", "2"], "predictions": [], "href": "x.html"}
    text = Text(widgets.progress([state])).text
    assert "A <b>2–" in text
