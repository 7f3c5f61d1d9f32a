"""The recorded curves of chapter 08 in a real browser: numbers, lines and texts are those of the records."""

import pytest

from minigpt_core.widgets.records import RUNS, curves, levels


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
        said = [[text for at, text in records[name]["says"] if at <= step][-1] for name in chosen]
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
    page.locator("[data-minigpt=curves]").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('[data-minigpt=curves] [role=status]')?.textContent")
    assert "data/curves.js could not be loaded" in page.locator("[data-minigpt=curves] [role=status]").text_content()
    page.close()
