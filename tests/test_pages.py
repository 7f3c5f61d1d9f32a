"""Every built page in a real browser: no error, no outside request, no page wider than the window, light enough, and with
nothing serious for axe to find; and the search."""

import functools
import gzip

import pytest

from conftest import serious_faults
from minigpt_core.widgets.anatomy import Anatomy
from minigpt_core.widgets.attention import AttentionMaps
from minigpt_core.widgets.curves import Curves
from minigpt_core.widgets.playground import Playground
from minigpt_core.widgets.repetition import Repetition
from minigpt_core.widgets.sampler import Sampler
from minigpt_core.widgets.tokenizer import Tokenization
from minigpt_core.widgets.trainer import Trainer


def pages(html) -> list[str]:
    return sorted(str(p.relative_to(html)) for folder in ("book", "notebooks") for p in (html / folder).glob("*.html"))


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_no_page_complains_or_asks_for_anything_outside(visit, site, html, scheme):
    for name in pages(html):
        seen = visit(f"{site}/{name}" if scheme == "http" else (html / name).as_uri())
        seen.page.wait_for_timeout(100)
        assert seen.problems == [] and seen.outside == [], name
        seen.page.close()


@pytest.mark.parametrize("width", [360, 1200])
def test_no_page_is_wider_than_the_window(browser, site, html, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    for name in pages(html):
        page.goto(f"{site}/{name}")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name
    page.close()


def test_code_of_79_characters_is_shown_whole_in_a_window_of_1280_pixels(browser, site):
    """The limit of tests/test_notebooks.py, in DejaVu Sans Mono, as wide as any of the fonts that readers have."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{site}/notebooks/10_sampling.html")
    page.add_style_tag(content=".cell_input pre { font-family: 'DejaVu Sans Mono', monospace !important; }")
    cut = page.evaluate("""() => {
        const code = [...document.querySelectorAll("div.cell > div.cell_input pre")].filter((pre) => pre.clientWidth > 0);
        code[0].textContent = "x".repeat(79);
        return code.filter((pre) => pre.scrollWidth > pre.clientWidth).map((pre) => pre.textContent);
    }""")
    assert cut == []
    page.close()


def test_a_figure_keeps_its_proportions_and_is_shown_at_half_its_pixels(browser, site):
    for width in (360, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(f"{site}/notebooks/10_sampling.html")
        figures = page.locator("div.cell_output img[src$='.png']")
        sizes = figures.evaluate_all("all => all.map((i) => [i.width, i.height, i.naturalWidth, i.naturalHeight])")
        assert sizes
        for shown, height, pixels, rows in sizes:
            assert shown <= pixels / 2 + 1 and abs(shown / height - pixels / rows) < 0.02
        page.close()


TEXT, ALIVE = 350_000, 1_200_000  # bytes that a page may take, compressed: read; and with its widgets awake
FRONT, FRONT_PLAIN = 250_000, 1_000_000  # the front page before its model is asked to write: compressed; and as it is


@pytest.fixture(scope="module")
def compressed(html):
    """A function: the size of a file of the book as a compressing server sends it."""
    return functools.cache(lambda path: len(gzip.compress((html / path).read_bytes(), 6)))


def scroll_through(page) -> None:
    """As a reader does who skips all predictions, so that all widgets wake up."""
    skips = page.locator("[data-minigpt=predict]").get_by_role("button", name="Skip")
    for _ in range(skips.count()):
        skips.first.click()  # which takes it away
    for y in range(0, page.evaluate("document.scrollingElement.scrollHeight"), 500):
        page.evaluate(f"window.scrollTo({{top: {y}, behavior: 'instant'}})")
        page.wait_for_timeout(20)
    for widget in page.locator("[data-minigpt]").all():
        widget.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('[data-minigpt]')].every(e => e.matches('.mg-alive'))")
    page.wait_for_load_state("networkidle")


# Of code with many tokens of a kind one is enough to measure its contrast, which takes three quarters of axe's time.
MARK_ONE_OF_EACH = """() => {
    const seen = new Set();
    for (const span of document.querySelectorAll("pre span")) {
        const { color, backgroundColor, fontWeight } = getComputedStyle(span);
        const place = getComputedStyle(span.closest("pre")).backgroundColor;
        const kind = [span.className, color, backgroundColor, fontWeight, place].join();
        if (!seen.has(kind)) span.dataset.first = "";
        seen.add(kind);
    }
}"""


@pytest.fixture(scope="module")
def examined(browser, site, html, compressed):
    """Of each page with all its panels awake: the limit of its weight and its weight, in bytes, and what axe finds serious, in light
    and in dark."""
    found = {}
    for name in pages(html):
        page, asked = browser.new_page(color_scheme="light"), set()
        page.on("request", lambda r, asked=asked: asked.add(r.url.removeprefix(f"{site}/").split("?")[0]))
        page.goto(f"{site}/{name}")
        limit = ALIVE if page.locator("[data-minigpt]").count() else TEXT
        scroll_through(page)
        page.evaluate(MARK_ONE_OF_EACH)
        page.add_style_tag(content="* { transition: none !important; }")
        faults = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=scheme)
            faults += serious_faults(page, rules={"color-contrast": {"enabled": False}})
            faults += serious_faults(page, {"exclude": [["pre span:not([data-first])"]]}, runOnly=["color-contrast"])
        if "index" in name:  # the first thing a visitor does
            page.get_by_role("button", name="Write", exact=True).first.click()
            page.wait_for_selector(".mg-token")
        weight = sum(compressed(path) for path in asked if not path.startswith(("blob:", "data:")))
        found[name] = (limit, weight, faults)
        page.close()
    return found


def test_every_page_is_light_enough(examined):
    assert {name: weight for name, (limit, weight, _) in examined.items() if weight > limit} == {}


def test_axe_finds_nothing_serious(examined):
    assert {name: faults for name, (_, _, faults) in examined.items() if faults} == {}


@pytest.mark.parametrize("first", ["Write", "Another", "One token", "Control+Enter"])
def test_the_front_page_loads_no_model_before_it_is_asked_to_write(browser, site, html, compressed, first):
    page, asked = browser.new_page(), set()
    page.on("request", lambda r: asked.add(r.url.removeprefix(f"{site}/").split("?")[0]))
    page.goto(f"{site}/book/index.html", wait_until="networkidle")
    scroll_through(page)
    page.get_by_label("prompt").fill("Wren said")
    for toggle in ("Knobs", "Knobs"):
        page.get_by_text(toggle, exact=True).click()
    assert not [path for path in asked if path.endswith("engine.js") or "/data/" in path]
    files = [path for path in asked if not path.startswith(("blob:", "data:"))]
    assert sum(map(compressed, files)) <= FRONT
    assert sum((html / path).stat().st_size for path in files) <= FRONT_PLAIN
    if first == "Control+Enter":
        page.get_by_label("prompt").press(first)
    else:
        page.get_by_role("button", name=first, exact=True).click()
    page.wait_for_selector(".mg-token")
    assert "_static/minigpt/data/tales-bpe.js" in asked
    page.close()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_search_finds_a_word(visit, site, html, scheme):
    seen = visit(f"{site}/book/index.html" if scheme == "http" else (html / "book/index.html").as_uri())
    seen.page.keyboard.press("Control+k")
    seen.page.keyboard.type("induction")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("ul.search li")
    assert "11 The repetition lab" in " ".join(seen.page.locator("ul.search li").all_text_contents())
    assert seen.problems == [] and seen.outside == []
    seen.page.close()


PANELS = {
    "playground": Playground(prompt="a ").state,
    "sampler": Sampler(prompt="a ").state,
    "attention": AttentionMaps(text="a ").state,
    "attention film": AttentionMaps(text="a ").state | {"model": "film"},
    "anatomy": Anatomy(text="a ").state,
    "curves": Curves().state,
    "repetition": Repetition(prompt="a ").state,
    "tokenizer": Tokenization("a ").state,
    "trainer": Trainer(compare=True).state,
    "trainer small": Trainer(small=True).state,
}
PRESS_ALL = """async ([name, state, comes]) => {
    const root = document.body.appendChild(document.createElement("div"));
    const never = () => new Promise((_, reject) => comes || reject(new Error("the file is gone")));
    minigpt.widgets[name](root, state, { load: never, ask: never, read: never, run: never, add: never }, () => {});
    for (const kind of ["button", "input", "textarea", "select"])
        for (const part of root.querySelectorAll(kind)) {
            if (part.closest("[hidden]")) continue;
            if (part.type !== "file") for (const _ of "12") part.click();  // its dialog opens for a hand only
            for (const event of ["input", "change", "keydown"]) part.dispatchEvent(new Event(event, { bubbles: true }));
        }
    root.style.width = "400px";
    await new Promise((resolve) => setTimeout(resolve, 600));
    const { textContent } = root;
    root.remove();
    return textContent;
}"""


@pytest.mark.parametrize("comes", [True, False])
@pytest.mark.parametrize("panel", PANELS)
def test_what_is_pressed_before_anything_has_come_does_no_harm_and_a_reason_stays(visit, site, panel, comes):
    seen = visit(f"{site}/book/index.html")
    seen.page.add_script_tag(url=f"{site}/_static/minigpt/{panel.split()[0]}.js")
    said = seen.page.evaluate(PRESS_ALL, [panel.split()[0], PANELS[panel], comes])
    assert seen.problems == []
    reason = (
        "Stopped: press Train" if panel.startswith("trainer") else "The file is gone."
    )  # the second press stops the first
    assert (reason in said) == (not comes)
    seen.page.close()
