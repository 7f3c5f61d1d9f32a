"""What size and text bring: the loss as a law of both, and how to divide a budget between them."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from ..config import check_number


@dataclass(frozen=True)
class Law:
    """The loss of a model of N parameters that has read D tokens: L(N, D) = E + A / N^alpha + B / D^beta. E is the floor, the
    entropy of the language if the form holds; the other terms are what size and text still cost, in nats per token. A number
    that makes no law is a `ValueError`. The form is that of Hoffmann and others (2022), arXiv:2203.15556, equation 2.

    >>> law = Law(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)                      # their own fit
    >>> round(law.loss(70e9, 1.4e12), 3)                                                # Chinchilla
    1.937
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check_number(name, value, 0, math.inf, low_included=name == "E")

    def loss(self, n_parameters: float, n_tokens: float) -> float:
        """Nats per token.

        >>> Law(E=1, A=10, alpha=0.5, B=100, beta=0.5).loss(100, 10_000)
        3.0
        """
        return self.E + self.A / n_parameters**self.alpha + self.B / n_tokens**self.beta

    def best(self, flops: float) -> tuple[float, float]:
        """The parameters and the tokens of lowest loss, of those with 6 N D = `flops`: where one more percent of size gains
        as much as one more percent of text.

        >>> Law(E=1, A=10, alpha=0.5, B=10, beta=0.5).best(6e12)                        # both worth the same
        (1000000.0, 1000000.0)
        """
        product, both = flops / 6, self.alpha + self.beta
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / both)
        return ratio * product ** (self.beta / both), product ** (self.alpha / both) / ratio


@dataclass(frozen=True)
class Fit:
    """A law, and how sure it is: the standard `errors` of its numbers, their `covariance` (in the order E, ln A, alpha, ln B,
    beta), and how far the measured losses lie from it (`miss`, root mean square, in nats per token)."""

    law: Law
    errors: dict[str, float]
    covariance: list[list[float]]
    miss: float

    def predict(self, n_parameters: float, n_tokens: float) -> tuple[float, float]:
        """The loss that the law expects, and the standard error of that: of the law's own numbers, and of one more run that
        lies as far from it as those that it was fitted to. In nats per token.

        >>> fit.predict(1e6, 4e6)                                                       # doctest: +SKIP
        (1.512, 0.011)
        """
        law = self.law
        of_size, of_text = law.A / n_parameters**law.alpha, law.B / n_tokens**law.beta
        slope = np.array([1, of_size, -of_size * math.log(n_parameters), of_text, -of_text * math.log(n_tokens)])
        return law.loss(n_parameters, n_tokens), math.sqrt(slope @ np.array(self.covariance) @ slope + self.miss**2)


def fit_law(runs: Iterable[tuple[float, float, float]]) -> Fit:
    """The law that fits best, by least squares (`scipy.optimize.curve_fit`), to runs of N parameters, D tokens and a loss each.
    Fewer than six runs, or of one size or one amount only, are a `ValueError`; so are losses that no law fits.

    >>> truth = Law(E=1, A=10, alpha=0.5, B=100, beta=0.5)
    >>> fit = fit_law((n, d, truth.loss(n, d)) for n in (1e4, 1e5, 1e6) for d in (1e5, 1e6, 1e7))
    >>> round(fit.law.alpha, 4), round(fit.law.beta, 4)
    (0.5, 0.5)
    """
    from scipy.optimize import curve_fit

    sizes, tokens, losses = (np.array(column, dtype=float) for column in zip(*runs, strict=True))
    if len(losses) < 6 or len(set(sizes)) < 2 or len(set(tokens)) < 2:
        raise ValueError(f"a law has five numbers: {len(losses)} runs do not settle it; give more sizes and amounts")
    log_sizes, log_tokens = np.log(sizes / sizes.mean()), np.log(tokens / tokens.mean())

    def law(_: object, E: float, a: float, alpha: float, b: float, beta: float) -> np.ndarray:
        return E + np.exp(a - alpha * log_sizes) + np.exp(b - beta * log_tokens)

    spread = float(losses.max() - losses.min())
    low = [0.0, -20.0, 0.01, -20.0, 0.01]
    high = [float(losses.min()), 5.0, 3.0, 5.0, 3.0]
    start = [0.7 * float(losses.min()), math.log(spread / 4), 0.4, math.log(spread / 4), 0.4]
    try:
        found, covariance = curve_fit(law, None, losses, start, bounds=(low, high), max_nfev=20_000)
    except RuntimeError:
        raise ValueError("no law of this form fits these losses") from None
    E, a, alpha, b, beta = map(float, found)
    back = np.eye(5)  # ln A = a + alpha ln(mean size): from the numbers as fitted to those of the law
    back[1, 2], back[3, 4] = math.log(sizes.mean()), math.log(tokens.mean())
    covariance = back @ covariance @ back.T
    A, B = math.exp(a + alpha * math.log(sizes.mean())), math.exp(b + beta * math.log(tokens.mean()))
    deviation = np.sqrt(np.diag(covariance))
    errors = dict(zip(("E", "A", "alpha", "B", "beta"), deviation * [1, A, 1, B, 1], strict=True))
    miss = math.sqrt(((law(None, *found) - losses) ** 2).sum() / (len(losses) - 5))
    return Fit(Law(E, A, alpha, B, beta), errors, covariance.tolist(), miss)
