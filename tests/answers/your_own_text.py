"""Chapter 13."""

import math
import re


def clean_by_lines(raw):
    text = raw.decode("utf-8")
    text = text[1:] if text[:1] == "\ufeff" else text
    return re.sub(r"\r\n?", "\n", text)


def clean_by_bytes(raw):
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    return b"\n".join(b"\n".join(raw.split(b"\r\n")).split(b"\r")).decode()


def unseen_by_set(train, val):
    known, unseen = set(train), 0
    for letter in val:
        unseen += letter not in known
    return unseen / len(val)


def unseen_by_kinds(train, val):
    return sum(val.count(kind) for kind in set(val) - set(train)) / len(val)


def copied_by_sets(train, val, n):
    pieces = list(map("".join, zip(*(val[i:] for i in range(n)), strict=False)))
    known = {train[i : i + n] for i in range(len(train))}
    return sum(piece in known for piece in pieces) / len(pieces) if pieces else 0


def copied_by_loop(train, val, n):
    found = total = 0
    for start in range(len(val)):
        if start + n > len(val):
            break
        total += 1
        found += train.find(val[start : start + n]) >= 0
    return 0.0 if total == 0 else found / total


def steps_by_counting(seconds, step, evaluation, every, tokens, batch, window, readings):
    spent, steps = 0.0, 0
    while True:
        spent += step
        if (steps + 1) % every == 0:
            spent += evaluation
        if spent > seconds or (steps + 1) * batch * window > readings * tokens:
            return steps
        steps += 1


def steps_by_searching(seconds, step, evaluation, every, tokens, batch, window, readings):
    most = math.floor(readings * tokens / (batch * window))
    fit = [n for n in range(most + 1) if n * step + (n // every) * evaluation <= seconds]
    return float(max(fit))


def corpus_by_pattern(pages):
    return "\n\n".join(page for page in pages if not re.match(r"\s*<(html|!doctype html)", page, re.IGNORECASE))


def corpus_by_loop(pages):
    text = ""
    for page in pages:
        start = page.lstrip()[:14].upper()
        if start.startswith("<HTML") or start == "<!DOCTYPE HTML":
            continue
        text += ("\n\n" if text else "") + page
    return text


def corpus_by_removing(pages):
    for page in list(pages):
        start = " ".join(page.split()).casefold()
        if start[:5] == "<html" or start[:14] == "<!doctype html":
            pages.remove(page)
    return "\n\n".join(pages)


RIGHT = {
    "clean_text": [clean_by_lines, clean_by_bytes],
    "unseen_share": [unseen_by_set, unseen_by_kinds],
    "copied_share": [copied_by_sets, copied_by_loop],
    "steps_that_fit": [steps_by_counting, steps_by_searching],
    "corpus_of": [corpus_by_pattern, corpus_by_loop, corpus_by_removing],
}
