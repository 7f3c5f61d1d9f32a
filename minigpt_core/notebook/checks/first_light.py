"""Chapter 00: letters and their numbers, a window and its answers, the loss; and a loop that writes the same for ever."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from .exercise import Exercise

letters_to_ids = Exercise(
    "00",
    "a minute",
    "letters_to_ids(text, vocab): from a text and the list of all letters to the list of the text's numbers. The "
    "number of a letter is its place in vocab, counted from 0.",
    hints=[
        "How long must the list be? One number for each letter of the text, in the order of the text.",
        "vocab.index(letter) gives the place of a letter in vocab.",
        "Go through the text letter by letter, and collect the places in a list.",
    ],
)


@letters_to_ids.cases
def _() -> Iterator[tuple[str, list[str]]]:
    yield "ba", ["a", "b"]
    yield "a sea", [" ", "a", "e", "s"]
    yield "tea", ["t", "e", "s", "a"]
    yield "", ["a", "b"]


@letters_to_ids.answer
def _(text: str, vocab: list[str]) -> list[int]:
    return [vocab.index(letter) for letter in text]


@letters_to_ids.mistake("every number is 1 too large: the first letter of vocab has the number 0.")
def from_one(text: str, vocab: list[str]) -> list[int]:
    return [vocab.index(letter) + 1 for letter in text]


@letters_to_ids.mistake(
    "these are the numbers of the letters in Unicode, as ord gives them. Here a letter's number is its place in vocab."
)
def code_points(text: str, vocab: list[str]) -> list[int]:
    return [ord(letter) for letter in text]


@letters_to_ids.mistake(
    "you number the letters of this text alone. All texts share one vocabulary: the list vocab, as it is given."
)
def own_vocabulary(text: str, vocab: list[str]) -> list[int]:
    own = sorted(set(text))
    return [own.index(letter) for letter in text]


@letters_to_ids.mistake(
    "a letter that occurs again is left out the second time: `a sea` has two a, and each of them needs its number."
)
def each_letter_once(text: str, vocab: list[str]) -> list[int]:
    return [vocab.index(letter) for letter in dict.fromkeys(text)]


@letters_to_ids.mistake("you sort vocab once more, and then its letters have other places. Take it as it is given.")
def sorted_again(text: str, vocab: list[str]) -> list[int]:
    return [sorted(vocab).index(letter) for letter in text]


@letters_to_ids.mistake(
    "that is where each letter stands in the text: 0, 1, 2 and so on. Where does it stand in vocab?"
)
def places_in_the_text(text: str, vocab: list[str]) -> list[int]:
    return list(range(len(text)))


ids_to_letters = Exercise(
    "00",
    "a minute",
    "ids_to_letters(ids, vocab): from a list of numbers and the list of all letters back to the text, a single string.",
    hints=[
        "Which letter has the number i? The one at vocab[i].",
        "Collect the letters of all numbers, in their order.",
        'A list of letters is not yet a text: "".join(letters) puts them together, with nothing in between.',
    ],
)


@ids_to_letters.cases
def _() -> Iterator[tuple[list[int], list[str]]]:
    yield [1, 0], ["a", "b"]
    yield [3, 2, 1, 0, 1], [" ", "a", "e", "s"]
    yield [0, 1, 3, 0], ["t", "e", "s", "a"]


@ids_to_letters.answer
def _(ids: list[int], vocab: list[str]) -> str:
    return "".join(vocab[i] for i in ids)


@ids_to_letters.mistake("that is a list of letters, and a text is one string. What joins them?")
def not_joined(ids: list[int], vocab: list[str]) -> list[str]:
    return [vocab[i] for i in ids]


@ids_to_letters.mistake("you put a space between the letters. A space has a number of its own where the text has one.")
def joined_by_spaces(ids: list[int], vocab: list[str]) -> str:
    return " ".join(vocab[i] for i in ids)


@ids_to_letters.mistake("each letter is the one before the right one: places are counted from 0, not from 1.")
def one_before(ids: list[int], vocab: list[str]) -> str:
    return "".join(vocab[i - 1] for i in ids)


@ids_to_letters.mistake("only the first letter comes back: does your return stand inside the loop?")
def first_letter(ids: list[int], vocab: list[str]) -> str:
    return vocab[ids[0]]


@ids_to_letters.mistake(
    "only the last letter comes back: each turn of the loop overwrites what the turns before found."
)
def last_letter(ids: list[int], vocab: list[str]) -> str:
    return vocab[ids[-1]]


window_to_x_y = Exercise(
    "00",
    "a minute",
    "window_to_x_y(window): from T + 1 ids in a row to the pair x, y, each of T ids: at each place y holds the id that "
    "comes right after the one in x.",
    hints=[
        "Write a window of 3 ids on paper. Which of them has nothing after it? It cannot stand in x.",
        "x is the window without its last id, y is the window without its first one.",
        "window[:-1] leaves out the last id. How is the first one left out? Then: return x, y.",
    ],
)


@window_to_x_y.cases
def _() -> Iterator[tuple[list[int]]]:
    yield ([5, 8],)
    yield ([5, 8, 2],)
    yield ([3, 3, 1, 4, 0],)


@window_to_x_y.answer
def _(window: list[int]) -> tuple[list[int], list[int]]:
    return window[:-1], window[1:]


@window_to_x_y.mistake("x and y have changed places: x is what the model reads, y what comes next.")
def changed_places(window: list[int]) -> tuple[list[int], list[int]]:
    return window[1:], window[:-1]


@window_to_x_y.mistake(
    "y is the same as x, so the answer to each question stands in it. A model learns to copy from that, and the loss "
    "falls to 0."
)
def not_moved(window: list[int]) -> tuple[list[int], list[int]]:
    return window[:-1], window[:-1]


@window_to_x_y.mistake("y is a single id. A window asks a question at each place, not only at its end.")
def last_only(window: list[int]) -> tuple[list[int], int]:
    return window[:-1], window[-1]


@window_to_x_y.mistake("x has one id more than y: the last id of the window has no answer, so it cannot be in x.")
def x_not_cut(window: list[int]) -> tuple[list[int], list[int]]:
    return window, window[1:]


@window_to_x_y.mistake("y is the whole window: its first id comes after nothing in x, so it answers no question.")
def y_not_cut(window: list[int]) -> tuple[list[int], list[int]]:
    return window[:-1], window


blind_loss = Exercise(
    "00",
    "a minute",
    "blind_loss(vocab_size): the loss, in nats, of a model that gives each of the vocab_size tokens the same "
    "probability.",
    hints=[
        "Which probability does each token get, if all of them are the same and together they are 1?",
        "The loss is minus the logarithm of the probability of the token that came. All tokens have the same one.",
        "Nats are natural logarithms: math.log with one argument.",
    ],
)


@blind_loss.cases
def _() -> Iterator[tuple[int]]:
    yield (2,)
    yield (4,)
    yield (60,)
    yield (1,)


@blind_loss.answer
def _(vocab_size: int) -> float:
    return math.log(vocab_size)


@blind_loss.mistake("that is the probability of a token. The loss is minus its logarithm.")
def probability(vocab_size: int) -> float:
    return 1 / vocab_size


@blind_loss.mistake(
    "the loss comes out below 0: the logarithm of a probability is negative, and the loss is minus that logarithm."
)
def below_zero(vocab_size: int) -> float:
    return math.log(1 / vocab_size)


@blind_loss.mistake("that is counted in bits, with logarithms to base 2. Nats take the natural logarithm.")
def in_bits(vocab_size: int) -> float:
    return math.log2(vocab_size)


@blind_loss.mistake("that is the logarithm to base 10. Nats take the natural one, to base e.")
def to_base_ten(vocab_size: int) -> float:
    return math.log10(vocab_size)


@blind_loss.mistake("that is the vocabulary size itself: where is the logarithm?")
def no_logarithm(vocab_size: int) -> float:
    return vocab_size


loss_of = Exercise(
    "00",
    "a minute",
    "loss_of(given): from the list of the probabilities that a model gave to the tokens that came to its loss: the "
    "mean of minus the natural logarithm of each.",
    hints=[
        "What does a single probability of 1/2 cost? -math.log(0.5), about 0.69.",
        "Which comes first, the logarithm or the mean? Each token has its own cost.",
        "Add up the costs of all tokens, and divide by how many they are.",
    ],
)


@loss_of.cases
def _() -> Iterator[tuple[list[float]]]:
    yield ([0.5],)
    yield ([0.5, 0.25],)
    yield ([1.0, 0.5, 0.01],)


@loss_of.answer
def _(given: list[float]) -> float:
    return -sum(map(math.log, given)) / len(given)


@loss_of.mistake(
    "you take the mean of the probabilities first, and then the logarithm. In that way a token that the model found "
    "nearly impossible costs too little."
)
def mean_first(given: list[float]) -> float:
    return -math.log(sum(given) / len(given))


@loss_of.mistake("that is the sum of the costs. It grows with the length of the text; the loss is their mean.")
def added_up(given: list[float]) -> float:
    return -sum(map(math.log, given))


@loss_of.mistake(
    "the loss comes out below 0: the logarithm of a probability is negative, and the loss is minus the mean of them."
)
def no_minus(given: list[float]) -> float:
    return sum(map(math.log, given)) / len(given)


@loss_of.mistake("you count in bits, with logarithms to base 2. The loss of this page is in nats.")
def to_base_two(given: list[float]) -> float:
    return -sum(map(math.log2, given)) / len(given)


@loss_of.mistake(
    "that is how much was missing to a probability of 1, in the mean. Without a logarithm even 0 costs no more than 1."
)
def missing_to_one(given: list[float]) -> float:
    return sum(1 - p for p in given) / len(given)


Model = Callable[[list[int]], int]


def _counts_on(window: list[int]) -> int:
    """lambda window: window[-1] + 1"""
    return window[-1] + 1


def _length(window: list[int]) -> int:
    """len"""
    return len(window)


def _adds_up(window: list[int]) -> int:
    """lambda window: sum(window) % 10"""
    return sum(window) % 10


def _typed(ids: Any, model: Model, length: int, block_size: int) -> str:
    return f"{ids}, {model.__doc__}, {length}, {block_size}"


go_on_writing = Exercise(
    "00",
    "ten minutes",
    "go_on_writing(ids, model, length, block_size): from the ids of a prompt to those of the prompt and of the "
    "`length` tokens that the model writes after it. model is a function from a list of ids, a window, to the next id. "
    "It must be given all ids so far, or, where they are more than block_size, the last block_size of them.",
    hints=[
        "Take the model `lambda window: window[-1] + 1`, which counts on. Where does it stop counting?",
        "Print the window in each turn of the loop. Which ids does the model read when there are more than block_size?",
        "The window must move along with the text. Which slice of a list is its end?",
    ],
    planted=True,
    gives=_typed,
)


@go_on_writing.cases
def _() -> Iterator[tuple[list[int], Model, int, int]]:
    yield [1], _counts_on, 4, 3
    yield [7, 7], _length, 4, 3
    yield [1, 2, 3, 4, 5], _adds_up, 5, 2


def _written(ids: list[int], model: Model, length: int, window: Callable[[list[int]], list[int]]) -> list[int]:
    ids = list(ids)
    for _ in range(length):
        ids.append(model(window(ids)))
    return ids


@go_on_writing.answer
def _(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids[-block_size:])


@go_on_writing.mistake(
    "as long as the text fits into the window, all is well; then the same id comes again and again. Print what the "
    "model is given in each turn: does it change?"
)
def as_planted(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids[:block_size])


@go_on_writing.mistake(
    "the model is given more than block_size ids. A real one has no vector for a place so far out, and stops with an "
    "error."
)
def not_cut(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids)


@go_on_writing.mistake("the model is given a single id, the last one: it has forgotten all that came before.")
def last_id_only(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids[-1:])


@go_on_writing.mistake(
    "the window is right, but the beginning of the text is lost: it is the window that is cut, not the text itself."
)
def text_is_cut(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    for _ in range(length):
        ids = ids[-block_size:]
        ids = [*ids, model(ids)]
    return ids


@go_on_writing.mistake("only the new ids come back: those of the prompt belong before them.")
def new_ids_only(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids[-block_size:])[len(ids) :]


@go_on_writing.mistake("the window moves, but it is one id too short: the model may read block_size ids.")
def one_too_short(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return _written(ids, model, length, lambda ids: ids[-block_size + 1 :])


@go_on_writing.mistake("the model always reads the prompt and never what it has written itself.")
def prompt_only(ids: list[int], model: Model, length: int, block_size: int) -> list[int]:
    return [*ids, *(model(ids[-block_size:]) for _ in range(length))]
