"""Every built page in a real browser: no error, no outside request, no page wider than the window."""

import pytest


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
