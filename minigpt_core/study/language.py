"""A language of which everything is known: its words, which of them follow which and how often, and so its entropy, below
which no model's loss can stay."""

import itertools

import numpy as np
import torch
from torch import Tensor

CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aeiou"
SHORT = 20  # words of one syllable; a fifth of all words have up to two, the others three
FOLLOWERS = 20  # words that a word has for itself, to go on with


class Language:
    """Words of one to three syllables, each with a space after it. A Markov chain of words: the next word depends on this one
    alone. In `favour` of the cases it is one of this word's own followers, else any word; in both, low ranks are frequent
    (Zipf's law). All of that is drawn once, from `seed`.

    >>> language = Language(words=100)
    >>> language.draw(20, seed=1)
    'le pibile gi vurike '
    >>> round(language.entropy, 3)  # nats per character
    0.646
    """

    def __init__(self, words: int = 2000, favour: float = 0.8, seed: int = 0):
        if words < FOLLOWERS or words - SHORT > 30_000:
            raise ValueError(f"words={words} must be between {FOLLOWERS} and 30,000")
        random = np.random.default_rng(seed)
        syllables = [c + v for c in CONSONANTS for v in VOWELS]
        self.words: list[str] = []
        for n, end in ((1, SHORT), (2, words // 5), (3, words)):
            count = max(0, end - len(self.words))
            chosen = random.choice(len(syllables) ** n, count, replace=False)
            every = list(itertools.product(syllables, repeat=n)) if count else []
            self.words += ["".join(every[i]) + " " for i in chosen]
        zipf = 1 / (np.arange(words) + 2.7)
        zipf /= zipf.sum()
        ranks = 1 / np.arange(1, FOLLOWERS + 1)
        own = np.zeros((words, words))
        for row in own:
            row[random.choice(words, FOLLOWERS, replace=False, p=zipf)] = ranks / ranks.sum()
        self.chain = favour * own + (1 - favour) * zipf  # (W, W): how probable each next word is
        self.shares = zipf  # (W,): how much of all words each is, in the long run
        for _ in range(100):
            self.shares = self.shares @ self.chain

    @property
    def entropy(self) -> float:
        """The entropy rate in nats per character (Shannon 1948): that of the choice of the next word, divided by how long a word is
        on average. Spelling adds nothing, as spaces tell where each word ends."""
        of_rows = -(self.chain * np.log(self.chain)).sum(1)  # (W,)
        return float(self.shares @ of_rows / (self.shares @ [len(word) for word in self.words]))

    def draw(self, characters: int, seed: int) -> str:
        """Text of so many characters; another seed, another text."""
        random = np.random.default_rng(seed)
        upto = self.chain.cumsum(1)  # (W, W)
        word = int(random.choice(len(self.words), p=self.shares))
        drawn, length = [], 0
        while length < characters:
            drawn.append(self.words[word])
            length += len(drawn[-1])
            word = min(int(np.searchsorted(upto[word], random.random())), len(self.words) - 1)
        return "".join(drawn)[:characters]

    def losses(self, windows: list[str]) -> Tensor:
        """The loss of a reader who knows the language and nothing of what stands before a window: (B, T) in nats, of each
        character of B windows of T characters. Nothing that reads the same windows can expect a lower loss.

        In the long run it is the entropy, but a window begins anywhere, also within a word. What is known at each place is a
        probability for each place in each word, brought up to date by Bayes' rule (the forward algorithm of a hidden
        Markov model).

        >>> Language(words=100).losses(["va zi to "]).shape
        torch.Size([1, 9])
        """
        spelled = "".join(self.words)
        starts = torch.tensor([0, *itertools.accumulate(len(word) for word in self.words[:-1])])
        lengths = torch.tensor([len(word) for word in self.words])
        letters = torch.tensor([ord(c) for c in spelled])  # (S,), the letter of each place in each word
        chain, shares = (torch.from_numpy(a).float() for a in (self.chain, self.shares))
        read = torch.tensor([[ord(c) for c in window] for window in windows])  # (B, T)
        known = torch.repeat_interleave(shares / (shares @ lengths.float()), lengths).expand(len(windows), -1)  # (B, S)
        losses = []
        for now in read.T:
            fits = known * (letters == now[:, None])
            likely = fits.sum(1, keepdim=True)  # (B, 1): the probability of this letter
            losses.append(-likely.log())
            fits = fits / likely
            known = torch.zeros_like(fits)
            known[:, 1:] = fits[:, :-1]
            known[:, starts] = fits[:, starts + lengths - 1] @ chain  # a word has ended: which one comes
        return torch.cat(losses, 1)


def floor(language: Language, text: str, window: int, batch: int = 250) -> float:
    """The mean loss, in nats per character, of that reader over windows of a text side by side, each of whose first characters
    is given, as `evaluate` measures a model.

    >>> language = Language(words=100)
    >>> floor(language, language.draw(10_000, seed=2), window=64) > language.entropy    # doctest: +SKIP
    True
    """
    windows = [text[i : i + window + 1] for i in range(0, len(text) - window, window)]
    parts = [language.losses(windows[i : i + batch])[:, 1:] for i in range(0, len(windows), batch)]
    return torch.cat(parts).mean().item()
