"""The recorded curves of chapter 08 in a real browser: numbers, lines and texts are those of the records. And the patients
without names: the panel says of each what the clinic says."""

import json

import pytest

from conftest import ROOT, answered, press, serious_faults
from minigpt_core.study import clinic
from minigpt_core.widgets.curves import Curves
from minigpt_core.widgets.records import DESCRIBED, PATIENTS, RUNS, curves, levels, patients


@pytest.fixture(scope="module", params=["http", "file"])
def shown(widget, request):
    shown = widget("notebooks/08_training.html", "curves", request.param)
    shown.locator("svg").wait_for()
    return shown


@pytest.fixture(scope="module")
def records():
    return curves()["runs"]


def choose(shown, run: str, beside: str = "") -> None:
    shown.get_by_label("run", exact=True).select_option(run)
    shown.get_by_label("beside it").select_option(beside)


def tale(name: str, record: dict, step: int) -> str:
    """The sentence that belongs under the curves."""
    val = [(at, loss) for at, loss in record["val"] if at <= step]
    held = f", validation {val[-1][1]:.2f} (step {val[-1][0]})" if val else ""
    label = RUNS[name][0].upper() + RUNS[name][1:]
    return f"{label}, step {step}: training loss {record['loss'][step - 1]:.2f}{held}, gradient {record['norm'][step - 1]:.2f}."


@pytest.mark.parametrize("run, beside", [("film", "high-rate-no-warmup"), ("small", "little-text"), ("low-rate", "")])
def test_numbers_and_texts_at_a_step_are_the_records(shown, records, run, beside):
    choose(shown, run, beside)
    chosen = [name for name in (run, beside) if name]
    for step in (1, 99, 250, 900):
        shown.get_by_label("step", exact=True).fill(str(step))
        expected = " ".join(tale(name, records[name], step) for name in chosen)
        assert shown.locator(".mg-status").first.text_content() == expected
        said = [[text for at, text in records[name]["says"] if at <= step][-1].replace("\n", "↵") for name in chosen]
        assert shown.locator(".mg-text").all_text_contents() == said


def points(line) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in line.get_attribute("points").split()]


@pytest.mark.parametrize("run", RUNS)
def test_the_lines_are_drawn_where_the_numbers_are(shown, records, run):
    choose(shown, run)
    ticks = {
        text.text_content(): float(text.get_attribute("y"))
        for text in shown.locator("svg g").first.locator("text[text-anchor=end]").all()
    }
    scale = (ticks["0"] - ticks["4"]) / 4  # pixels a nat
    lines = shown.locator("svg g").first.locator("polyline").all()
    drawn = points(lines[len(levels())])  # after the levels comes the training loss
    assert len(drawn) == 900
    for step in (1, 60, 500, 900):
        assert (ticks["0"] - drawn[step - 1][1]) / scale == pytest.approx(records[run]["loss"][step - 1], abs=0.01)
    held_back = points(lines[len(levels()) + 1])
    assert [(ticks["0"] - y) / scale for _, y in held_back] == pytest.approx(
        [loss for _, loss in records[run]["val"]], abs=0.01
    )
    assert held_back[-1][0] == drawn[-1][0] and held_back[0][0] == drawn[99][0]


@pytest.mark.parametrize("run, beside", [("small", ""), ("low-rate", "film"), ("film", "small")])
def test_the_norm_of_the_gradient_is_drawn_as_high_as_it_is(shown, records, run, beside):
    choose(shown, run, beside)
    panel = shown.locator("svg g").nth(1)
    ticks = {
        float(text.text_content()): float(text.get_attribute("y"))
        for text in panel.locator("text[text-anchor=end]").all()
    }
    scale = (ticks[0] - ticks[max(ticks)]) / max(ticks)
    *_, last = (points(line) for line in panel.locator("polyline").all())
    assert [(ticks[0] - y) / scale for _, y in last] == pytest.approx(records[run]["norm"], abs=0.06)
    if beside:
        other = points(panel.locator("polyline").nth(1))
        assert [(ticks[0] - y) / scale for _, y in other] == pytest.approx(records[beside]["norm"], abs=0.06)
    title = float(panel.locator(".mg-title").get_attribute("y"))
    assert min(y for _, y in last) > title + 6  # under its own title, and not in the panel above


def test_keys_and_pointer_move_the_step_and_the_line_with_it(shown):
    choose(shown, "film")
    slider = shown.get_by_label("step", exact=True)
    slider.fill("450")
    choose(shown, "film", "small")
    assert slider.input_value() == "450"  # another run, the same step
    choose(shown, "film")
    slider.focus()
    shown.page.keyboard.press("ArrowRight")
    assert slider.input_value() == "451" and "step 451:" in shown.locator(".mg-status").first.text_content()
    line, middle = points(shown.locator("svg g").first.locator("polyline").nth(len(levels()))), 700
    cursor = shown.locator(".mg-cursor")
    assert float(cursor.get_attribute("x1")) == pytest.approx(line[450][0], abs=0.06)
    box = shown.locator("svg").bounding_box()
    shown.page.mouse.move(box["x"] + line[300][0], box["y"] + 60)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + line[middle - 1][0], box["y"] + 80)
    shown.page.mouse.up()
    assert abs(int(slider.input_value()) - middle) <= 1


def test_records_that_are_missing_are_said_in_a_sentence(browser, site):
    page = browser.new_page()
    page.route("**/data/curves.js", lambda route: route.abort())
    page.goto(f"{site}/notebooks/08_training.html")
    page.locator("[data-minigpt=curves]").first.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('[data-minigpt=curves] [role=status]')?.textContent")
    assert (
        "data/curves.js could not be loaded" in page.locator("[data-minigpt=curves] [role=status]").first.text_content()
    )
    page.close()


def drawn(shown) -> int:
    """The step up to which the training loss is drawn."""
    return len(points(shown.locator("svg g").first.locator("polyline").nth(len(levels()))))


def step_of(shown) -> int:
    return int(shown.get_by_label("step", exact=True).input_value())


def test_play_draws_the_curve_with_the_step_pauses_and_stops_at_the_end(shown, records):
    shown.get_by_label("step", exact=True).fill("900")
    choose(shown, "little-text")
    assert (step_of(shown), drawn(shown)) == (900, 900)
    height = shown.bounding_box()["height"]
    shown.page.wait_for_timeout(300)
    assert step_of(shown) == 900  # nothing moves unasked
    press(shown, "Play")
    shown.page.wait_for_function("root => +root.querySelector('[type=range]').value < 850", arg=shown.element_handle())
    assert shown.bounding_box()["height"] == height
    press(shown, "Pause")
    step = step_of(shown)
    assert drawn(shown) == step < 850
    held_back = shown.locator("svg g").first.locator("polyline").nth(len(levels()) + 1)
    assert len((held_back.get_attribute("points") or "").split()) == step // 100
    assert shown.locator(".mg-status").first.text_content() == tale("little-text", records["little-text"], step)
    shown.page.wait_for_timeout(300)
    assert step_of(shown) == step and drawn(shown) == step
    shown.get_by_label("step", exact=True).fill("890")  # by hand: the whole curve is there, and play goes on from here
    assert drawn(shown) == 900
    press(shown, "Play")
    shown.get_by_role("button", name="Play", exact=True).wait_for()
    assert (step_of(shown), drawn(shown)) == (900, 900)


def test_with_less_motion_it_plays_in_nine_steps(widget):
    calm = widget("notebooks/08_training.html", "curves", reduced_motion="reduce")
    calm.locator("svg").wait_for()
    calm.page.evaluate(
        "() => { const first = document.querySelector('[data-minigpt=curves] [type=range]'); globalThis.seen = [];"
        "setInterval(() => seen.at(-1) === first.value || seen.push(first.value), 20); }"
    )
    press(calm, "Play")
    calm.page.wait_for_function("seen.length > 3")
    press(calm, "Pause")
    assert calm.page.evaluate("seen.slice(0, 4)") == ["900", "1", "101", "201"]


@pytest.fixture
def asked(shown):
    """The same panel, with the patients; afterwards the names are back."""
    press(shown, "Hide the names")
    shown.get_by_label("your diagnosis").wait_for()
    answered(shown)
    yield shown
    press(shown, "Show the names")
    answered(shown)
    assert shown.get_by_label("beside it").is_visible() and not shown.get_by_label("your diagnosis").is_visible()


@pytest.fixture(scope="module")
def wards():
    return patients()["patients"]


@pytest.mark.parametrize("letter", PATIENTS)
def test_a_patient_has_no_name_until_the_reader_finds_what_the_clinic_finds(asked, wards, letter):
    patient, secret = wards[letter], DESCRIBED[PATIENTS[letter]]
    asked.get_by_label("patient", exact=True).select_option(letter)
    last = len(patient["loss"])
    assert step_of(asked) == drawn(asked) == last
    sentence = asked.locator(".mg-status").first.text_content()
    assert sentence.startswith(f"Patient {letter}, step {last}: training loss {patient['loss'][-1]:.2f}, validation")
    assert asked.locator(".mg-text").all_text_contents() == (
        [patient["says"][-1][1].replace("\n", "↵")] if patient["says"] else [""]
    )
    assert asked.locator(".mg-text").is_visible() == bool(patient["says"])
    visible = asked.inner_text()
    assert secret not in visible and PATIENTS[letter] not in visible
    assert asked.locator("svg").get_attribute("aria-label") == f"loss and gradient norm: Patient {letter}"
    assert asked.get_by_label("your diagnosis").locator("option").all_text_contents() == [
        "choose a diagnosis",
        *clinic.NAMES,
    ]
    verdict, (finding,) = asked.locator(".mg-verdict"), patient["findings"]
    press(asked, "Ask the clinic")
    assert verdict.text_content() == "Choose a diagnosis first."
    height = None
    for name in clinic.NAMES:
        asked.get_by_label("your diagnosis").select_option(name)
        press(asked, "Ask the clinic")
        height = height or asked.bounding_box()["height"]  # from the first verdict on, there is room for each
        if name != finding["name"]:
            assert verdict.text_content() == f"✗ Not {name}. The clinic saw this: {finding['symptom']}"
        else:
            assert verdict.text_content() == (
                f"✓ Right: {name}. {finding['symptom']} It means: {finding['diagnosis']} Try: {finding['cure']}"
                f" Patient {letter} is the run “{secret}”."
            )
    assert asked.bounding_box()["height"] == height
    chosen = asked.get_by_label("patient", exact=True).locator("option:checked")
    assert chosen.text_content() == f"{letter}, {finding['name']}"


def test_a_patient_is_drawn_beside_the_lines_of_its_own_text(asked, wards):
    for letter in ("B", "C"):
        asked.get_by_label("patient", exact=True).select_option(letter)
        panel, patient = asked.locator("svg g").first, wards[letter]
        ticks = {
            float(text.text_content()): float(text.get_attribute("y"))
            for text in panel.locator("text[text-anchor=end]").all()
        }
        scale = (ticks[0] - ticks[max(ticks)]) / max(ticks)
        lines = [points(line) for line in panel.locator("polyline").all()]
        for line, level in zip(lines, patient["levels"].values(), strict=False):
            assert (ticks[0] - line[0][1]) / scale == pytest.approx(level, abs=0.03)
        assert (ticks[0] - lines[4][-1][1]) / scale == pytest.approx(patient["loss"][-1], abs=0.03)


def test_the_patients_verdicts_are_those_of_chapter_09_and_the_list_is_the_clinics(wards):
    assert {PATIENTS[letter]: [f["name"] for f in patient["findings"]] for letter, patient in wards.items()} == {
        "small": ["underfitting"],
        "film-zh": ["healthy"],
        "little-text": ["overfitting"],
        "low-rate": ["undertrained"],
        "high-rate": ["healthy"],
        "no-residual": ["stalled"],
        "short": ["undertrained"],
        "high-rate-no-warmup": ["stalled"],
    }
    notebook = json.loads((ROOT / "notebooks" / "09_clinic.ipynb").read_text(encoding="utf-8"))
    chapter = "".join("".join(cell["source"]) for cell in notebook["cells"])
    for name, verdict in (("small", "underfitting"), ("high-rate-no-warmup", "stalled")):
        assert f'reports["{name}"].verdict == "{verdict}"' in chapter
    assert patients()["diagnoses"] == clinic.NAMES


def test_the_still_face_of_a_patient_does_not_name_it():
    for letter, name in PATIENTS.items():
        still = Curves(patient=letter).still()
        table = still.split(">", 1)[1]
        assert f"Patient {letter}: which diagnosis?" in table and DESCRIBED[name] not in table
        assert f'"patient": "{letter}"' in still.replace("&quot;", '"')
    with pytest.raises(ValueError, match="there is no patient 'Z': choose one of A, B, C, D, E, F, G, H"):
        Curves(patient="Z")
    for choice in ({"run": "small"}, {"beside": "film"}):
        with pytest.raises(ValueError, match="give patient, or run and beside, not both"):
            Curves(patient="A", **choice)


def test_it_can_begin_with_a_patient_and_tells_the_kernel(shown, wards):
    told = shown.page.evaluate(
        """async ([state, record]) => {
            const root = document.body.appendChild(document.createElement("div")), told = [];
            root.id = "own";
            minigpt.widgets.curves(root, state, { read: async () => record }, (change) => told.push(change.state));
            await new Promise((resolve) => setTimeout(resolve, 100));
            return told;
        }""",
        [Curves(patient="G", step=100).state, {"diagnoses": clinic.NAMES, "patients": wards}],
    )
    assert told[-1] == {"runs": RUNS, "run": "film", "beside": "", "step": 100, "patient": "G"}
    assert shown.page.locator("#own .mg-status").first.text_content().startswith("Patient G, step 100:")
    shown.page.evaluate("document.querySelector('#own').remove()")


def test_names_stand_at_their_lines_and_the_second_run_has_its_own(shown):
    choose(shown, "film", "high-rate-no-warmup")
    names = shown.locator("svg g").first.locator("text:not([text-anchor])").all_text_contents()
    assert {f"{name} {level:.2f}" for name, level in levels().items()} <= set(names)
    assert names.index("without warm-up") == names.index("High rate") + 1  # in two lines
    choose(shown, "film")


def test_the_panel_is_no_higher_than_what_it_shows(widget):
    for page in ("notebooks/08_training.html", "notebooks/09_clinic.html"):
        shown = widget(page, "curves", viewport={"width": 360, "height": 800})
        shown.locator("svg").wait_for()
        answered(shown)
        empty = """root => root.getBoundingClientRect().bottom
            - Math.max(...[...root.children].map((part) => part.getBoundingClientRect().bottom))"""
        assert shown.evaluate(empty) < 25  # its padding, and the margin of the last line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_patients_fit_a_narrow_window_and_axe_finds_nothing_serious(widget, scheme):
    shown = widget("notebooks/08_training.html", "curves", viewport={"width": 360, "height": 800}, color_scheme=scheme)
    press(shown, "Hide the names")
    answered(shown)
    assert shown.page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert serious_faults(shown.page, "[data-minigpt=curves]") == []
