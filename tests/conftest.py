"""The book, built once for all tests that read it, and a browser whose network ends at this machine."""

import base64
import contextlib
import functools
import http.server
import io
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minigpt_core.cli import main
from minigpt_core.widgets import host_source, source, widget_source

ROOT = Path(__file__).parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def html(tmp_path_factory) -> Path:
    """The folder of the built book."""
    out = tmp_path_factory.mktemp("book")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(ROOT), "--path-output", str(out)]
    done = subprocess.run([*command, "-n", "-W", "--keep-going"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out / "_build" / "html"


def called(*arguments: str, cwd=".") -> subprocess.CompletedProcess:
    """The command line without a process of its own, which is ten times as fast."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def write_scripts(folder: Path, *widgets: str) -> None:
    """What a page with these widgets loads, as the book publishes it."""
    files = {"host.js": host_source(), "widgets.css": source("widgets.css")}
    for name, text in (files | {f"{name}.js": widget_source(name) for name in widgets}).items():
        (folder / name).write_text(text, encoding="utf-8")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site(html):
    """The address of the book, served on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; where it or Playwright is missing, the tests that ask for it are skipped and say so."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pages are NOT tested")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: pages are NOT tested")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page, and everything that it complained of or asked for elsewhere."""

    def __init__(self, browser, address: str, **options):
        self.page = browser.new_page(**options)
        self.problems, self.outside = [], []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda r: None if self._own(r.url) else self.outside.append(r.url))
        self.page.goto(address)

    @staticmethod
    def _own(url: str) -> bool:
        return url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:"))

    def awake(self, name: str):
        """The first widget of that name, once it is alive."""
        widget = self.page.locator(f"[data-minigpt={name}]").first
        widget.scroll_into_view_if_needed()
        self.page.wait_for_selector(f"[data-minigpt={name}].mg-alive")
        return widget


def answered(widget) -> None:
    """Wait until the widget has answered all that it was asked, however slow the machine is."""
    widget.page.wait_for_function(
        "root => !root.classList.contains('mg-busy')", arg=widget.element_handle(), timeout=120_000
    )


def press(widget, name: str) -> None:
    widget.get_by_role("button", name=name, exact=True).click()


def drop(target, name: str, raw: bytes, zeros: int = 0) -> None:
    """Let a file of these bytes and some zeros go over this part of a panel, after it was held there."""
    make = """([name, data, zeros]) => {
        const files = new DataTransfer(), bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        files.items.add(new File([bytes, new Uint8Array(zeros)], name));
        return files;
    }"""
    files = target.page.evaluate_handle(make, [name, base64.b64encode(raw).decode(), zeros])
    for event in ("dragenter", "dragover", "drop"):
        target.dispatch_event(event, {"dataTransfer": files})
        assert target.page.locator(".mg-drop").count() == (event == "dragover")


def number(text: str) -> float:
    """What a panel writes, with a true minus: "−1.5" -> -1.5, "−∞" -> -inf, "12%" -> 12."""
    return float(text.replace("−", "-").replace("∞", "inf").rstrip("%"))


def serious_faults(page, context: str | dict | None = None, **options) -> list[str]:
    """What axe finds serious or critical on the page, or in the part of it that `context` names, a selector or what axe takes."""
    from axe_playwright_python.sync_playwright import Axe  # where there is a browser, this is installed too

    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **options,
    }  # the theme imports a style that is not there
    found = Axe().run(page, context=context, options=options).response["violations"]
    return [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")]


@pytest.fixture(scope="session")
def visit(browser):
    """A function that opens a page: the browser is already given."""
    return functools.partial(Visit, browser)


@pytest.fixture(scope="session")
def widget(visit, site, html):
    """A function: the widget of that name on that page, awake, and its page; over http, or from a folder."""
    opened = []

    def widget(page: str, name: str, scheme: str = "http", **options):
        opened.append(visit(f"{site}/{page}" if scheme == "http" else (html / page).as_uri(), **options))
        return opened[-1].awake(name)

    yield widget
    for each in opened:
        assert each.outside == [] and each.problems == []
        each.page.close()
