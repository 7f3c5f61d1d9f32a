"""What size and text bring: the loss as a law of both, and how to divide a budget between them."""

import math
from dataclasses import asdict, dataclass

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
