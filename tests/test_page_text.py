"""What the page does to a text before it trains on it (random numbers, decoding, a look, splitting, batches, counting), run
under Node, against PyTorch and the package."""

import base64
import random
import re
import shutil
import string

import pytest
import torch
from test_engine import engine

from minigpt_core import CharTokenizer, get_batch, load_corpus, split_text
from minigpt_core.corpus import _decode, _openings
from minigpt_core.data import MANY, _documents, step_seed
from minigpt_core.study.counting import ngram_probabilities
from minigpt_core.study.planning import LEAST, LITTLE, MOST_KINDS, look_at
from minigpt_core.tokenizer import END_OF_TEXT
from minigpt_core.widgets import source

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node is not installed: what the page does to a text is NOT tested"
)
CORPORA = ("tales", "tales_zh", "alice")


def corpus(name: str) -> str:
    try:
        return load_corpus(name)
    except ValueError as error:
        pytest.skip(f"corpus not available, the page is NOT tested with it: {error}")


# Random numbers


def test_its_random_numbers_are_pytorchs():
    seeds = [0, 1, 42, 12_345, 2**31, 2**32 - 1, 2**32 + 5]
    bounds = [1, 2, 10, 1000, 115_394, 5_000_000, 2**28 - 1]
    cases = [{"seed": seed, "n": n, "count": 1500} for seed in seeds for n in [*bounds, None]]  # the state turns twice
    for case, found in zip(cases, engine("twister", cases=cases), strict=True):
        generator = torch.Generator().manual_seed(case["seed"])
        if case["n"]:
            expected = torch.randint(case["n"], (1500,), generator=generator)
        else:
            expected = torch.rand(1500, generator=generator)
        assert found == expected.tolist(), case


def test_its_normal_numbers_are_normal():
    z = torch.tensor(engine("normals", seed=3, count=100_000), dtype=torch.float64)
    for power, moment, error in ((1, 0, 0.0032), (2, 1, 0.0045), (3, 0, 0.0123), (4, 3, 0.031)):
        assert abs((z**power).mean().item() - moment) < 4 * error
    for least, share in ((1, 0.15866), (2, 0.02275), (3, 0.00135)):
        assert abs((z > least).double().mean().item() - share) < 4 * (share / 100_000) ** 0.5
    assert abs((z[1:] * z[:-1]).mean()) < 4 * 0.0032  # neighbours are independent


def test_the_seed_of_a_step_is_pythons():
    cases = [[a, b] for a in (0, 1, 7, 2**31, 2**32 - 1, 2**40 + 3, 2**53 - 1) for b in (0, 1, 999, 2**31, 2**32 + 1)]
    assert engine("stepSeeds", cases=cases) == [step_seed(*case) for case in cases]


def test_its_batches_begin_where_pythons_do():
    dice, cases = random.Random(1), [[65, 64, 3, 0, 0]]
    for _ in range(60):
        T = dice.choice([1, 8, 64, 128])
        N = T + dice.choice([1, 2, 50, 1000, 154_771])
        cases.append([N, T, dice.choice([1, 7, 64]), dice.choice([0, 1, 42, 2**31 + 9]), dice.randrange(20_000)])
    for (N, T, B, seed, step), found in zip(cases, engine("batches", cases=cases), strict=True):
        x, _ = get_batch(torch.arange(N), T, B, seed=seed, step=step)
        assert found == x[:, 0].tolist()
    (short,) = engine("batches", cases=[[64, 64, 1, 0, 0]])
    with pytest.raises(ValueError) as caught:
        get_batch(torch.arange(64), 64, 1, seed=0, step=0)
    assert short == {"refused": str(caught.value)}


# Splitting


def splits_are_equal(texts: list[str], cases: list[dict]) -> set[str]:
    """How they were split."""
    hows = set()
    for case, found in zip(cases, engine("splits", texts=texts, cases=cases), strict=True):
        text, choice = texts[case["text"]], {key: value for key, value in case.items() if key != "text"}
        try:
            train, held_out = split_text(text, **choice)
        except ValueError as error:
            assert "no second document" in str(error) and "no second document" in found["refused"]
            continue
        hows.add(found["how"])
        assert (found["train"], found["heldOut"]) == (train, held_out), case
        assert found["how"] == choice.get("how", "documents" if len(_documents(text)) >= MANY else "blocks")
    return hows


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_split_as_in_python(name):
    text = corpus(name)
    cases = [{"text": 0, "how": how, "seed": seed} for how in ("documents", "blocks") for seed in (0, 1, 42)]
    splits_are_equal([text], [*cases, {"text": 0}, {"text": 0, "fraction": 0.25, "seed": 7}])


def test_texts_of_all_kinds_are_split_as_in_python():
    """Marks, halves of marks, characters outside the basic plane, and what Python and JavaScript take for white space."""
    dice, texts, cases = random.Random(2), [], []
    pieces = ["a", "lamp ", "😀", "𝒜", "林", "\n", " ", "\x1c", "\x85", "\ufeff", "\u3000", "<|", "<|endoftext|", "|>"]
    for length in [0, 1, 2, 3, 5, 10, 20, 50, 200, 1000, 12_000] * 6:
        marks = dice.choice([0, 1, 5])
        texts.append("".join(dice.choices([*pieces, END_OF_TEXT], weights=[3] * len(pieces) + [marks], k=length)))
    texts += ["ab" + END_OF_TEXT * 30, "😀" * 30_000, ("😀" + END_OF_TEXT) * 2000, f"a{END_OF_TEXT}" * 20 + "\ufeff"]
    for text in range(len(texts)):
        for how in ("documents", "blocks", None):
            choice = {"fraction": dice.choice([0.1, 0.1, 0.03, 0.5, 0.9]), "seed": dice.randrange(2**32)}
            cases.append({"text": text, **choice, **({"how": how} if how else {})})
    assert splits_are_equal(texts, cases) == {"documents", "blocks"}


def test_the_number_of_documents_held_out_is_rounded_as_in_python():
    text = "".join(f"{i} {END_OF_TEXT}" for i in range(100))
    assert 0.07 * 100 > 7 and splits_are_equal([text], [{"text": 0, "fraction": 0.07}]) == {"documents"}


# A look


def characters(first: int, count: int) -> str:
    """So many different ones."""
    return "".join(map(chr, range(first, first + count)))


def test_it_looks_at_a_text_as_python_does():
    tales, letters = load_corpus("tales"), "".join(random.Random(2).choices(string.ascii_letters, k=1500))
    texts = [
        "",
        "a" * 5000,
        "Mina has a lamp. ",
        tales,
        tales[:LEAST],
        tales[: LEAST - 1],
        "😀" + tales[: LEAST - 1],
        "😀" * 10 + tales[: LEAST - 11],
        tales[:LITTLE],
        tales[: LITTLE - 1],
        "Mina has a lamp. " * 1000,
        tales[:9_000] + tales[:8_000],
        tales[:26_000] * 2,
        tales[:24_900] + tales[:24_900] + tales[24_900:],
        letters * 2 + letters[:11],  # just half of its runs were there before
        letters * 2 + letters[:12],  # one more
        "1 2 3, 4 + 5; " * 300,
        "1234567890" * 5000 + tales,
        "12 345\n" * 7200 + "𝒜",
        "".join(random.Random(0).choices("0123456789 ", k=60_000)),
        "".join(random.Random(1).choices("😀😁😂😃", k=4000)),
        load_corpus("tales_zh"),
        characters(0x4E00, MOST_KINDS) * 3,
        END_OF_TEXT * 300,
    ]
    seen = set()
    for text, found in zip(texts, engine("looks", texts=texts), strict=True):
        look = look_at(text)
        expected = {"characters": look.characters, "kinds": look.kinds, "usable": look.usable}
        assert found == {**expected, "advice": list(look.advice)}, text[:40]
        seen.update(look.advice)
    assert len(seen) >= 7  # each of its sentences, with more than one number


def test_a_text_with_many_kinds_of_character_is_slow_here_and_one_with_too_many_is_refused():
    counts = [MOST_KINDS, MOST_KINDS + 1, 5000, 5001, 20_000]
    few, slow, slowest, refused, most = engine("looks", texts=[characters(0x4E00, n) for n in counts])
    short = "short: it will be known by heart before its language is learned; add text of the same kind"
    python = "Python cuts such a text into pieces (chapter “Your own text”)"
    assert few["usable"] and few["advice"] == [short]
    for look, shown in ((slow, "2,001"), (slowest, "5,000")):
        many = (
            f"many kinds of character: each of the {shown} is a token of its own here, and training is slower; {python}"
        )
        assert look["usable"] and look["advice"] == [short, many]
    for look, shown in ((refused, "5,001"), (most, "20,000")):
        many = f"{shown} kinds of character are too many: each is a token of its own here, and there can be 5,000; {python}"
        assert not look["usable"] and look["advice"] == [short, many]


# Files


def decodings(*cases: bytes | tuple[bytes, str]) -> list[dict]:
    """Node takes windows-1252 for Latin-1, as no browser does: what it reads is mended here."""
    pairs = [(case, None) if isinstance(case, bytes) else case for case in cases]
    asked = [{"bytes": base64.b64encode(raw).decode(), **({"encoding": e} if e else {})} for raw, e in pairs]
    answers = engine("decodings", cases=asked)
    for guess in (each for answer in answers for each in answer.get("guesses", [])):
        guess["reads"] = re.sub("[\x80-\x9f]", lambda c: c[0].encode("latin-1").decode("cp1252"), guess["reads"])
    return answers


@pytest.mark.parametrize(
    "text, encodings",
    [
        ("Mina: 小猫!\r\nline two 😀\rthree\n\x1a", ["gb18030"]),
        (" 灯塔上的灯亮了，小船回来了。\n" * 20, ["gb18030"]),
        ("燈塔上的燈亮了，小船回來了。\n" * 20, ["gb18030", "big5"]),
        ("灯台の明かりがついて、小舟が帰ってきた。\n" * 20, ["gb18030", "shift_jis"]),
        ("Un café à la crème, déjà vu.\n" * 20, ["gb18030", "cp1252"]),
    ],
)
def test_a_file_is_decoded_as_in_python(text, encodings):
    plain = _decode(text.encode(), "a.txt", None)
    names = {"cp1252": "windows-1252"}  # Python's and the page's
    marked = [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16-le", "utf-16le"), ("utf-16-be", "utf-16be")]
    for encoding, name in marked:
        raw = text.encode(encoding) if "16" not in encoding else ("\ufeff" + text).encode(encoding)
        assert decodings(raw, (raw, name)) == [{"text": plain, "encoding": name}] * 2
    for encoding in encodings:
        name, raw = names.get(encoding, encoding), text.encode(encoding)
        unknown, known = decodings(raw, (raw, name))
        assert known == {"text": plain, "encoding": name}
        assert unknown["refused"] == "the file is not text in utf-8: choose the encoding in which it reads well"
        with pytest.raises(ValueError) as caught:
            _decode(raw, "a.txt", None)
        reads = {guess["encoding"]: guess["reads"] for guess in unknown["guesses"]}
        for other in ("gb18030", "big5", "shift_jis", "cp1252"):  # a browser knows more characters than Python
            shown = f"encoding={other!r} (there it reads {reads.get(names.get(other, other))!r})"
            assert shown in str(caught.value) or f"encoding={other!r}" not in str(caught.value)
        assert reads[name] in " ".join(text.split())
        assert ("windows-1252" in reads) == ("cp1252" in str(caught.value))


def test_a_browser_reads_the_quotes_of_windows_1252(browser):
    page, text = browser.new_page(), "“Un café” – déjà vu…"
    for name in ("tokenizer", "data"):
        page.add_script_tag(content=source(f"engine/{name}.js"))
    raw = list(text.encode("cp1252"))
    assert page.evaluate("(raw) => minigpt.decodeText(Uint8Array.from(raw), 'windows-1252').text", raw) == text
    asked = "(raw) => { try { minigpt.decodeText(Uint8Array.from(raw)); } catch (error) { return error.guesses; } }"
    assert page.evaluate(asked, raw) == [{"encoding": "windows-1252", "reads": text[:16]}]
    page.close()


def test_what_each_encoding_reads_stands_where_utf_8_fails():
    broken = [b"\xe9t\xe9", b"\xef\xbf", b"\xef", b"\xe4\xb8", b"\xff"]  # also characters that are cut short
    before = ["x" * n + "é" for n in (0, 1, 7, 8, 9, 1000)]
    cases = [text.encode() + raw + b" and then it goes on" for text in before for raw in broken]
    for raw, found in zip(cases, decodings(*cases), strict=True):
        with pytest.raises(UnicodeDecodeError) as caught:
            raw.decode()
        reads = next(guess["reads"] for guess in found["guesses"] if guess["encoding"] == "windows-1252")
        assert f"encoding='cp1252' (there it reads {reads!r})" in _openings(raw, caught.value.start)


def test_what_is_no_text_is_refused_in_a_sentence():
    noise = random.Random(5).randbytes(5000)
    cases = [noise, b"Mina\0has", "Mina".encode("utf-16-le"), "Mina".encode("utf-32"), bytes(range(256))]
    for raw, found in zip(cases, decodings(*cases), strict=True):
        encoding = "utf-16le" if raw[:2] == b"\xff\xfe" else "utf-8"
        said = f"the file is not text in {encoding}: save it as plain text in UTF-8"
        assert found == {"refused": said, "guesses": []}
        with pytest.raises(ValueError, match="is not text"):
            _decode(raw, "a.txt", None)
    half, wrong = decodings(b"\xff\xfea", ("Le café est là.".encode("cp1252"), "shift_jis"))
    assert half["refused"] == "the file is not text in utf-16le: choose the encoding in which it reads well"
    assert wrong["refused"] == "the file is not text in shift_jis: choose the encoding in which it reads well"
    assert {"encoding": "windows-1252", "reads": "Le café est là."} in wrong["guesses"]


def test_an_empty_file_is_refused_and_line_ends_are_one():
    empty = [b"", b" \r\n ", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1a", b"\x1c\x85".replace(b"\x85", "\x85".encode())]
    for found in decodings(*empty):
        assert found == {"refused": "the file is empty: a model needs at least a few thousand characters to learn from"}
    whole = [
        b"a\r\nb\rc\n\r\nd",
        b"a\r\r\nb\n",
        b"a\r\n\x1a",
        b"a\x1ab",
        b"a\x1a\n",
        b" a \t\n\n",
        b"\xef\xbb\xbf\xef\xbb\xbfa",
    ]
    assert [found["text"] for found in decodings(*whole)] == [_decode(raw, "a.txt", None) for raw in whole]


# Counting


def losses_are_equal(cases: list[dict], **how) -> None:
    for case, found in zip(cases, engine("ngrams", cases=cases, **how), strict=True):
        parts = torch.tensor(case["train"]), torch.tensor(case["held_out"])
        expected = -ngram_probabilities(*parts, case["n"], case["V"]).log().mean(dim=1)
        found = torch.tensor([float(loss) for loss in found], dtype=torch.float64)
        assert torch.allclose(found, expected, rtol=0, atol=1e-9), case["n"]


@pytest.mark.parametrize("name, n", [("tales", 9), ("tales_zh", 5), ("alice", 7)])
def test_counting_a_corpus_loses_as_much_as_in_python(name, n):
    text = corpus(name)
    tokenizer = CharTokenizer.train(text)
    train, held_out = map(tokenizer.encode, split_text(text))
    losses_are_equal([{"train": train, "held_out": held_out, "n": n, "V": tokenizer.vocab_size}])


@pytest.mark.parametrize("narrow", [False, True])
def test_counting_small_texts_loses_as_much_as_in_python(narrow):
    dice, cases = random.Random(narrow), []
    for _ in range(100):
        V, n = dice.randint(2, 30), dice.randint(1, 6)
        few = dice.choices(range(V), k=dice.randint(1, 8))  # what recurs
        parts = [
            [dice.choice(few) if dice.random() < 0.7 else dice.randrange(V) for _ in range(dice.randint(2, 200))]
            for _ in range(2)
        ]
        cases.append({"train": parts[0], "held_out": parts[1], "n": n, "V": V})
    for train, held_out in (
        ([0], [1]),
        ([1], [0, 1, 0]),
        ([0, 1, 1], [1]),
        ([0] * 9, [0] * 4),
        ([0, 1] * 40, [0, 1] * 3),
    ):
        cases.append({"train": train, "held_out": held_out, "n": 6, "V": 2})
    losses_are_equal(cases, narrow=narrow)


def test_where_there_is_nothing_to_count_it_says_so():
    cases = [{"train": [], "held_out": [1, 2], "n": 3, "V": 4}, {"train": [1], "held_out": [], "n": 3, "V": 4}]
    for case, found in zip(cases, engine("ngrams", cases=cases), strict=True):
        with pytest.raises(ValueError) as caught:
            empty = (torch.tensor(case[part], dtype=torch.long) for part in ("train", "held_out"))
            ngram_probabilities(*empty, 3, 4)
        assert found == {"refused": str(caught.value)}
