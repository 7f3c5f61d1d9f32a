"""A language of which everything is known: how probable each next letter is, and so its entropy, below which no model's loss can
stay."""

import bisect

import numpy as np
import torch
from torch import Tensor

LETTERS = "aeionrtslhdmukbg"
FORM = 0.95  # of a probability is drawn for its context, the rest is that of the shorter one: no letter is impossible


class Language:
    """Text in which the next letter depends on the last `order` letters alone (a Markov chain, as Shannon made text in 1948).
    The probabilities after a context are drawn at random around those after the context without its first letter, so that
    each letter farther back says something more, and less than the one before; `near` says how close they stay (a
    hierarchy of Dirichlet distributions: MacKay and Peto 1995). All of that is drawn once, from `seed`.

    >>> language = Language(order=2)
    >>> language.draw(30, seed=1)
    'demsnsmtadihutotihesmtsgmrradi'
    >>> round(language.entropy, 3)  # nats per letter
    1.583
    """

    def __init__(self, order: int = 4, near: float = 6.0, seed: int = 0):
        if not 1 <= order <= 5:
            raise ValueError(f"order={order} must be between 1 and 5: there are {len(LETTERS)}**order contexts")
        random, self.order = np.random.default_rng(seed), order
        frequent = 1 / np.arange(3.0, 3 + len(LETTERS))  # Zipf's law, in Mandelbrot's form
        self.chain = (frequent / frequent.sum())[None]  # (contexts, V): how probable each next letter is
        for _ in range(order):
            shorter = np.tile(self.chain, (len(LETTERS), 1))
            drawn = random.standard_gamma(near * shorter) + 1e-12
            self.chain = FORM * drawn / drawn.sum(1, keepdims=True) + (1 - FORM) * shorter
        self.shares = np.full(len(self.chain), 1 / len(self.chain))  # how often each context is met, in the long run
        for _ in range(200):
            self.shares = (self.shares[:, None] * self.chain).reshape(len(LETTERS), -1).sum(0)

    @property
    def entropy(self) -> float:
        """The entropy rate in nats per letter (Shannon 1948): the mean surprise of who knows all probabilities."""
        return self.entropies()[-1]

    def entropies(self) -> list[float]:
        """The loss of who knows all probabilities but sees the last 0, 1, 2, ... `order` letters only, in nats per letter.

        >>> [round(loss, 2) for loss in Language(order=2).entropies()]
        [2.6, 1.91, 1.58]
        """
        return [float(-(both * np.log(both / both.sum(1, keepdims=True))).sum()) for both in self._together()]

    def _together(self) -> list[np.ndarray]:
        """For contexts of 0 to `order` letters: how often each is met with each next letter, (V**k, V)."""
        both = self.shares[:, None] * self.chain
        return [both.reshape(-1, len(LETTERS) ** k, len(LETTERS)).sum(0) for k in range(self.order + 1)]

    def draw(self, characters: int, seed: int) -> str:
        """Text of so many letters; another seed, another text."""
        random, upto = np.random.default_rng(seed), self.chain.cumsum(1).tolist()
        context, drawn = int(random.choice(len(upto), p=self.shares)), []
        for number in random.random(characters):
            letter = min(bisect.bisect(upto[context], number), len(LETTERS) - 1)
            drawn.append(LETTERS[letter])
            context = (context * len(LETTERS) + letter) % len(upto)
        return "".join(drawn)

    def losses(self, windows: list[str]) -> Tensor:
        """The loss of a reader who knows the language, and nothing of what stands before a window: (B, T) in nats, of each letter
        of B windows of T letters. Nothing that reads the same windows can expect a lower one.

        >>> Language(order=2).losses(["tretbot"]).shape
        torch.Size([1, 7])
        """
        tables = [torch.from_numpy(both / both.sum(1, keepdims=True)) for both in self._together()]
        number = {letter: i for i, letter in enumerate(LETTERS)}
        ids = torch.tensor([[number[letter] for letter in window] for window in windows])  # (B, T)
        context, losses = torch.zeros(len(windows), dtype=torch.long), []
        for place, letter in enumerate(ids.T):
            losses.append(-tables[min(place, self.order)][context, letter].log())
            context = (context * len(LETTERS) + letter) % len(LETTERS) ** min(place + 1, self.order)
        return torch.stack(losses, 1)


def floor(language: Language, text: str, window: int) -> float:
    """The mean loss, in nats per letter, of that reader over windows of a text side by side, each of whose first letters is
    given, as `evaluate` measures a model.

    >>> language = Language(order=2)
    >>> floor(language, language.draw(10_000, seed=2), window=64) > language.entropy    # doctest: +SKIP
    True
    """
    windows = [text[i : i + window + 1] for i in range(0, len(text) - window, window)]
    return language.losses(windows)[:, 1:].mean().item()
