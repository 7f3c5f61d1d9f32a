"""Chapter 01: pairs and merges, a word that is cut, bytes, a fair unit; and a stream of tokens that shows marks instead of letters."""

import codecs
import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from .exercise import Exercise

Word = tuple[str, ...]
Pair = tuple[str, str]

count_pairs = Exercise(
    "01",
    "ten minutes",
    "count_pairs(words): from words, a dictionary from each word (a tuple of its pieces) to how often it occurs, to a "
    'dictionary from each pair of neighbours, such as ("t", "h"), to how often it occurs. Every place counts at which '
    "the two stand next to each other inside a word.",
    hints=[
        "Which neighbours has a single word? Its pieces 0 and 1, its pieces 1 and 2, and so on: zip(word, word[1:]).",
        "A word that occurs 5 times brings each of its pairs 5 times.",
        "Start from an empty Counter, go through words.items(), and add the word's count to each of its pairs.",
    ],
)


@count_pairs.cases
def _() -> Iterator[tuple[dict[Word, int]]]:
    yield ({("a", "b"): 1},)
    yield ({("t", "h", "e"): 2, ("t", "h", "en"): 1},)
    yield ({("a", "a", "a"): 1, ("b", "a", "b", "a"): 3, ("c",): 4},)


def _counted(words: dict[Word, int]) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            pairs[pair] += count
    return pairs


count_pairs.answer(_counted)


@count_pairs.mistake("each different word is counted a single time: it must count as often as it occurs in the text.")
def each_word_once(words: dict[Word, int]) -> Counter[Pair]:
    return _counted(dict.fromkeys(words, 1))


@count_pairs.mistake(
    "a pair that stands twice in the same word is counted there only once: was a set, or a test with `in`, at work?"
)
def each_pair_once_a_word(words: dict[Word, int]) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for word, count in words.items():
        for pair in {*pairwise(word)}:
            pairs[pair] += count
    return pairs


@count_pairs.mistake(
    "every second pair is left out: the piece at the end of one pair is also the beginning of the next one."
)
def every_second_pair(words: dict[Word, int]) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for word, count in words.items():
        for pair in zip(word[::2], word[1::2], strict=False):
            pairs[pair] += count
    return pairs


@count_pairs.mistake("the keys are the joined pieces; they should be pairs, so that it is known where to cut them.")
def joined_keys(words: dict[Word, int]) -> dict[str, int]:
    joined: Counter[str] = Counter()
    for (left, right), count in _counted(words).items():
        joined[left + right] += count
    return joined


@count_pairs.mistake("a count is too small: where a pair was met before, its count is replaced instead of added to.")
def replaced(words: dict[Word, int]) -> dict[Pair, int]:
    return {pair: count for word, count in words.items() for pair in pairwise(word)}


join_pair = Exercise(
    "01",
    "ten minutes",
    "join_pair(pieces, pair): from the list of a word's pieces to the list in which the two pieces of pair are one, "
    "wherever they stand next to each other. It is read from the left, and a piece is used only once.",
    hints=[
        'What becomes of ["a", "a", "a"] and the pair ("a", "a")? Two pieces come out.',
        "Walk with a number i from the left. Where pieces i and i + 1 are the pair, how far does i have to go?",
        "A while loop: two steps after a match, one step elsewhere. The last piece has no neighbour, and must not get lost.",
    ],
)


@join_pair.cases
def _() -> Iterator[tuple[list[str], Pair]]:
    yield ["a", "b"], ("a", "b")
    yield ["a", "a", "a"], ("a", "a")
    yield ["b", "a", "n", "a", "n", "a"], ("a", "n")
    yield ["ab", "c", "a", "bc", "d"], ("a", "bc")
    yield ["b", "a", "ca", "b", "a", "b"], ("a", "b")


@join_pair.answer
def _(pieces: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    i = 0
    while i < len(pieces):
        step = 2 if tuple(pieces[i : i + 2]) == pair else 1
        joined.append("".join(pieces[i : i + step]))
        i += step
    return joined


@join_pair.mistake(
    "a piece is used twice: after a match the next piece belongs to it already, and stands in the result once more."
)
def used_twice(pieces: list[str], pair: Pair) -> list[str]:
    return ["".join(pieces[i : i + 2 if tuple(pieces[i : i + 2]) == pair else i + 1]) for i in range(len(pieces))]


@join_pair.mistake("the middle a of a a a stands in two joined pieces: a piece is used only once.")
def in_two_joined_pieces(pieces: list[str], pair: Pair) -> list[str]:
    joined = []
    for i, piece in enumerate(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            joined.append("".join(pair))
        elif i == 0 or (pieces[i - 1], piece) != pair:
            joined.append(piece)
    return joined


@join_pair.mistake("only the first place is joined: the pair may stand in the word more than once.")
def first_place_only(pieces: list[str], pair: Pair) -> list[str]:
    for i in range(len(pieces) - 1):
        if tuple(pieces[i : i + 2]) == pair:
            return [*pieces[:i], "".join(pair), *pieces[i + 2 :]]
    return pieces


@join_pair.mistake(
    "the last piece gets lost where it is not part of a match. A loop that ends one piece early, to have a neighbour "
    "to look at, must still keep it."
)
def loses_the_last(pieces: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    i = 0
    while i < len(pieces) - 1:
        step = 2 if tuple(pieces[i : i + 2]) == pair else 1
        joined.append("".join(pieces[i : i + step]))
        i += step
    return joined


@join_pair.mistake(
    "you compare letters, not pieces: `ab` and `c` make the same letters as `a` and `bc`, but they are another pair."
)
def same_letters(pieces: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    i = 0
    while i < len(pieces):
        step = 2 if i + 1 < len(pieces) and pieces[i] + pieces[i + 1] == "".join(pair) else 1
        joined.append("".join(pieces[i : i + step]))
        i += step
    return joined


@join_pair.mistake("in a run such as a a a the last two are joined. Reading from the left, the first two are.")
def from_the_right(pieces: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    i = len(pieces)
    while i > 0:
        step = 2 if tuple(pieces[max(0, i - 2) : i]) == pair else 1
        joined.insert(0, "".join(pieces[i - step : i]))
        i -= step
    return joined


cut_word = Exercise(
    "01",
    "ten minutes",
    "cut_word(word, merges): from a word, a string, and the list of the merges in the order in which they were "
    'learned, each a pair such as ("h", "e"), to the list of the pieces that the word is cut into.',
    hints=[
        "With what does every word begin? With its letters: list(word).",
        "Learning joined one pair everywhere, then the next. To cut a new word, do the same, in the same order.",
        "For each merge, walk through the pieces from the left, and join this pair wherever it stands.",
    ],
)


def _merged(word: str, merges: list[Pair]) -> list[str]:
    pieces = list(word)
    for pair in merges:
        i = 0
        while i < len(pieces) - 1:
            if (pieces[i], pieces[i + 1]) == pair:
                pieces[i : i + 2] = ["".join(pair)]
            i += 1
    return pieces


cut_word.answer(_merged)


@cut_word.cases
def _() -> Iterator[tuple[str, list[Pair]]]:
    yield "the", [("h", "e")]
    yield "then", [("h", "e"), ("t", "he"), ("t", "h")]
    yield "abcd", [("b", "c"), ("a", "b"), ("c", "d")]
    yield "banana", [("a", "n"), ("n", "a"), ("an", "an")]


@cut_word.mistake(
    "each merge is made at one place only: a pair that stands in the word several times is joined everywhere."
)
def one_place_a_merge(word: str, merges: list[Pair]) -> list[str]:
    pieces = list(word)
    for pair in merges:
        for i in range(len(pieces) - 1):
            if (pieces[i], pieces[i + 1]) == pair:
                pieces[i : i + 2] = ["".join(pair)]
                break
    return pieces


@cut_word.mistake(
    "you take the longest known piece that fits at each place from the left. That is how WordPiece, another tokenizer, "
    "cuts. BPE repeats its merges in their order."
)
def longest_first(word: str, merges: list[Pair]) -> list[str]:
    known = {"".join(pair) for pair in merges}
    pieces = []
    while word:
        size = max(n for n in range(1, len(word) + 1) if n == 1 or word[:n] in known)
        pieces.append(word[:size])
        word = word[size:]
    return pieces


@cut_word.mistake(
    "the merges come from the last one to the first: what was learned first comes first, since later merges are made "
    "of its pieces."
)
def last_learned_first(word: str, merges: list[Pair]) -> list[str]:
    return _merged(word, merges[::-1])


@cut_word.mistake(
    "you join the first pair from the left that any merge knows. Of all pairs in the word, the one whose merge was "
    "learned first comes first, wherever it stands."
)
def leftmost_first(word: str, merges: list[Pair]) -> list[str]:
    pieces = list(word)
    i = 0
    while i < len(pieces) - 1:
        if (pieces[i], pieces[i + 1]) in merges:
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
            i = 0
        else:
            i += 1
    return pieces


@cut_word.mistake(
    "nothing was joined: these are the letters of the word. Is what you compare with a merge a pair, too?"
)
def letters_only(word: str, merges: list[Pair]) -> list[str]:
    return list(word)


ids_with_bytes = Exercise(
    "01",
    "a minute",
    "ids_with_bytes(text, ids): from a text to the list of its ids. ids is a dictionary from known characters to their "
    "ids, which begin at 256. A character that it lacks becomes the bytes of its UTF-8 form, and the id of a byte is "
    "the byte itself, 0 to 255.",
    hints=[
        "Two cases for each character: it is in ids, or it isn't.",
        "character.encode() gives the bytes in UTF-8. Going through them, you get numbers from 0 to 255.",
        "A known character adds one id (append), an unknown one adds one to four of them (extend).",
    ],
)


@ids_with_bytes.cases
def _() -> Iterator[tuple[str, dict[str, int]]]:
    yield "aé", {"a": 256}
    yield "a好b", {"a": 256, "b": 257}
    yield "😀é", {"é": 256}
    yield "ba!", {"a": 256, "b": 257}


@ids_with_bytes.answer
def _(text: str, ids: dict[str, int]) -> list[int]:
    return [i for c in text for i in ([ids[c]] if c in ids else c.encode())]


@ids_with_bytes.mistake(
    "an unknown character became its number in Unicode, its code point (ord). Its bytes are asked for: é has the code "
    "point 233, and two bytes."
)
def as_code_points(text: str, ids: dict[str, int]) -> list[int]:
    return [ids.get(c, ord(c)) for c in text]


@ids_with_bytes.mistake(
    "unknown characters are left out, and nothing can bring them back: with bytes, every text comes back."
)
def left_out(text: str, ids: dict[str, int]) -> list[int]:
    return [ids[c] for c in text if c in ids]


@ids_with_bytes.mistake("all characters became bytes. Those that the vocabulary knows have an id of their own.")
def only_bytes(text: str, ids: dict[str, int]) -> list[int]:
    return list(text.encode())


@ids_with_bytes.mistake(
    "only the first byte of an unknown character is there: in UTF-8 it has up to four, and each is an id."
)
def first_byte_only(text: str, ids: dict[str, int]) -> list[int]:
    return [ids.get(c, c.encode()[0]) for c in text]


@ids_with_bytes.mistake("every unknown character became the same id 0, as <unk> would: which character it was is lost.")
def all_unknown_the_same(text: str, ids: dict[str, int]) -> list[int]:
    return [ids.get(c, 0) for c in text]


bits_per_byte = Exercise(
    "01",
    "ten minutes",
    "bits_per_byte(loss, n_tokens, text): from the mean loss in nats per token, over n_tokens tokens, all of them guessed, "
    "that together are the whole text, to the surprise in bits, divided by how many bytes the text has in UTF-8.",
    hints=[
        "How large is the surprise at the whole text, if each of its n_tokens tokens costs `loss` in the mean?",
        "One bit is math.log(2) nats, about 0.69. So are there more bits than nats, or fewer?",
        "len(text) counts characters, and len(text.encode()) counts bytes.",
    ],
)


@bits_per_byte.cases
def _() -> Iterator[tuple[float, int, str]]:
    yield math.log(2), 2, "ab"
    yield 1.5, 3, "Hello 😀"
    yield 4.0, 4, "露丝船长"


def _bits(loss: float, n_tokens: int, text: str) -> float:
    return loss * n_tokens / math.log(2) / len(text.encode())


bits_per_byte.answer(_bits)


@bits_per_byte.mistake("that is bits per character. A character has one to four bytes in UTF-8.")
def per_character(loss: float, n_tokens: int, text: str) -> float:
    return loss * n_tokens / math.log(2) / len(text)


@bits_per_byte.mistake("that is in nats. A bit is math.log(2) nats.")
def in_nats(loss: float, n_tokens: int, text: str) -> float:
    return loss * n_tokens / len(text.encode())


@bits_per_byte.mistake(
    "you multiply by math.log(2) instead of dividing: a bit is smaller than a nat, so there must be more bits than "
    "nats."
)
def multiplied(loss: float, n_tokens: int, text: str) -> float:
    return loss * n_tokens * math.log(2) / len(text.encode())


@bits_per_byte.mistake(
    "that is the loss in bits per token. With longer tokens it grows, though the text is the same: where do tokens and "
    "bytes come in?"
)
def per_token(loss: float, n_tokens: int, text: str) -> float:
    return loss / math.log(2)


@bits_per_byte.mistake(
    "n_tokens is missing: the loss is the mean over the tokens, and the surprise at the whole text is their sum."
)
def one_token_only(loss: float, n_tokens: int, text: str) -> float:
    return loss / math.log(2) / len(text.encode())


@bits_per_byte.mistake(
    "tokens and bytes have changed places: more tokens at the same loss are more surprise at the text, not less."
)
def upside_down(loss: float, n_tokens: int, text: str) -> float:
    return loss / math.log(2) * len(text.encode()) / n_tokens


shown_as_it_comes = Exercise(
    "01",
    "ten minutes",
    "shown_as_it_comes(tokens): from the tokens of a text, each given by its bytes, in the order in which a model "
    "writes them, to a list of as many strings: what is shown when each token has come. A character is shown once, "
    "as soon as its last byte is there.",
    hints=[
        "Try the four bytes of an emoji: [bytes([b]) for b in '😀'.encode()]. At which of them can anything be shown?",
        "Bytes of a character that is not complete must wait. Where are they kept until the next token comes?",
        "Add each token to the bytes that wait. Show the part that can be decoded, keep the rest: only a beginning at the very end has to wait.",
    ],
    planted=True,
)


@shown_as_it_comes.cases
def _() -> Iterator[tuple[list[bytes]]]:
    yield ([b"a", b"\xc3", b"\xa9"],)
    yield ([*(bytes([b]) for b in "😀".encode()), b" ok"],)
    yield ([b"Ruth ", *(bytes([b]) for b in "好é".encode()), "露丝".encode(), b"!"],)
    yield ([b"a\xc3", b"\xa9b"],)


@shown_as_it_comes.answer
def _(tokens: list[bytes]) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(token) for token in tokens]


@shown_as_it_comes.mistake(
    "a character that is cut into several tokens comes out as marks, �, and never as itself. Join the list, and "
    'compare it with b"".join(tokens).decode(): where do the two differ, and how many bytes has the character there?'
)
def as_planted(tokens: list[bytes]) -> list[str]:
    return [token.decode(errors="replace") for token in tokens]


@shown_as_it_comes.mistake(
    "the marks are gone, and so are the characters: each token is still decoded apart, and now the parts are dropped."
)
def ignored(tokens: list[bytes]) -> list[str]:
    return [token.decode(errors="ignore") for token in tokens]


@shown_as_it_comes.mistake(
    "each byte is shown as a character of its own, as Latin-1 would read it. The bytes of a token are UTF-8, in which "
    "a character may have several."
)
def as_latin_1(tokens: list[bytes]) -> list[str]:
    return [token.decode("latin-1") for token in tokens]


@shown_as_it_comes.mistake(
    "all is right in the end, but nothing is shown before the last token has come. A reader wants to see a text as it "
    "is written."
)
def all_at_the_end(tokens: list[bytes]) -> list[str]:
    return [""] * (len(tokens) - 1) + [b"".join(tokens).decode()]


@shown_as_it_comes.mistake(
    "what is complete waits as well, until nothing is left over. A character need not wait for the end of the next one."
)
def waits_for_all(tokens: list[bytes]) -> list[str]:
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        try:
            shown.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


@shown_as_it_comes.mistake(
    "each time the whole text so far is shown again. What was shown must not come a second time."
)
def all_so_far(tokens: list[bytes]) -> list[str]:
    return [b"".join(tokens[: i + 1]).decode(errors="ignore") for i in range(len(tokens))]


@shown_as_it_comes.mistake(
    "you decode all bytes so far and show what is longer than before. But a mark for a beginning is as long as the "
    "character that replaces it: the mark was shown, and the character never is."
)
def counts_the_marks(tokens: list[bytes]) -> list[str]:
    shown, length = [], 0
    for i in range(len(tokens)):
        text = b"".join(tokens[: i + 1]).decode(errors="replace")
        shown.append(text[length:])
        length = len(text)
    return shown
