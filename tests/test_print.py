"""The pages on paper: what a browser prints of them."""

import pytest


@pytest.mark.parametrize("name", ["book/index.html", "notebooks/06_attention.html"])
def test_paper_begins_with_the_title_and_the_text_is_light_and_has_no_empty_panel(visit, html, name):
    paper = {"width": 673, "height": 1001}  # A4 without its margins
    seen = visit((html / name).as_uri(), color_scheme="dark", viewport=paper)
    page = seen.page
    page.emulate_media(media="print", color_scheme="dark")
    titles = page.locator("h1:visible")
    assert titles.count() == 1 and titles.bounding_box()["y"] < 100
    assert page.locator(".bd-article p:visible").first.bounding_box()["y"] < 200
    for panel in page.locator("[data-minigpt]:not(.mg-alive):visible").all():
        assert panel.locator("svg, img, table").count() > 0
    for code in page.locator(".bd-article pre:visible").all():
        assert code.evaluate("element => element.scrollWidth <= element.clientWidth")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert seen.problems == []
    page.close()
