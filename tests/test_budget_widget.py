"""The budget: its Python face, its JavaScript under Node against that face, and the panel in a real browser. The laws here are
made up, so that the tests depend on no measurement; Hoffmann's is published."""

import doctest
import itertools
import json
import math
import random
import re
import shutil

import pytest
from test_engine import engine

from conftest import answered, number, serious_faults, write_scripts
from minigpt_core.study.scaling import Law
from minigpt_core.widgets import budget
from minigpt_core.widgets.budget import Budget, costs, report, valley

LETTERS = {
    "name": "books",
    "unit": "nats per character",
    "E": 1.0,
    "A": 11.0,
    "alpha": 0.31,
    "B": 60.0,
    "beta": 0.33,
    "sizes": [1e4, 5e6],
    "tokens": [1e6, 1.2e8],
    "aspect": 32,
    "alice": 150_000,
    "miss": 0.0123,
    "batch": 8192,
}
HOFFMANN = {
    "name": "web text",
    "unit": "nats per BPE token",
    "E": 1.69,
    "A": 406.4,
    "alpha": 0.34,
    "B": 410.7,
    "beta": 0.28,
    "sizes": [70e6, 16e9],
    "tokens": [5e9, 500e9],
    "aspect": 64,
    "alice": 40_000,
}
DEVICES = [
    {"name": "two cores", "flops": 1.1e11, "share": 0.6, "note": "measured"},
    {"name": "eight H100", "flops": 8 * 989e12, "share": 0.4, "note": "peak in bfloat16"},
]
RUNS = [
    {"name": "a tale", "parameters": 8e5, "tokens": 3.7e6, "source": ""},
    {"name": "GPT-2 small", "parameters": 124e6, "tokens": 1e10, "hours": 1.5, "on": "eight A100", "source": "llm.c"},
    {
        "name": "nanochat",
        "parameters": 1.4e9,
        "flops": 4.33e19,
        "hours": 3.04,
        "on": "eight H100",
        "source": "its page",
    },
    {"name": "GPT-3", "parameters": 175e9, "tokens": 3e11, "source": "its paper"},
]
STATE = {"laws": [LETTERS, HOFFMANN], "devices": DEVICES, "runs": RUNS}
node = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node is not installed: the page's numbers are NOT tested"
)


def test_its_examples_are_true():
    assert doctest.testmod(budget).failed == 0


def test_what_a_notebook_stores_is_the_same_every_time_and_holds_the_numbers():
    first, second = (Budget(**STATE, hours=3)._repr_mimebundle_()[0] for _ in range(2))
    for mime in ("text/plain", "text/html"):
        assert first[mime] == second[mime]
    assert first["text/plain"] == "Budget(books, web text; two cores, eight H100; a tale, GPT-2 small, nanochat, GPT-3)"
    found = report(LETTERS, DEVICES[0], 3)
    for text in (
        *(value for _, value, _ in found["facts"]),
        found["trust"],
        *itertools.chain(*costs(RUNS, DEVICES[0])),
    ):
        assert text in first["text/html"]
    assert f"{sum(found['terms']):.2f} nats per character" in first["text/html"]


def test_what_the_caller_writes_is_text_in_the_still_face():
    mark = '<script>alert("1")</script>'
    law, device, run = ({**entry, "name": mark} for entry in (LETTERS, DEVICES[0], RUNS[0]))
    still = Budget([law], [device | {"note": mark}], [run | {"source": mark}]).still()
    assert "<script" not in still and still.count("&lt;script&gt;") >= 5


@pytest.mark.parametrize("law", [LETTERS, HOFFMANN])
@pytest.mark.parametrize("flops", [1e12, 1e17, 1e22])
def test_the_best_size_lies_at_the_bottom_of_the_valley(law, flops):
    points = valley(law, flops)
    losses = [loss for _, loss, _ in points]
    assert losses.index(min(losses)) == len(losses) // 2
    N, D = Law(*(law[name] for name in budget.COEFFICIENTS)).best(flops)
    assert points[len(points) // 2][0] == pytest.approx(N, rel=1e-12)
    assert 6 * N * D / flops == pytest.approx(1, rel=1e-12)


@node
def test_the_page_computes_and_says_what_python_does():
    hours = [0.01 * 1e6 ** (i / 40) for i in range(40)]  # close enough to lie a little outside too
    own = {"name": "", "flops": 1e18, "share": 1, "note": "as you typed it"}
    cases = [
        {"law": law, "device": device, "hours": time}
        for law, device, time in itertools.product(STATE["laws"], [*DEVICES, own], hours)
    ]
    far = 0
    for case, found in zip(cases, engine("budgets", cases=cases, runs=RUNS), strict=True):
        expected = json.loads(json.dumps(report(**case)))
        for name in ("flops", "best", "terms"):
            assert found[name] == pytest.approx(expected[name], rel=1e-12), case
        assert found["facts"] == expected["facts"] and found["trust"] == expected["trust"], case
        assert found["costs"] == [list(row) for row in costs(RUNS, case["device"])]
        for point, other in zip(found["valley"], valley(case["law"], expected["flops"]), strict=True):
            assert point[:2] == pytest.approx(other[:2], rel=1e-12) and point[2] == other[2]
        far += expected["trust"].startswith("Extrapolated.")
    assert 0 < far < len(cases)  # some lie within, some do not


@node
def test_numbers_are_written_as_python_writes_them():
    dice = random.Random(0)
    values = [10 ** dice.uniform(-1, 20) for _ in range(2000)]
    values += [1, 999.4, 999_999, 9_999_999, 1e6, 1e9, 0.999, 1, 47.99, 48, 730 * 24]
    names = ("amount", "power", "duration", "memory")
    assert engine("words", values=values) == [[getattr(budget, name)(value) for name in names] for value in values]
    short = [1e-7, 1e-5, 99.6 / 3600, 1 / 36, 0.0999]
    assert [words[2] for words in engine("words", values=short)] == [budget.duration(hours) for hours in short]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"laws": []}, "a budget needs at least one law"),
        ({"laws": [LETTERS, LETTERS]}, "each law a name of its own"),
        (
            {"laws": [{"name": "books", "E": 1}]},
            "the law 'books' lacks unit, A, alpha, B, beta, sizes, tokens, aspect, alice",
        ),
        ({"devices": [{}]}, "the device '' lacks name, flops, share, note"),
        ({"runs": [RUNS[1] | {"on": ""}]}, "the run 'GPT-2 small' has hours: say by `on`"),
        ({"runs": [{"name": "none", "parameters": 1e6, "source": ""}]}, "tokens of none=None must be a number in"),
        ({"laws": [LETTERS | {"beta": 0}]}, "beta=0 must be a number in"),
        ({"laws": [LETTERS | {"A": math.nan}]}, "A=nan must be a number in"),
        ({"laws": [LETTERS | {"sizes": [5e6, 1e4]}]}, "the beginning of sizes=5000000.0 must be a number in"),
        ({"laws": [LETTERS | {"unit": "nats"}]}, "unit='nats' must say per what"),
        ({"laws": [LETTERS | {"alice": 0}]}, "alice=0 must be a number in"),
        ({"devices": [DEVICES[0] | {"share": 1.2}]}, "share of two cores=1.2 must be a number in"),
        ({"devices": [DEVICES[0] | {"flops": 0}]}, "flops of two cores=0 must be a number in"),
        ({"runs": [RUNS[0] | {"tokens": -1}]}, "tokens of a tale=-1 must be a number in"),
        ({"hours": 0}, "hours=0 must be a number in"),
        ({"hours": 1e9}, "hours=1000000000.0 must be a number in"),
        ({"hours": "1"}, "hours='1' must be a number in"),
        ({"device": "", "own": 0}, "own=0 must be a number in"),
        ({"device": "a toaster"}, "there is no device 'a toaster': choose one of 'two cores', 'eight H100', ''"),
        ({"law": "none"}, "there is no law 'none': choose one of 'books', 'web text'"),
    ],
)
def test_what_makes_no_budget_is_refused_in_a_sentence(change, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Budget(**STATE | change)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page that holds the widget twice, as the book publishes it, opened from a folder."""
    folder = tmp_path_factory.mktemp("budget")
    write_scripts(folder, "budget")
    head = '<meta charset="utf-8"><title>A budget</title><link rel="stylesheet" href="widgets.css">'
    dark = ":root { color-scheme: light dark; } body { margin: 0 1rem; font: 17px sans-serif; } * { box-sizing: border-box; }"
    theme = 'document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";'
    (folder / "page.html").write_text(
        f'<!doctype html><html lang="en"><head>{head}<style>{dark}</style><script>{theme}</script>'
        f'<script defer src="host.js"></script></head><body><main><h1>A budget</h1>{Budget(**STATE).still()}</main></body></html>',
        encoding="utf-8",
    )
    return (folder / "page.html").as_uri()


@pytest.fixture
def shown(visit, page):
    seen = visit(page)
    yield seen.awake("budget")
    assert seen.problems == [] and seen.outside == []
    seen.page.close()


def said(shown) -> str:
    return shown.locator(".mg-status").text_content()


def told(shown) -> dict[str, str]:
    rows = shown.locator(".mg-facts tbody tr").all()
    cells = [row.locator("th, td").all_text_contents() for row in rows]
    return {name: (value, note) for name, value, note in cells}


def agrees(shown, law: dict, device: dict, hours: float) -> bool:
    """The panel shows what Python computes: facts, terms, trust, the bottom of the valley, costs."""
    found = report(law, device, hours)
    assert told(shown) == {name: (value, note) for name, value, note in found["facts"]}
    terms = shown.locator("table").nth(1).locator("td:nth-child(2)").all_text_contents()
    E, size, text = found["terms"]
    assert [number(term) for term in terms] == pytest.approx([E, size, text, E + size + text], abs=0.0051)
    assert said(shown) == found["trust"]
    assert f"{budget.amount(found['best'][0])}, loss" in shown.locator(".mg-best").text_content()
    rows = shown.locator(".mg-runs tbody tr").all()
    assert [tuple(row.locator("th, td").all_text_contents()) for row in rows] == costs(RUNS, device)
    inside = [point for point in valley(law, found["flops"]) if point[2]]
    solid = shown.locator("svg polyline").last.get_attribute("points").split()
    assert len(solid) == len(inside)
    return True


def test_the_panel_shows_what_python_computes(shown):
    assert agrees(shown, LETTERS, DEVICES[0], 1)
    shown.get_by_label("hours", exact=True).fill("0.25")
    assert agrees(shown, LETTERS, DEVICES[0], 0.25)
    shown.get_by_label("device").select_option("eight H100")
    assert agrees(shown, LETTERS, DEVICES[1], 0.25)
    assert said(shown).startswith("Extrapolated.")
    shown.get_by_label("law").select_option("web text")
    assert agrees(shown, HOFFMANN, DEVICES[1], 0.25)
    shown.get_by_label("hours", exact=True).fill(" 2e1 ")
    assert agrees(shown, HOFFMANN, DEVICES[1], 20)
    assert "this lies within" in said(shown)


def test_the_slider_goes_in_steps_by_the_arrow_keys_and_follows_what_is_typed(shown):
    slider, hours = shown.get_by_label("hours, in steps"), shown.get_by_label("hours", exact=True)
    slider.focus()
    for key, expected in (("ArrowRight", 2), ("ArrowRight", 5), ("Home", 0.01), ("End", 10_000)):
        shown.page.keyboard.press(key)
        assert float(hours.input_value()) == expected and agrees(shown, LETTERS, DEVICES[0], expected)
    hours.fill("23")
    assert slider.get_attribute("aria-valuetext") == "20"
    assert agrees(shown, LETTERS, DEVICES[0], 23)  # the slider is near, the number is the reader's


def test_a_machine_of_the_readers_own(shown):
    speed = shown.get_by_label("GFLOP/s")
    assert not speed.is_visible()
    shown.get_by_label("device").select_option(label="a machine of your own")
    for text in ("250", "0.1", "1e9"):
        speed.fill(text)
        own = {"name": "", "flops": 1e9 * float(text), "share": 1, "note": "as you typed it"}
        assert agrees(shown, LETTERS, own, 1)
    for text in ("", "0", "-5", "fast", "1e10", "250 GFLOP/s"):
        speed.fill(text)
        words = "The speed must be a number from 0.1 to 1,000,000,000: type it without commas, such as 2.5."
        assert said(shown) == words
        assert shown.locator("table, svg").count() == 0
    shown.get_by_label("device").select_option("two cores")
    assert not speed.is_visible() and agrees(shown, LETTERS, DEVICES[0], 1)


def test_hours_that_are_none_are_said_in_a_sentence_and_the_next_ones_count(shown):
    hours = shown.get_by_label("hours", exact=True)
    for text in ("", "0", "-1", "1e9", "ten", "1,000", "0.009", "10001", "NaN", "Infinity", "<b>2</b>"):
        hours.fill(text)
        words = "The hours must be a number from 0.01 to 10,000: type it without commas, such as 2.5."
        assert said(shown) == words, text
        assert shown.locator("table, svg").count() == 0, text  # nothing that belongs to other hours
    for text in ("10000", "0.01"):
        hours.fill(text)
        assert agrees(shown, LETTERS, DEVICES[0], float(text))


def test_it_opens_where_the_state_says_and_tells_the_kernel(shown):
    state = Budget(**STATE, hours=7, device="", law="web text", own=3.5).state
    script = """([state, action]) => {
        const root = document.querySelector("main").appendChild(document.createElement("div")), told = [];
        root.id = "own";
        minigpt.widgets.budget(root, state, {}, (change) => told.push(change.state));
        const [hours] = root.querySelectorAll("input");
        for (const text of ["8", "none"]) {
            hours.value = text;
            hours.dispatchEvent(new Event("input"));
        }
        return told;
    }"""
    first, *others = shown.page.evaluate(script, [state, None])
    assert first == json.loads(json.dumps(state))
    assert others == [json.loads(json.dumps(state | {"hours": 8}))]  # and nothing of what is no number


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_has_no_serious_fault_of_access_and_fits_the_page(visit, page, width, scheme):
    seen = visit(page, color_scheme=scheme, viewport={"width": width, "height": 900})
    shown = seen.awake("budget")
    answered(shown)
    for device, hours in (("two cores", "1"), ("eight H100", "10000"), ("", "none")):
        shown.get_by_label("device").select_option(device)
        shown.get_by_label("hours", exact=True).fill(hours)
        assert serious_faults(seen.page) == [], (device, hours)
        assert seen.page.evaluate("document.scrollingElement.scrollWidth") <= width
        whole = shown.bounding_box()
        for part in shown.locator("svg text, select").all():
            box = part.bounding_box()
            assert whole["x"] - 1 <= box["x"] and box["x"] + box["width"] <= whole["x"] + whole["width"] + 1
    shown.get_by_label("hours", exact=True).fill("1")
    bottoms = [part.bounding_box()["y"] + part.bounding_box()["height"] for part in shown.locator("> div").all()]
    assert whole["y"] + shown.bounding_box()["height"] - max(bottoms) < 30  # no higher than what it shows
    assert seen.problems == []
    seen.page.close()


def test_the_picture_is_drawn_anew_where_there_is_less_room(shown):
    before = shown.locator("svg").bounding_box()["width"]
    shown.page.set_viewport_size({"width": 420, "height": 900})
    shown.page.wait_for_function(
        "([root, before]) => root.querySelector('svg').clientWidth < before", arg=[shown.element_handle(), before]
    )
    assert agrees(shown, LETTERS, DEVICES[0], 1)
