"""Chapter 13 on texts that are no novel: its code cells, run as they stand up to section 9, end in advice, never in an error."""

import ast
import sys
import types
from pathlib import Path

import nbformat
import pytest

from minigpt_core import load_corpus

ROOT = Path(__file__).parents[1]
CELLS = nbformat.read(ROOT / "notebooks" / "13_your_own_text.ipynb", as_version=4).cells
SECTION_9 = next(i for i, cell in enumerate(CELLS) if cell.source.startswith("## 9. "))
CODES = [c for c in CELLS[:SECTION_9] if c.cell_type == "code" and "setup" not in c.metadata.get("tags", [])]
CHOICE = next(i for i, cell in enumerate(CODES) if cell.source.startswith("TEXT = "))


def chapter(text: str, seconds: float, cells: list = CODES) -> dict:
    """The names that the chapter's cells leave behind, with these two lines in place of its own."""
    names: dict = {}
    for i, cell in enumerate(cells):
        exec(cell.source, names)
        if i == CHOICE:
            assert (names["TEXT"], names["SECONDS"]) == ("alice", 60)
            names.update(TEXT=text, SECONDS=seconds)
    return names


@pytest.fixture(autouse=True)
def beside_the_book(tmp_path, monkeypatch):
    """A folder like the notebooks' own, whose runs go when the test goes."""
    (tmp_path / "book").symlink_to(ROOT / "book")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")


TALES = load_corpus("tales")
FILES = {
    "line.txt": ("The lamp was lit and the sea was grey.\n" * 1000).encode(),
    "letters.txt": TALES[:2100].encode(),
    "short.txt": TALES[:8000].encode(),
    "numbers.txt": " ".join(str(n * n) for n in range(5000)).encode(),
    "old.txt": load_corpus("tales_zh")[:3000].encode("gb18030"),
    "empty.txt": b"",
}


@pytest.mark.parametrize(
    "text, said",
    [
        ("alice", "script LATIN"),  # as on a machine that is far too slow
        ("tales_zh", "script CJK"),
        ("line.txt", "data leakage"),
        ("letters.txt", "it will be known by heart"),
        ("short.txt", "it will be known by heart"),
        ("numbers.txt", "it holds no letters"),
        ("old.txt", "name its encoding, such as encoding='gb18030'"),
        ("empty.txt", "empty.txt is empty: a model needs"),
    ],
)
def test_every_text_ends_in_a_model_that_is_kept_and_in_advice(text, said, capsys, request):
    if text == "alice":
        request.getfixturevalue("alice")  # or skipped
    if text in FILES:
        Path(text).write_bytes(FILES[text])
    names = chapter(text, seconds=0.5)
    printed = capsys.readouterr().out
    assert said in printed and "  Try: " in printed
    assert ("This page goes on with the tales." in printed) == (text in ("old.txt", "empty.txt"))
    assert names["promised"] is False and names["package"].is_file()
    if text == "line.txt":
        assert "healthy" not in names["report"].verdict


@pytest.mark.parametrize(
    "uploaded, in_colab, said",
    [({}, True, "no file was chosen"), ({"letters.txt": b""}, True, ""), ({}, False, "upload works in Colab")],
)
def test_an_upload_may_be_cancelled(uploaded, in_colab, said, capsys, monkeypatch):
    if in_colab:
        colab = types.SimpleNamespace(files=types.SimpleNamespace(upload=lambda: uploaded))
        monkeypatch.setitem(sys.modules, "google.colab", colab)
    Path("letters.txt").write_text(TALES[:2100], encoding="utf-8")
    names = chapter("upload", 1, CODES[: CHOICE + 2])
    printed = capsys.readouterr().out
    if uploaded:
        assert names["text"] == TALES[:2100]
    else:
        assert said in printed and names["text"] == TALES


def test_what_is_promised_of_alice_is_asserted_where_a_thousand_steps_fit():
    sources = [cell.source for cell in CODES]
    promise = [s[s.index("promised = ") :] for s in sources if "promised = " in s]
    (plan,) = (ast.unparse(ast.parse(source).body[0]) for source in promise)  # this statement alone
    recipe, look = types.SimpleNamespace(steps=1000), types.SimpleNamespace(text="Alice " * 400)
    names = {"TEXT": "alice", "look": look, "recipe": recipe, "times": 7, "size": types.SimpleNamespace(n_layer=2)}
    exec(plan, names)
    assert names["promised"]
    for held, fulfilled in ((2.0, True), (2.2, False)):
        report = types.SimpleNamespace(references={"2-gram": 2.4}, verdict="healthy")
        names |= {"validation": {1000: held}, "report": report}
        (asserted,) = (s for s in sources if s.startswith("if promised") and "2-gram" in s)
        if fulfilled:
            exec(asserted, names)
        else:
            with pytest.raises(AssertionError):
                exec(asserted, names)
