"""Predictions: what is no question is refused in a sentence; the guess beside what turned out, in Python and in the page, which
folds the answer until the reader has guessed."""

import doctest
import html
import json
import re

import nbformat
import numpy as np
import pytest
import torch
import widgets

from conftest import ROOT, press, serious_faults, write_scripts
from minigpt_core.notebook import predict as module
from minigpt_core.notebook.predict import predict

WHICH = ("Which of the four models is first below the `bigram`?", "average", "one head", "with places")
HIGH = "How high is the loss before any training?"


def test_its_examples_are_true():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "asked, options, words",
    [
        ((" ",), {}, "the question is missing or empty"),
        (("What is $x$?",), {}, "the question has $, HTML or an entity"),
        ((*WHICH[:2],), {}, "'average' is the only choice: give at least two, or none to ask for a number"),
        (("Which?", "a", ""), {}, "the choice '' is missing or empty"),
        (("Which?", "a", 2), {}, "the choice 2 is missing or empty"),
        (("Which?", "a", "b", "a"), {}, "two of the choices are the same: 'a', 'b', 'a'"),
        (WHICH, {"unit": "nats"}, "a question has choices, or it asks for a number with a unit and digits: give one"),
        (WHICH, {"digits": 2}, "a question has choices, or it asks for a number with a unit and digits: give one"),
        (WHICH, {"guess": "two heads"}, "guess='two heads' is none of the choices: write one of 'average', 'one head'"),
        (WHICH, {"guess": 2}, "guess=2 is none of the choices"),
        ((HIGH,), {"guess": "4.2"}, "guess='4.2' is no number: write a number, such as 4.2"),
        ((HIGH,), {"guess": True}, "guess=True is no number"),
        ((HIGH,), {"guess": float("nan")}, "guess=nan is no number"),
        ((HIGH,), {"digits": 0}, "digits=0 must be a whole number from 1 to 12"),
        ((HIGH,), {"digits": 2.0}, "digits=2.0 must be a whole number from 1 to 12"),
    ],
)
def test_what_is_no_question_or_no_guess_is_refused_in_a_sentence(asked, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        predict(*asked, **options)


@pytest.mark.parametrize(
    "asked, value, words",
    [
        (
            WHICH,
            "two heads",
            "'two heads' is none of the choices: compare with one of 'average', 'one head', 'with places'",
        ),
        (WHICH, 2.2, "2.2 is none of the choices"),
        ((HIGH,), "4.17", "value='4.17' is no number: compare with the number that was computed"),
        ((HIGH,), float("inf"), "value=inf is no number"),
        ((HIGH,), torch.ones(2), "is no number"),
        ((HIGH,), None, "value=None is no number"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(asked, value, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        predict(*asked).compare(value)


@pytest.mark.parametrize(
    "options, value, said",
    [
        ({"unit": "nats", "guess": 3.0}, 4.1744, "it is 4.17 nats; you had guessed 3.0: 1.17 too low"),
        ({"unit": "nats", "guess": 5}, torch.tensor(4.1744), "it is 4.17 nats; you had guessed 5: 0.83 too high"),
        ({"unit": "nats"}, np.float32(4.1744), "it is 4.17 nats (no guess made)"),
        ({"unit": "nats", "guess": 4.171}, 4.1744, "it is 4.17 nats; you had guessed 4.171: right"),
        ({"unit": "%", "guess": 50}, 49.96, "it is 50.0%; you had guessed 50: right"),
        ({"guess": 12_000}, 12_345.6, "it is 12,300; you had guessed 12000: 300 too low"),
        ({"guess": 800_000}, 804_096, "it is 804,096; you had guessed 800000: 4,096 too low"),
        ({"digits": 1}, 0.012, "it is 0.01 (no guess made)"),
        ({"digits": 2}, 9.96, "it is 10 (no guess made)"),
        ({}, 0.0, "it is 0.00 (no guess made)"),
        ({}, -0.00123456, "it is -0.00123 (no guess made)"),
    ],
)
def test_a_number_is_told_beside_the_guess(options, value, said):
    answer = predict(HIGH, **options).compare(value)
    assert repr(answer) == said
    assert html.unescape(re.sub("<[^>]*>", "", answer._repr_html_())) == f"{said[0].upper()}{said[1:]}."


def test_a_choice_is_told_beside_the_guess():
    for guess, told in (
        (None, " (no guess made)"),
        ("average", "; you had guessed average"),
        ("one head", ", as you had guessed"),
    ):
        assert repr(predict(*WHICH, guess=guess).compare("one head")) == f"it is one head{told}"


def test_the_still_face_asks_and_says_how_to_guess_in_a_notebook():
    shown = predict(*WHICH)._repr_html_()
    assert shown == predict(*WHICH)._repr_html_()
    state = json.loads(html.unescape(re.search('data-state="([^"]*)"', shown)[1]))
    assert state == {"id": predict(*WHICH).id, "choices": list(WHICH[1:]), "unit": ""}
    assert "first below the <code>bigram</code>?" in shown and shown.count("<li>") == 3
    assert (
        'add <code>guess="average"</code> to the call' in shown
        and "add <code>guess=4.2</code>" in predict(HIGH)._repr_html_()
    )
    assert "Your guess: <b>one head</b>" in predict(*WHICH, guess="one head")._repr_html_()
    assert repr(predict(HIGH)) == f"{HIGH} (no guess yet: add guess=4.2)"
    mark = predict("Which?", "a < b", 'say "b"', guess="a < b")
    assert "a &lt; b" in mark._repr_html_() and "a &lt; b" in mark.compare("a < b")._repr_html_()


def test_every_prediction_of_the_book_is_compared_once_below_it_and_nobody_has_guessed():
    seen = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        shown = [o.get("data", {}).get("text/html", "") for cell in notebook.cells for o in cell.get("outputs", [])]
        asked = widgets.predictions(notebook)
        found = re.findall(
            r'predict" data-state="\{&quot;id&quot;: &quot;(\w+)|data-answer-of="(\w+)"', "\n".join(shown)
        )
        order = [first or second for first, second in found]
        assert len(asked) >= 3, f"{path.name} asks for fewer than three guesses"
        for each in asked:
            assert order.count(each) == 2, f"{path.name}: a prediction needs one cell that asks and one that compares"
        assert "you had guessed" not in "\n".join(shown) and "Your guess: <b>" not in "\n".join(shown), path.name
        seen += asked
    assert len(set(seen)) == len(seen), "two predictions ask in the same words"


HEAD = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Predictions</title><link rel="stylesheet" href="widgets.css">
<style>:root { color-scheme: light dark; } body { margin: 0 1rem; font: 17px sans-serif; }
html[data-theme="dark"] body { color: #ddd; background: #121212; } a { color: LinkText; } * { box-sizing: border-box; }
html[data-theme="dark"] a { color: #7cc4f0; }</style>
<script>document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";</script>
<script defer src="host.js"></script><script defer src="predict.js"></script></head>"""


def cell(output: str, code: str = "", tag: str = "") -> str:
    """A cell as the book's theme writes it."""
    shown = f'<div class="cell_input docutils container"><pre>{code}</pre></div>' if code else ""
    hidden = (
        f'<div class="cell_output docutils container"><div class="output text_html">{output}</div></div>'
        if output
        else ""
    )
    return f'<div class="cell docutils container"{tag}>{shown}{hidden}</div>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with two predictions, one inside the other's experiment, as the book publishes it."""
    folder = tmp_path_factory.mktemp("predict")
    write_scripts(folder, "predict")
    which, high = predict(*WHICH), predict(HIGH, unit="nats")
    body = "".join(
        [
            '<p><a href="#check-1">✓</a></p>',
            cell("before", "the code before"),
            cell(which._repr_html_()),
            cell("first output", "the first code"),
            cell("", "the silent code"),
            cell(high._repr_html_(), "the code that asks"),
            cell("a figure"),
            f'<details class="receipt"><summary>what was checked</summary>{cell("ok", "assert", " id=check-1")}</details>',
            cell(high.compare(4.1744)._repr_html_(), "the code that compares"),
            cell("between", "the code between"),
            cell(which.compare("with places")._repr_html_()),
            cell("after", "the code after"),
        ]
    )
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } });"
    for name, script in (("page", ""), ("refused", f"<script>{refuse}</script>")):
        text = f'{HEAD}<body>{script}<main class="bd-content"><h1>Predictions</h1>{body}</main></body></html>'
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def opened(visit, folder):
    """A function: the page of that name, its predictions awake."""
    seen = []

    def opened(name: str = "page", anchor: str = "", **options):
        seen.append(visit((folder / f"{name}.html").as_uri() + anchor, **options))
        return seen[-1].page

    yield opened
    for each in seen:
        assert each.problems == [] and each.outside == []
        each.page.close()


INNER = ("a figure", "what was checked", "answer 0")
OUTER = ("first output", "between", "answer 1")


def visible(page, *texts) -> list[str]:
    """Those of the texts that are seen; "answer 0" is the place that compares first."""

    def place(text):
        if text.startswith("answer "):
            return page.locator(".mg-answer").nth(int(text.removeprefix("answer ")))
        return page.get_by_text(text, exact=True)

    return [text for text in texts if place(text).is_visible()]


def panels(page):
    return page.locator("[data-minigpt=predict]").all()


def kept(page) -> dict:
    return json.loads(page.evaluate("localStorage.getItem('minigpt')") or "{}").get("predict", {})


def test_what_answers_is_folded_from_the_start_and_the_code_is_not(opened):
    page = opened(viewport={"width": 800, "height": 100})  # far above the second question
    assert visible(page, *INNER, *OUTER) == []
    assert len(panels(page)) == 2 and all(panel.is_visible() for panel in panels(page))
    codes = [
        f"the {name}" for name in ("first code", "silent code", "code that asks", "code that compares", "code between")
    ]
    assert visible(page, "before", "after", *codes) == ["before", "after", *codes]
    assert page.locator(".mg-fold-line:visible").count() == 4  # one where several folded parts stand together
    assert page.locator(".mg-fold-line:visible").first.text_content() == "Folded until you guess."
    assert not page.get_by_text("run the cell again").first.is_visible()


def test_a_guess_by_the_keyboard_unfolds_is_compared_and_remembered_until_guessed_again(opened):
    page = opened()
    which, high = panels(page)
    which.get_by_role("button", name="Guess", exact=True).focus()
    page.keyboard.press("Enter")
    assert which.get_by_role("status").text_content() == "Choose one first, or skip it." and visible(page, *OUTER) == []
    which.get_by_label("average").focus()
    for key in ("Space", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert which.get_by_role("status").text_content() == "You said one head. It is with places."
    assert which.get_by_role("button", name="Guess again").evaluate("button => button === document.activeElement")
    assert visible(page, "first output", "between", *INNER) == ["first output", "between"]  # the other is not guessed
    assert page.locator(".mg-answer").last.text_content() == "You said one head. It is with places."

    for typed, said in (
        ("", "Type a number first, or skip it."),
        ("3.0", "You said 3.0. It is 4.17 nats: 1.17 too low."),
    ):
        high.get_by_label("your guess").fill(typed)
        page.keyboard.press("Enter")
        assert high.get_by_role("status").text_content() == said
    assert visible(page, "first output", "a figure", "what was checked") == [
        "first output",
        "a figure",
        "what was checked",
    ]
    assert page.locator(".mg-fold-line:visible").count() == 0
    assert kept(page) == {predict(*WHICH).id: "one head", predict(HIGH).id: "3.0"}

    page.reload()
    which, high = panels(page)
    assert high.get_by_role("status").text_content() == "You said 3.0. It is 4.17 nats: 1.17 too low."
    press(high, "Guess again")
    assert visible(page, "first output", *INNER) == ["first output"] and set(kept(page)) == {predict(*WHICH).id}
    assert high.get_by_label("your guess").evaluate("input => input === document.activeElement && input.value === ''")
    high.get_by_label("your guess").fill("4.1700")
    press(high, "Guess")
    assert high.get_by_role("status").text_content() == "You said 4.1700. That is right: it is 4.17 nats."
    press(which, "Guess again")
    which.get_by_label("with places").check()
    press(which, "Guess")
    assert which.get_by_role("status").text_content() == "You said with places. That is right."


def test_a_double_click_guesses_once(opened):
    page = opened()
    which, high = panels(page)
    which.get_by_label("average").check()
    which.get_by_role("button", name="Guess", exact=True).dblclick()
    assert which.get_by_role("status").text_content() == "You said average. It is with places."
    high.get_by_role("button", name="Skip").dblclick()
    assert high.get_by_role("status").text_content() == "Skipped."
    assert kept(page) == {predict(*WHICH).id: "average", predict(HIGH).id: None}


def test_skipping_unfolds_and_is_remembered(opened):
    page = opened()
    for panel in panels(page):
        press(panel, "Skip")
    assert visible(page, *INNER, *OUTER) == [*INNER, *OUTER]
    assert set(kept(page).values()) == {None}
    page.reload()
    assert visible(page, *INNER, *OUTER) == [*INNER, *OUTER]
    assert panels(page)[0].get_by_role("status").text_content() == "Skipped."


@pytest.mark.parametrize("at_once", [True, False])
def test_a_link_that_leads_into_a_folded_place_unfolds_it_and_nothing_is_remembered(opened, at_once):
    page = opened(anchor="#check-1" if at_once else "")
    if not at_once:
        page.get_by_role("link", name="✓").click()
    page.get_by_text("Unfolded, since a link led here.").first.wait_for()
    assert page.get_by_text("what was checked").is_visible() and page.locator("#check-1").is_visible()
    assert kept(page) == {}
    page.goto(page.url.split("#")[0])
    page.reload()
    assert visible(page, *INNER, *OUTER) == []


def test_the_line_leads_to_the_question(opened):
    page = opened(viewport={"width": 800, "height": 200})
    page.locator(".mg-fold-line:visible a").last.click()
    assert page.url.endswith(panels(page)[0].get_attribute("id")) and visible(page, *OUTER) == []


@pytest.mark.parametrize(
    "damaged",
    ["{", '{"predict": []}', json.dumps({"predict": {predict(*WHICH).id: "five heads", predict(HIGH).id: 3}})],
)
def test_what_is_damaged_or_no_choice_any_more_counts_as_nothing(opened, damaged):
    page = opened()
    page.evaluate("text => localStorage.setItem('minigpt', text)", damaged)
    page.reload()
    assert visible(page, *INNER, *OUTER) == []


def test_where_storage_is_refused_it_works(opened):
    page = opened("refused")
    assert visible(page, *OUTER) == []
    press(panels(page)[0], "Skip")
    assert visible(page, *OUTER) == list(OUTER)


def test_on_paper_and_without_a_script_all_is_seen(opened, browser, folder):
    page = opened()
    assert visible(page, *INNER, *OUTER) == []
    page.emulate_media(media="print")
    assert visible(page, *INNER, *OUTER) == [*INNER, *OUTER]
    assert page.locator(".mg-fold-line:visible, .mg-predict button:visible").count() == 0
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "page.html").as_uri())
    assert visible(page, *INNER, *OUTER) == [*INNER, *OUTER]
    assert page.get_by_text("average", exact=True).is_visible()
    assert (
        not page.get_by_text("run the cell again").first.is_visible()
        and not page.get_by_text("no guess made").first.is_visible()
    )
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_has_no_serious_fault_of_access_and_fits_the_page(opened, width, scheme):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900})
    for button in ("Guess", "Skip"):
        assert serious_faults(page) == []
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        for panel in panels(page):
            press(panel, button)
    assert serious_faults(page) == []
