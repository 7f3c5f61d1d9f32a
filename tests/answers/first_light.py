"""Chapter 00."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def by_dictionary(text, vocab):
    number = {letter: i for i, letter in enumerate(vocab)}
    ids = []
    for letter in text:
        ids.append(number[letter])
    return torch.tensor(ids)


def by_searching(text, vocab):
    return tuple(i for letter in text for i, known in enumerate(vocab) if known == letter)


def grown_letter_by_letter(ids, vocab):
    text = ""
    for i in ids:
        text += vocab[i]
    return text


def mapped(ids, vocab):
    return "".join(map(dict(enumerate(vocab)).get, ids))


def by_tensor(window):
    window = torch.tensor(window)
    return window[:-1], window[1:]


def by_pairs(window):
    x, y = [], []
    for t in range(len(window) - 1):
        x.append(window[t])
        y.append(window[t + 1])
    return [x, y]


def surprise_at_an_equal_share(vocab_size):
    return -math.log(1 / vocab_size)


def by_cross_entropy(vocab_size):
    return F.cross_entropy(torch.zeros(1, vocab_size), torch.tensor([0]))


def loss_in_numpy(given):
    return -np.log(np.array(given, dtype=np.float32)).mean()


def loss_of_the_product(given):
    return math.log(1 / math.prod(given)) / len(given)


def in_place(ids, model, length, block_size):
    while length > 0:
        ids.append(model(ids[max(0, len(ids) - block_size) :]))
        length -= 1


def with_a_moving_window(ids, model, length, block_size):
    window, written = ids[-block_size:], []
    for _ in range(length):
        written.append(model(window))
        window = (window + written[-1:])[-block_size:]
    return ids + written


RIGHT = {
    "letters_to_ids": [by_dictionary, by_searching],
    "ids_to_letters": [grown_letter_by_letter, mapped],
    "window_to_x_y": [by_tensor, by_pairs],
    "blind_loss": [surprise_at_an_equal_share, by_cross_entropy],
    "loss_of": [loss_in_numpy, loss_of_the_product],
    "go_on_writing": [in_place, with_a_moving_window],
}
