"""Chapter 01."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np


def pairs_by_place(words):
    counts = {}
    for word in words:
        for i in range(1, len(word)):
            pair = word[i - 1], word[i]
            counts[pair] = counts.get(pair, 0) + words[word]
    return counts


def pairs_of_repeated_words(words):
    counts = defaultdict(float)
    for pair, count in Counter(pair for word in words for _ in range(words[word]) for pair in pairwise(word)).items():
        counts[pair] = float(count)
    return counts


def joined_in_place(pieces, pair):
    i = 0
    while i + 1 < len(pieces):
        if (pieces[i], pieces[i + 1]) == pair:
            pieces[i] += pieces.pop(i + 1)
        i += 1


def joined_to_what_was_read(pieces, pair):
    out, free = [], False
    for piece in pieces:
        if free and (out[-1], piece) == pair:
            out[-1] += piece
            free = False
        else:
            out.append(piece)
            free = True
    return tuple(out)


def cut_by_the_earliest(word, merges):
    pieces = tuple(word)
    while known := [pair for pair in pairwise(pieces) if pair in merges]:
        pieces = joined_to_what_was_read(pieces, min(known, key=merges.index))
    return list(pieces)


def cut_by_marks(word, merges):
    text = "|" + "|".join(word) + "|"
    for left, right in merges:
        text = text.replace(f"|{left}|{right}|", f"|{left}{right}|")
        text = text.replace(f"|{left}|{right}|", f"|{left}{right}|")
    return text.strip("|").split("|")


def ids_by_loop(text, ids):
    out = []
    for character in text:
        try:
            out.append(ids[character])
        except KeyError:
            out += character.encode("utf-8")
    return out


def ids_in_numpy(text, ids):
    parts = [np.array([ids[c]]) if c in ids else np.frombuffer(c.encode(), np.uint8) for c in text]
    return np.concatenate(parts)


def bits_by_log2(loss, n_tokens, text):
    return n_tokens * math.log2(math.exp(loss)) / len(text.encode("utf-8"))


def bits_of_bytes_counted_one_by_one(loss, n_tokens, text):
    size = sum(1 if ord(c) < 0x80 else 2 if ord(c) < 0x800 else 3 if ord(c) < 0x10000 else 4 for c in text)
    return np.float32(loss / size / math.log(2) * n_tokens)


def shown_up_to_the_cut(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        try:
            cut = len(waiting)
            waiting.decode()
        except UnicodeDecodeError as error:
            cut = error.start
        shown.append(waiting[:cut].decode())
        waiting = waiting[cut:]
    return shown


def shown_by_counting_bytes(tokens):
    """The first byte of a character says how many it has."""
    shown, waiting = [], []
    for token in tokens:
        shown.append("")
        for byte in token:
            waiting.append(byte)
            size = 1 if waiting[0] < 0x80 else 2 if waiting[0] < 0xE0 else 3 if waiting[0] < 0xF0 else 4
            if len(waiting) == size:
                shown[-1] += bytes(waiting).decode()
                waiting = []
    return shown


def shown_without_marks(tokens):
    shown, done = [], ""
    for i in range(1, len(tokens) + 1):
        text = b"".join(tokens[:i]).decode("utf-8", errors="replace").rstrip("\ufffd")
        shown.append(text[len(done) :])
        done = text
    return tuple(shown)


RIGHT = {
    "count_pairs": [pairs_by_place, pairs_of_repeated_words],
    "join_pair": [joined_in_place, joined_to_what_was_read],
    "cut_word": [cut_by_the_earliest, cut_by_marks],
    "ids_with_bytes": [ids_by_loop, ids_in_numpy],
    "bits_per_byte": [bits_by_log2, bits_of_bytes_counted_one_by_one],
    "shown_as_it_comes": [shown_up_to_the_cut, shown_by_counting_bytes, shown_without_marks],
}
