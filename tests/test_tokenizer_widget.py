"""The tokenizer of chapter 01 in a real browser: its ids, bytes and merges are those of Python."""

import gzip
import json
import re
from itertools import pairwise

import pytest
from chapter_01 import learning, pairs_of

from conftest import answered, press, serious_faults
from minigpt_core import BPETokenizer, CharTokenizer, load_corpus
from minigpt_core.widgets.export import as_script, describe
from minigpt_core.widgets.records import record_file, trained
from minigpt_core.widgets.tokenizer import Tokenization

TEXTS = {
    "English": '"Where is the Spoon?" asked Wren.\nThe lantern, the lantern\n',
    "Chinese": "“这是谁的椅子？”露丝船长问。\n船长没有说话，一个老师",
    "emoji": "Hello 😀😀 e\u0301 👩‍🚀",
    "code": "if x[0] > 10:\n    print('ﬁne')\t# 好\n",
    "marks": "a<|endoftext|>the the<|endof ▁▁ the",
}
TOKENIZERS = {corpus: trained(corpus) for corpus in ("tales", "tales_zh")}


@pytest.fixture(scope="module", params=["http", "file"])
def cuts(widget, request):
    return widget("notebooks/01_tokenization.html", "tokenizer", request.param)


def write(cuts, text: str, corpus: str = "tales") -> None:
    cuts.get_by_label("tokenizers of").select_option(corpus)
    answered(cuts)
    cuts.get_by_label("text", exact=True).fill(text)
    answered(cuts)


def rows(cuts) -> dict[str, list[tuple[str, int]]]:
    """The pieces and ids of each row, by what stands at its head."""
    return {
        row.locator("p").text_content(): list(
            zip(
                row.locator("code").all_text_contents(),
                map(int, row.locator("sub").all_text_contents()),
                strict=True,
            )
        )
        for row in cuts.locator(".mg-cut").all()
    }


def status(cuts) -> str:
    return cuts.locator(".mg-stay").text_content()


def spans(tokenizer: BPETokenizer, text: str) -> list[tuple[int, int]]:
    """From which to before which byte of the text each token reaches; only where every token stands for itself."""
    ends = [0]
    for i in tokenizer.encode(text):
        ends.append(ends[-1] + len(tokenizer.token_bytes[i]))
    assert ends[-1] == len(text.encode("utf-8"))
    return list(pairwise(ends))


def merges(tokenizer: BPETokenizer, text: str) -> list[tuple[list[str], str, str, int]]:
    """Of each merge that encoding makes: the pieces after it, its two halves, and its number."""
    learned = [p for p in describe(tokenizer)["pieces"][2:] if isinstance(p, str) and len(p) > 1]
    pieces, found = list(text.replace(" ", "▁")), []
    while True:
        pairs = [(learned.index(a + b), i) for i, (a, b) in enumerate(pairwise(pieces)) if a + b in learned]
        if not pairs:
            return found
        number, i = min(pairs)
        left, right = pieces[i : i + 2]
        pieces[i : i + 2] = [left + right]
        found.append(([piece.replace("\n", "↵") for piece in pieces], left, right, number + 1))


@pytest.mark.parametrize(
    "corpus, settings",
    [("tales", {"vocab_size": V}) for V in (317, 350, 500, 777, 1000, 1999, 2000)]
    + [("tales", {"vocab_size": V, "byte_fallback": False}) for V in (61, 200, 350)]
    + [("tales_zh", {"vocab_size": V, "character_coverage": 0.98}) for V in (963, 964, 1200, 1500, 2000)],
)
def test_one_list_of_merges_gives_every_size(corpus, settings):
    kept = json.loads(record_file("vocabularies"))[corpus]
    first = ["<|endoftext|>", None, "\n", *(range(256) if settings.get("byte_fallback", True) else ())]
    count = settings["vocab_size"] - len(first) - len(kept["letters"])
    tokenizer = BPETokenizer.train(load_corpus(corpus), **settings)
    assert describe(tokenizer)["pieces"] == [*first, *kept["merges"][:count], *kept["letters"]]


def test_its_record_is_small():
    assert len(gzip.compress(as_script("vocabularies", record_file("vocabularies")).encode())) < 30_000


@pytest.mark.parametrize("corpus", ["tales", "tales_zh"])
@pytest.mark.parametrize("kind", TEXTS)
def test_its_pieces_and_ids_are_pythons_at_every_size(cuts, kind, corpus):
    text = TEXTS[kind]
    write(cuts, text, corpus)
    expected = {}
    for label, tokenizer in TOKENIZERS[corpus].items():
        try:
            ids = tokenizer.encode(text)
        except ValueError as error:
            stranger = re.match("character '(.)'", str(error)).group(1).replace(" ", "▁")
            expected[f"{label}: no ids. “{stranger}” is not among its {tokenizer.vocab_size - 1:,} characters."] = []
        else:
            head = f"{label}: {len(ids)} tokens, {len(text) / len(ids):.2f} characters a token"
            expected[head] = [(tokenizer.tokens[i], i) for i in ids]
    assert rows(cuts) == expected
    written_by_characters = (corpus, kind) in {("tales", "English"), ("tales_zh", "Chinese")}
    assert ([] in expected.values()) != written_by_characters


def test_the_arrow_keys_walk_a_row_and_the_other_rows_show_the_same_text(cuts):
    text = "The lantern was old."
    write(cuts, text)
    walked, other = (TOKENIZERS["tales"][f"BPE, V = {V}"] for V in ("2,000", "350"))
    by_label = {row.locator("b").text_content(): row for row in cuts.locator(".mg-cut").all()}
    assert [row.locator("[tabindex='0']").count() for row in by_label.values()] == [1] * 6
    row = by_label["BPE, V = 2,000"]
    row.locator(".mg-piece").first.focus()
    for place, i in enumerate(walked.encode(text)):
        hexed = walked.token_bytes[i].hex(" ").upper()
        word = "byte" if len(hexed) == 2 else "bytes"
        assert status(cuts) == f"BPE, V = 2,000: “{walked.tokens[i]}”, id {i}, {word} {hexed}."
        assert row.locator("[aria-selected=true]").text_content() == f"{walked.tokens[i]}{i}"
        start, end = spans(walked, text)[place]
        lit = [
            each.startswith("mg-piece mg-lit")
            for each in by_label["BPE, V = 350"].locator(".mg-piece").evaluate_all("all => all.map((e) => e.className)")
        ]
        assert lit == [a < end and start < b for a, b in spans(other, text)] and any(lit)
        assert cuts.locator("[aria-selected=true]").count() == 1
        cuts.page.keyboard.press("ArrowRight")
    cuts.page.keyboard.press("Home")
    assert "“The”" in status(cuts)
    cuts.page.keyboard.press("End")
    assert "“.”" in status(cuts)
    cuts.page.keyboard.press("Tab")
    assert cuts.page.evaluate("document.activeElement.id").endswith("-merging")


def test_the_bytes_of_a_piece_show_on_hover(cuts):
    text = "the 好\n"
    write(cuts, text)
    tokenizer = TOKENIZERS["tales"]["BPE, V = 500"]
    pieces = cuts.locator(".mg-cut").nth(3).locator(".mg-piece")
    for place, i in enumerate(tokenizer.encode(text)):
        pieces.nth(place).hover()
        hexed = tokenizer.token_bytes[i].hex(" ").upper()
        rest = " of “好”" if tokenizer.tokens[i].startswith("<0x") else ""
        word = "byte" if len(hexed) == 2 else "bytes"
        assert status(cuts) == f"BPE, V = 500: “{tokenizer.tokens[i]}”, id {i}, {word} {hexed}{rest}."
        if rest:  # one byte of the character, no more
            lit = cuts.locator(".mg-cut").nth(2).locator(".mg-lit code").all_text_contents()
            assert lit == [tokenizer.tokens[i]]
    none = cuts.locator(".mg-cut").nth(1)
    none.get_by_text("<unk>").hover()
    assert status(cuts) == (
        "BPE, V = 200, no bytes: “<unk>”, id 1, the unknown piece. What stood here is lost: “好”, bytes E5 A5 BD."
    )
    lit = pieces.evaluate_all("all => all.filter((e) => e.classList.contains('mg-lit')).map((e) => e.textContent)")
    assert [name[:6] for name in lit] == ["<0xE5>", "<0xA5>", "<0xBD>"]


@pytest.mark.parametrize(
    "corpus, label, text",
    [
        ("tales", "BPE, V = 2,000", "The lantern was\nthe other lantern."),
        ("tales", "BPE, V = 350", "hehehe the 😀the"),
        ("tales", "BPE, V = 200, no bytes", "Where is the 好好 Spoon"),
        ("tales_zh", "BPE, V = 2,000", "“这是谁的椅子？”露丝船长问。"),
    ],
)
def test_it_merges_in_the_order_of_the_encoder(cuts, corpus, label, text):
    write(cuts, text, corpus)
    cuts.get_by_label("watch it merge").select_option(label)
    cuts.get_by_label("merges made").fill("0")
    tokenizer = TOKENIZERS[corpus][label]
    steps = merges(tokenizer, text)
    pieces, said = cuts.locator(".mg-merges .mg-piece"), cuts.locator(".mg-merges .mg-status")
    assert "".join(pieces.all_text_contents()) == text.replace(" ", "▁").replace("\n", "↵")
    assert said.text_content() == f"Step 0 of {len(steps)}: each character by itself."
    for n, (after, left, right, number) in enumerate(steps, start=1):
        cuts.get_by_role("button", name="Forward").click()
        assert pieces.all_text_contents() == after
        assert cuts.locator(".mg-merges .mg-lit").text_content() == left + right
        sentence = f"Step {n} of {len(steps)}: joins “{left}” and “{right}”, the merge learned as number {number}."
        assert said.text_content().startswith(sentence)
        assert ("Nothing is left to join" in said.text_content()) == (n == len(steps))
    known = [piece for piece in after if piece in tokenizer.tokens or piece == "↵"]
    assert known == [t for i in tokenizer.encode(text) if not re.match("<", t := tokenizer.tokens[i])]
    cuts.get_by_label("merges made").focus()
    cuts.page.keyboard.press("ArrowLeft")
    assert pieces.all_text_contents() == steps[-2][0]
    cuts.get_by_role("button", name="Back").click()
    assert pieces.all_text_contents() == steps[-3][0]


def test_bad_input_ends_in_a_sentence_and_good_input_after_it_is_cut(cuts):
    write(cuts, "")
    assert status(cuts) == "Type a text: its pieces appear here."
    assert not cuts.locator(".mg-cut").first.is_visible() and not cuts.get_by_label("merges made").is_visible()
    cuts.get_by_label("text", exact=True).evaluate(
        "area => { area.value = 'a\\ud800b'; area.dispatchEvent(new Event('input')); }"
    )
    answered(cuts)
    assert status(cuts) == "The text holds half of a character (a lone surrogate): remove it."
    assert not cuts.locator(".mg-cut").first.is_visible()
    text = ("The sea, the sea. " * 600)[:10_000]
    write(cuts, text)
    note = cuts.get_by_text("The counts are of the whole text; its first 400 characters are drawn and merged.")
    assert note.is_visible()
    ids = TOKENIZERS["tales"]["BPE, V = 500"].encode(text)
    label, drawn = list(rows(cuts).items())[3]
    assert label.startswith(f"BPE, V = 500: {len(ids):,} tokens")
    assert [i for _, i in drawn] == ids[: len(drawn)] and 100 < len(drawn) < 400
    write(cuts, "the")
    assert not note.is_visible()
    assert list(rows(cuts))[-1] == "BPE, V = 2,000: 2 tokens, 1.50 characters a token"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_window_and_axe_finds_nothing_serious(widget, scheme):
    cuts = widget(
        "notebooks/01_tokenization.html", "tokenizer", viewport={"width": 360, "height": 800}, color_scheme=scheme
    )
    write(cuts, "好" * 50 + " the lantern" * 20)
    assert cuts.page.evaluate("document.scrollingElement.scrollWidth") <= 360
    press(cuts, "Learn from this text")
    for _ in range(12):
        press(cuts, "One merge")
    assert said(cuts).startswith("Merge 12:")
    assert cuts.page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert serious_faults(cuts.page, "[data-minigpt=tokenizer]") == []


@pytest.fixture
def learner(cuts):
    """The same panel, where it learns; afterwards it cuts again."""
    press(cuts, "Learn from this text")
    yield cuts
    press(cuts, "Back to the tokenizers")
    answered(cuts)
    assert not cuts.locator(".mg-learner").is_visible()


def said(learner) -> str:
    return learner.locator(".mg-learner [role=status]").text_content()


def table(learner) -> list[tuple[str, str, int, str]]:
    """Each row: the two pieces, their count, the mark."""
    return [
        (
            *row.locator("code").all_text_contents(),
            int(row.locator("td").nth(1).text_content()),
            row.locator("td").last.text_content(),
        )
        for row in learner.locator(".mg-learner tbody tr").all()
    ]


@pytest.mark.parametrize(
    "text", ["the then the other", "aaaa aaa", "船长问船长，船长没有说话。露丝船长说话", "😀！😀！\n！😀！😀"]
)
def test_it_learns_as_chapter_01_does_and_shows_each_merge_in_table_and_text(learner, text):
    learner.get_by_label("text", exact=True).fill(text)
    answered(learner)
    code = learning()
    words, pieces, merges = code["words_of"](text), list(text.replace(" ", "▁")), []
    letters = len(set(pieces))
    while True:
        first = pairs_of(words)
        best, times = first[0]
        assert table(learner) == [
            (*pair, n, "✓ next" if i == 0 and n > 1 else "") for i, (pair, n) in enumerate(first[:8])
        ]
        shown = learner.locator(".mg-learner > .mg-pieces").first.locator(".mg-piece")
        assert shown.all_text_contents() == [piece.replace("\n", "↵") for piece in pieces]
        now = f"Tokens: {len(text)} → {len(pieces)}. Vocabulary: {letters} characters + {len(merges)} merge"
        start = f"{len(text)} tokens, {letters} different characters."
        assert learner.get_by_text(now if merges else start).is_visible()
        assert learner.get_by_text("Learned merges, each with its number:").is_visible() == bool(merges)
        learned = learner.locator(".mg-learner > .mg-pieces").last
        assert learned.locator("code").all_text_contents() == merges
        assert learned.locator("sub").all_text_contents() == [str(i + 1) for i in range(len(merges))]
        lit = shown.evaluate_all("all => all.filter((e) => e.matches('.mg-left, .mg-right')).map((e) => e.textContent)")
        if times < 2:
            break
        assert lit and list(zip(lit[::2], lit[1::2], strict=True)) == [best] * (len(lit) // 2)
        overlap = f" They overlap: {len(lit) // 2} can be joined." if len(lit) // 2 < times else ""
        assert said(learner).endswith(
            f"Next: “{best[0]}” and “{best[1]}”, which occur side by side {times} times.{overlap}"
        )
        piece, _, words = next(code["learn_bpe"](words, 1))
        merges.append(piece)
        parts = re.findall(r"▁?[^▁\n]+|▁|\n", text.replace(" ", "▁"))
        by_word = {"".join(word): word for word in words}
        pieces = [piece for part in parts for piece in by_word.get(part, (part,))]
        press(learner, "One merge")
        assert said(learner).startswith(f"Merge {len(merges)}: “{best[0]}” and “{best[1]}” are now “{piece}”.")
        last = best
    assert merges and not lit
    assert said(learner).endswith("No pair occurs twice: there is nothing left to learn.")
    end = said(learner)
    press(learner, "One merge")
    assert said(learner) == end
    press(learner, "Back")
    assert said(learner).startswith("Each character is a piece." if len(merges) == 1 else f"Merge {len(merges) - 1}:")
    assert table(learner)[0][:2] == last
    press(learner, "Start again")
    assert said(learner).startswith("Each character is a piece. Next:")


def test_play_goes_on_by_itself_pauses_and_stops_at_the_end(learner):
    learner.get_by_label("text", exact=True).fill("the then the other")
    answered(learner)
    start, height = said(learner), learner.bounding_box()["height"]
    learner.page.wait_for_timeout(1300)
    assert said(learner) == start  # nothing moves unasked
    press(learner, "Play")
    learner.page.wait_for_function("root => root.textContent.includes('Merge 2:')", arg=learner.element_handle())
    press(learner, "Pause")
    paused = said(learner)
    learner.page.wait_for_timeout(1300)
    assert said(learner) == paused and learner.bounding_box()["height"] == height
    press(learner, "Play")
    learner.page.wait_for_function("root => root.textContent.includes('nothing left')", arg=learner.element_handle())
    learner.get_by_role("button", name="Play", exact=True).wait_for()
    press(learner, "Start again")
    press(learner, "Play")
    learner.get_by_label("text", exact=True).fill("abab")  # another text ends it
    answered(learner)
    learner.page.wait_for_timeout(1300)
    assert said(learner).startswith("Each character is a piece. Next: “a” and “b”")


def test_where_it_learns_bad_input_ends_in_a_sentence_and_a_long_text_is_counted_whole(learner):
    learner.get_by_label("text", exact=True).fill("")
    answered(learner)
    assert status(learner) == "Type a text: its pieces appear here." and not learner.locator(".mg-learner").is_visible()
    learner.get_by_label("text", exact=True).evaluate(
        "area => { area.value = 'a\\ud800b'; area.dispatchEvent(new Event('input')); }"
    )
    answered(learner)
    assert status(learner) == "The text holds half of a character (a lone surrogate): remove it."
    learner.get_by_label("text", exact=True).fill("ab " * 3000)
    answered(learner)
    assert table(learner)[0] == ("a", "b", 3000, "✓ next")
    assert learner.get_by_text("The counts are of the whole text; its first 200 characters are drawn.").is_visible()
    assert learner.locator(".mg-learner > .mg-pieces").first.locator(".mg-piece").count() < 210


def test_it_can_begin_with_learning_and_its_still_face_has_the_first_table(cuts):
    shown = Tokenization("the then the other", learn=True)
    told = cuts.page.evaluate(
        """async (state) => {
            const root = document.body.appendChild(document.createElement("div")), told = [];
            root.id = "own";
            minigpt.widgets.tokenizer(root, state, { read: () => { throw new Error("not needed"); } }, (change) => told.push(change.state));
            [...root.querySelectorAll("button")].find((button) => button.textContent === "One merge").click();
            await new Promise((resolve) => setTimeout(resolve, 50));
            return told;
        }""",
        shown.state,
    )
    assert [state["learned"] for state in told[-2:]] == [0, 1] and told[-1]["learn"]
    press(cuts.page.locator("#own"), "Back")
    rows = re.findall(
        r"<code>(.)</code></span><span class=\"mg-piece\"><code>(.)</code>.*?<td>(\d+)</td>", shown.still()
    )
    assert [(left, right, int(n)) for left, right, n in rows] == [row[:3] for row in table(cuts.page.locator("#own"))]
    cuts.page.evaluate("document.querySelector('#own').remove()")
    assert "<tbody></tbody>" in Tokenization("", learn=True).still()


def own() -> dict:
    return {
        "letters": CharTokenizer.train("ab ab\n"),
        "pairs": BPETokenizer.train("abab abab\n" * 20, vocab_size=265, byte_fallback=True),
    }


def test_with_tokenizers_of_ones_own_it_shows_these_and_tells_the_kernel_what_the_reader_does(cuts):
    mine = own()
    shown = Tokenization("abab ab", mine, merging="pairs", step=1)
    told = cuts.page.evaluate(
        """async ([state, record]) => {
            const root = document.body.appendChild(document.createElement("div")), told = [];
            root.id = "own";
            minigpt.widgets.tokenizer(root, state, { read: async () => record }, (change) => told.push(change.state));
            await new Promise((resolve) => setTimeout(resolve, 50));
            root.querySelector("input[type=range]").value = 2;
            root.querySelector("input[type=range]").dispatchEvent(new Event("input"));
            root.querySelector("textarea").value = "ab";
            root.querySelector("textarea").dispatchEvent(new Event("input"));
            await new Promise((resolve) => setTimeout(resolve, 300));
            return told;
        }""",
        [shown.state, json.loads(shown.file("vocabularies"))],
    )
    expected = {"corpora": {"yours": "your text"}, "corpus": "yours", "merging": "pairs", "learn": False, "learned": 0}
    assert told[0] == expected | {"text": "abab ab", "step": 1}
    assert told[1] == expected | {"text": "abab ab", "step": 2}
    assert told[-1] == expected | {"text": "ab", "step": len(merges(mine["pairs"], "ab"))}
    found = rows(cuts.page.locator("#own"))
    assert [[i for _, i in row] for row in found.values()] == [t.encode("ab") for t in mine.values()]
    cuts.page.evaluate("document.querySelector('#own').remove()")


@pytest.mark.parametrize("corpus", ["tales", "tales_zh"])
def test_its_still_face_shows_what_the_tokenizers_say(corpus):
    text = TEXTS["English"] if corpus == "tales" else TEXTS["Chinese"]
    still = Tokenization(text, corpus=corpus).still()
    assert still.startswith('<div class="mg" data-minigpt="tokenizer"')
    for part, (label, tokenizer) in zip(
        still.split('<div class="mg-cut">')[1:], TOKENIZERS[corpus].items(), strict=True
    ):
        assert f"<b>{label}</b>: {len(tokenizer.encode(text))} tokens" in part
        assert [int(i) for i in re.findall(r"<sub>(\d+)</sub>", part)] == tokenizer.encode(text)


def test_in_python_too_bad_input_ends_in_a_sentence():
    assert "0 tokens</p>" in Tokenization("").still()
    half = Tokenization("a\ud800b")
    assert half.state["text"] == "a\ufffdb" and "&lt;0xEF&gt;" in half.still()
    assert "Character &#x27;\ufffd&#x27; (U+FFFD) at position 1 is not among the 59 characters" in half.still()
    assert Tokenization("e" * 10_000).still().count("<sub>") == 400 * 6
    with pytest.raises(ValueError, match="there is no corpus 'alice' to show: choose one of tales, tales_zh"):
        Tokenization("a", corpus="alice")


def test_tokenizers_of_ones_own_stay_with_the_kernel_and_travel_on_request():
    mine = Tokenization("abab", own())
    assert repr(mine) == "Tokenization(yours)" and repr(Tokenization("")) == "Tokenization(tales, tales_zh)"
    assert "data-minigpt" not in mine.still() and "<b>pairs</b>" in mine.still()
    sent = []
    mine.send = lambda message, buffers: sent.append((message, json.loads(buffers[0] or "0")))
    mine._send_file(mine, {"want": "vocabularies"}, [])
    assert sent[0][1]["yours"]["rows"][0] == {"label": "letters", "kind": "char", "characters": ["\n", " ", "a", "b"]}
    strange = Tokenization("abab", {"strange": object()})
    strange.send = mine.send
    strange._send_file(strange, {"want": "vocabularies"}, [])
    assert sent[1][0]["refused"] == "the page knows CharTokenizer and BPETokenizer, not object"


def test_one_is_no_plural(cuts):
    write(cuts, "e")
    cuts.get_by_label("watch it merge").select_option("BPE, V = 2,000")
    assert cuts.locator(".mg-merges .mg-status").text_content().endswith("Nothing is left to join: 1 piece.")
    write(cuts, "\u00e9")
    assert (
        cuts.locator(".mg-merges .mg-status")
        .text_content()
        .endswith("1 piece. What has no piece is written in bytes: 2 tokens.")
    )
    cuts.get_by_label("watch it merge").select_option("BPE, V = 200, no bytes")
    assert cuts.locator(".mg-merges .mg-status").text_content().endswith("Nothing is left to join: 1 piece.")
