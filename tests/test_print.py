"""The pages on paper: what a browser prints of them."""

import pytest


@pytest.mark.parametrize("name", ["book/index.html", "notebooks/06_attention.html"])
def test_paper_is_light_begins_with_the_title_and_cuts_no_line(visit, html, name):
    paper = {"width": 673, "height": 1001}  # A4 without its margins
    seen = visit((html / name).as_uri(), color_scheme="dark", viewport=paper)
    page = seen.page
    page.emulate_media(media="print", color_scheme="dark")
    titles = page.locator("h1:visible")
    assert titles.count() == 1 and titles.bounding_box()["y"] < 100
    assert page.locator(".bd-article p:visible").first.bounding_box()["y"] < 200
    lines = page.locator(".bd-article pre:visible").all()
    assert lines
    for code in lines:
        assert code.evaluate("element => element.scrollWidth <= element.clientWidth")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert seen.problems == []
    page.close()


@pytest.mark.parametrize("name", ["book/index.html", "notebooks/06_attention.html"])
def test_a_panel_that_no_script_brings_to_life_is_a_picture_on_paper(browser, html, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((html / name).as_uri())
    page.emulate_media(media="print")
    panels = page.locator("[data-minigpt]").all()
    assert panels
    for panel in panels:
        assert panel.locator(":is(svg, img, table, .mg-text, .mg-question, .mg-questions):visible").count() > 0
    context.close()
