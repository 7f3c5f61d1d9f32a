"""Chapter 13: from the bytes of a file to a corpus that can be trusted, and to a number of steps."""

from collections.abc import Iterator, Sequence

from .exercise import Exercise

clean_text = Exercise(
    "13",
    "a minute",
    'clean_text(raw): from the bytes of a UTF-8 file to its text: without the mark "\\ufeff" that some editors put at the very beginning, and with '
    '"\\n" for every end of line, which may be "\\r\\n" (Windows) or "\\r" alone (old Macs) in the file.',
    hints=[
        "Print repr(text): what stands at its very beginning, and what at the ends of its lines?",
        "The codec utf-8-sig drops the mark, if there is one.",
        'Replace "\\r\\n" first. If you replace "\\r" first, how many line ends does one become?',
    ],
)


@clean_text.cases
def _() -> Iterator[tuple[bytes]]:
    yield (b"one\r\ntwo\n",)
    yield (b"\xef\xbb\xbfone\r\rtwo",)
    yield ("\ufeffé\r\n\r\n老\r\ufeff".encode(),)


@clean_text.answer
def _(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


@clean_text.mistake(
    'each Windows line end has become two line ends: every line is followed by an empty one. Is "\\r\\n" replaced as one, and first?'
)
def doubles_line_ends(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r", "\n")


@clean_text.mistake(
    'the mark "\\ufeff" is still there: it would become a character of the vocabulary that occurs once.'
)
def keeps_the_mark(raw: bytes) -> str:
    return raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


@clean_text.mistake('a "\\r" that stands alone is an end of line too, and here it is left, or lost.')
def forgets_old_macs(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r\n", "\n")


@clean_text.mistake('a "\\r" that stands alone is an end of line too: here it is deleted, and two lines become one.')
def deletes_old_macs(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r", "")


@clean_text.mistake(
    "the bytes were read as Latin letters, one a byte: é takes two bytes in UTF-8, and 老 three. Which encoding does the task name?"
)
def reads_bytes_as_letters(raw: bytes) -> str:
    return raw.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


unseen_share = Exercise(
    "13",
    "a minute",
    "unseen_share(train, val): which share of the characters of val, a text, never occurs in train, a number from 0 to 1. A character that "
    "stands in val twice counts twice.",
    hints=[
        "Which characters does train have at all? A set answers that fast.",
        "Go through val, character by character, and count those that are not in the set.",
        "Divide by the number of characters of val, not by the number of kinds.",
    ],
)


@unseen_share.cases
def _() -> Iterator[tuple[str, str]]:
    yield "abc", "ad"
    yield "the ship", "the zzz sea"
    yield "ab", "ba"
    yield "ab", "ddeb"
    yield "a", "A"


@unseen_share.answer
def _(train: str, val: str) -> float:
    return sum(letter not in train for letter in val) / len(val)


@unseen_share.mistake(
    "each kind of character is counted once. The loss is a mean over all characters, so a new one that stands there often costs often."
)
def counts_kinds(train: str, val: str) -> float:
    return len(set(val) - set(train)) / len(set(val))


@unseen_share.mistake("that is the share that does occur in train: the other one is asked for.")
def seen_share(train: str, val: str) -> float:
    return sum(letter in train for letter in val) / len(val)


@unseen_share.mistake(
    "the two texts have changed places: this is the share of train that does not occur in val, and no loss depends on that."
)
def changed_places(train: str, val: str) -> float:
    return sum(letter not in val for letter in train) / len(train)


@unseen_share.mistake(
    "a capital letter is taken for the small one. For the model these are two characters: one may be known, and the other not."
)
def capitals_as_small(train: str, val: str) -> float:
    return sum(letter not in train.lower() for letter in val.lower()) / len(val)


@unseen_share.mistake("that is a number of characters; a share is divided by how many there are.")
def not_divided(train: str, val: str) -> float:
    return sum(letter not in train for letter in val)


copied_share = Exercise(
    "13",
    "ten minutes",
    "copied_share(train, val, n): which share of the pieces of n characters of val stands word for word in train, a number from 0 to 1. A piece begins "
    "at each character of val that has n - 1 characters behind it, so the pieces overlap; each piece counts as often as it stands in val. A val that is too short has no pieces, and 0 is given.",
    hints=[
        "How many pieces of 3 characters does a text of 5 characters have? Write them down.",
        "A piece that begins at i is val[i : i + n], for i from 0 to len(val) - n.",
        "Python says whether a piece stands in a text: piece in train. Divide by the number of pieces, if there are any.",
    ],
)


@copied_share.cases
def _() -> Iterator[tuple[str, str, int]]:
    yield "abcd", "bcx", 2
    yield "abcd", "xbcdz", 2
    yield "the sea", "the see", 3
    yield "abc", "ab", 3
    yield "abcab", "abcab", 4
    yield "xaaay", "aaaaa", 3
    yield "ab", "abab", 2


@copied_share.answer
def _(train: str, val: str, n: int) -> float:
    pieces = [val[i : i + n] for i in range(len(val) - n + 1)]
    return sum(piece in train for piece in pieces) / max(1, len(pieces))


@copied_share.mistake("the last piece is missing: a text of L characters has L - n + 1 pieces of n.")
def misses_the_last(train: str, val: str, n: int) -> float:
    pieces = [val[i : i + n] for i in range(len(val) - n)]
    return sum(piece in train for piece in pieces) / max(1, len(pieces))


@copied_share.mistake(
    "the last pieces are shorter than n, and a short piece is found in train more easily: these are no pieces of n."
)
def short_ends(train: str, val: str, n: int) -> float:
    return sum(val[i : i + n] in train for i in range(len(val))) / max(1, len(val))


@copied_share.mistake(
    "the pieces lie side by side. In the task a piece begins at each character, so that a copy is found wherever it begins."
)
def side_by_side(train: str, val: str, n: int) -> float:
    pieces = [val[i : i + n] for i in range(0, len(val) - n + 1, n)]
    return sum(piece in train for piece in pieces) / max(1, len(pieces))


@copied_share.mistake("each piece is counted once, as in a set. One that stands in val twice counts twice.")
def each_piece_once(train: str, val: str, n: int) -> float:
    pieces = {val[i : i + n] for i in range(len(val) - n + 1)}
    return sum(piece in train for piece in pieces) / max(1, len(pieces))


@copied_share.mistake("a val without any piece gives a division by zero. The task says what is given then.")
def divides_by_zero(train: str, val: str, n: int) -> float:
    pieces = [val[i : i + n] for i in range(len(val) - n + 1)]
    return sum(piece in train for piece in pieces) / len(pieces)


steps_that_fit = Exercise(
    "13",
    "ten minutes",
    "steps_that_fit(seconds, step, evaluation, every, tokens, batch, window, readings): the largest whole number of steps that fit into the seconds, "
    "where a step takes `step` seconds, and after every `every` steps an evaluation takes `evaluation` seconds more; but no more steps than "
    "read the text of that many tokens `readings` times, at batch * window tokens a step. (Whole steps only; 0 if not even one fits.)",
    hints=[
        "How long do n steps take? n times a step, and an evaluation for each time that `every` of them are made: n // every of them.",
        "The time grows with n. Go up from 0, as long as it fits.",
        "The other limit: readings * tokens // (batch * window) steps. Take the smaller of the two.",
    ],
)
Plan = tuple[float, float, float, int, int, int, int, int]


@steps_that_fit.cases
def _() -> Iterator[Plan]:
    yield 10, 1, 0, 5, 1000, 1, 10, 60
    yield 16, 1, 2, 3, 10_000, 4, 8, 60
    yield 60, 0.25, 4, 16, 100_000, 16, 64, 60
    yield 60, 0.25, 4, 16, 2000, 16, 64, 60
    yield 60, 0.25, 4, 16, 20, 16, 64, 60
    yield 0.5, 1, 1, 10, 1000, 1, 1, 60
    yield 60, 0.25, 4, 16, 2009, 16, 64, 60


def _in_time(seconds: float, step: float, evaluation: float, every: int) -> int:
    return max(n for n in range(1000) if n * step + n // every * evaluation <= seconds)


@steps_that_fit.answer
def _(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return min(_in_time(seconds, step, evaluation, every), readings * tokens // (batch * window))


@steps_that_fit.mistake("the evaluations take time as well: with them, fewer steps fit.")
def forgets_evaluations(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return min(int(seconds // step), readings * tokens // (batch * window))


@steps_that_fit.mistake(
    "the text is read more often than allowed: a step reads batch * window tokens, and the readings are limited."
)
def reads_without_end(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return _in_time(seconds, step, evaluation, every)


@steps_that_fit.mistake(
    "a step reads `batch` windows of `window` tokens each, not one token of each window: it reads batch * window tokens."
)
def a_token_a_window(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return min(_in_time(seconds, step, evaluation, every), readings * tokens // batch)


@steps_that_fit.mistake(
    "the number of steps that the text allows is rounded to the nearest, and may be one too many: only whole steps fit, however little is "
    "missing for the next."
)
def rounded(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return min(_in_time(seconds, step, evaluation, every), round(readings * tokens / (batch * window)))


@steps_that_fit.mistake("an evaluation comes after every `every` steps, and here it is paid after each step.")
def evaluates_each_step(
    seconds: float, step: float, evaluation: float, every: int, tokens: int, batch: int, window: int, readings: int
) -> int:
    return min(int(seconds // (step + evaluation)), readings * tokens // (batch * window))


corpus_of = Exercise(
    "13",
    "ten minutes",
    "corpus_of(pages): from the texts of downloaded pages, a list of strings, to one text: the pages joined by an empty line. A page that begins with "
    '"<html" or "<!doctype html", in small or capital letters, perhaps after white space, is an error page of the server, and is left out.',
    hints=[
        "Make a list of three pages, one of them an error page in capital letters, and count the tags in what comes out: text.count('<').",
        "What does a page begin with, once white space is taken off and all letters are small?",
        'startswith takes a tuple of beginnings: ("<html", "<!doctype html").',
    ],
    planted=True,
)


@corpus_of.cases
def _() -> Iterator[tuple[list[str]]]:
    yield (["one", "<html><h1>404 Not Found</h1></html>", "two"],)
    yield (["<!doctype html>Gone", "page 404"],)
    yield (["\n\t <html>429 Too Many Requests", "She wrote <html on the board."],)
    yield (["<HTML>", "<!DOCTYPE HTML>", "<Html lang='en'>", "two", "two"],)
    yield (["a < b", "<p>a paragraph", " kept ", "<!doctype of mine"],)
    yield (["<html>429, and cut off", "In HTML a page ends with </html> as a rule."],)


ERRORS = ("<html", "<!doctype html")


def _joined(pages: Sequence[str]) -> str:
    return "\n\n".join(pages)


@corpus_of.answer
def _(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.strip().lower().startswith(ERRORS)])


@corpus_of.mistake(
    "not all of this text is text. Count the tags in it, and read its beginning and its middle: what did the server send for one of the pages?"
)
def as_planted(pages: list[str]) -> str:
    return _joined(pages)


@corpus_of.mistake(
    'an error page is still there: only those are left out that begin with "<html" itself. Which other beginnings does the task name?'
)
def by_one_beginning_as_it_is(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.startswith("<html")])


@corpus_of.mistake('an error page is still there: one that begins with "<!doctype html".')
def by_one_beginning(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.strip().lower().startswith("<html")])


@corpus_of.mistake('an error page is still there: HTML may be written in capital letters, "<HTML" or "<!DOCTYPE html".')
def only_small_letters(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.strip().startswith(ERRORS)])


@corpus_of.mistake(
    'a good page is gone: it has "<html" in the middle of its text. Only what a page *begins* with tells.'
)
def anywhere(pages: list[str]) -> str:
    return _joined([page for page in pages if not any(mark in page.lower() for mark in ERRORS)])


@corpus_of.mistake("an error page is still there: white space stands before its first tag.")
def white_space_hides_it(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.lower().startswith(ERRORS)])


@corpus_of.mistake(
    "an error page is still there: the beginning of a page is compared as it is, and white space or capital letters hide it."
)
def as_it_is(pages: list[str]) -> str:
    return _joined([page for page in pages if not page.startswith(ERRORS)])


@corpus_of.mistake(
    '"</html>" is looked for. An error page may lack its end, and a good page may speak of it: what does a page *begin* with?'
)
def by_its_end(pages: list[str]) -> str:
    return _joined([page for page in pages if "</html>" not in page.lower()])


@corpus_of.mistake(
    "where two error pages stand side by side, the second is still there: a list from which something is removed while a loop goes through it "
    "moves up by one, and the loop passes over the next item."
)
def removes_on_the_way(pages: list[str]) -> str:
    for page in pages:
        if page.strip().lower().startswith(ERRORS):
            pages.remove(page)
    return _joined(pages)


@corpus_of.mistake(
    'a good page is gone, one that has "404" in its text. A number is no sign of an error page: what does it begin with?'
)
def by_its_number(pages: list[str]) -> str:
    return _joined([page for page in pages if "404" not in page and "429" not in page])


@corpus_of.mistake(
    "the kept pages have lost the white space around them. Strip only for the test, not for what is kept."
)
def strips_what_it_keeps(pages: list[str]) -> str:
    return _joined([page.strip() for page in pages if not page.strip().lower().startswith(ERRORS)])
