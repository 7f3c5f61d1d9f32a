"""From logits to text: change the distribution, draw from it, append, repeat.

The functions on logits take and return shape (B, V). They are applied in one order, the one of `shape_logits`:
penalties, temperature, top-k, top-p, min-p. A removed token has the logit -inf. Ties go to the lower id.
"""

import codecs
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .checks import check_finite, check_knob, check_logits, check_prompt
from .config import check_whole
from .decoding import Decoder, can_decode, choose
from .model import GPT, evaluating
from .tokenizer import Coder, check_sizes


def penalize(logits: Tensor, ids: Tensor, frequency: float, presence: float) -> Tensor:
    """Subtract count x `frequency`, and once more `presence` from each token that occurs in `ids` (B, N) at all.

    This is the definition of OpenAI's API. What counts is what was generated, all of it, beyond the window too, not the
    prompt. Negative penalties reward repetition. Where a result would be larger than the largest number, it is that one.

    >>> penalize(torch.tensor([[5.0, 5.0, 5.0]]), torch.tensor([[0, 0, 1]]), frequency=0.5, presence=1.0)
    tensor([[3.0000, 3.5000, 5.0000]])
    """
    check_logits(logits, "(B, V)")
    (B, V), known = logits.shape, isinstance(ids, Tensor) and ids.dtype == torch.int64 and ids.dim() == 2
    if not known or len(ids) != B or (ids.numel() and not 0 <= ids.min() <= ids.max() < V):
        given = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise ValueError(
            f"ids must be int64 of shape (B, N) for logits (B, V) = ({B}, {V}), from 0 to {V - 1}, not {given}"
        )
    check_knob("frequency_penalty", frequency, -math.inf, math.inf)
    check_knob("presence_penalty", presence, -math.inf, math.inf)
    exact = logits.double()
    counts = torch.zeros_like(exact).scatter_add_(1, ids, torch.ones_like(ids, dtype=exact.dtype))  # (B, V)
    most = torch.finfo(logits.dtype).max
    penalised = (exact - (counts * float(frequency) + counts.clamp(max=1) * float(presence))).clamp(-most, most)
    return torch.where(logits.isinf(), exact, penalised).type_as(logits)  # what was removed stays removed


def scale_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by `temperature`: below 1 the likely tokens gain, above 1 the unlikely ones. At 0 only the most likely
    token stays, the limit of the division; below 1e-6 likewise. Where the division would overflow, the most likely token is
    moved to 0 first, which changes no probability.

    >>> scale_temperature(torch.tensor([[2.0, 1.0, 0.0]]), 0.5)
    tensor([[4., 2., 0.]])
    """
    check_logits(logits, "(B, V)")
    check_knob("temperature", temperature, 0, math.inf)
    if temperature <= 1e-6:
        best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[1]).bool()  # (B, V), found without sorting
        return logits.masked_fill(~best, -math.inf)
    scaled = (logits.double() / float(temperature)).type_as(logits)
    if torch.equal(scaled.isinf(), logits.isinf()):
        return scaled
    return ((logits.double() - logits.double().amax(dim=-1, keepdim=True)) / float(temperature)).type_as(logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep exactly the `k` most likely tokens; a k above the vocabulary keeps all.

    >>> keep_top_k(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), 2)
    tensor([[-inf, 3., 2., -inf]])
    """
    check_logits(logits, "(B, V)")
    check_whole("top_k", k, least=1)
    order = logits.argsort(dim=-1, descending=True, stable=True)  # (B, V), ties to the lower id
    return logits.scatter(1, order[:, min(k, order.shape[1]) :], -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose probability reaches `p`, the one that crosses it included:
    nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751). Cumulated in float64; p = 1 changes nothing.

    >>> keep_top_p(torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log(), 0.7).exp()
    tensor([[0.5000, 0.2500, 0.0000, 0.0000]])
    """
    check_logits(logits, "(B, V)")
    check_knob("top_p", p, 0, 1, low_included=False)
    if p == 1:
        return logits
    order = logits.argsort(dim=-1, descending=True, stable=True)  # (B, V)
    probabilities = logits.double().softmax(dim=-1).gather(1, order)  # (B, V), falling
    before = probabilities.cumsum(dim=-1) - probabilities  # what the likelier tokens hold together
    return logits.masked_fill(torch.zeros_like(order, dtype=torch.bool).scatter(1, order, before >= p), -math.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens whose probability is at least `p` times that of the most likely one (Nguyen et al. 2024,
    arXiv:2407.01082); p = 0 changes nothing.

    >>> keep_min_p(torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log(), 0.4).exp()
    tensor([[0.5000, 0.2500, 0.0000, 0.0000]])
    """
    check_logits(logits, "(B, V)")
    check_knob("min_p", p, 0, 1)
    if p == 0:
        return logits
    probabilities = logits.double().softmax(dim=-1)
    return logits.masked_fill(probabilities < p * probabilities.max(dim=-1, keepdim=True).values, -math.inf)


def shape_logits(
    logits: Tensor,
    generated: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
) -> Tensor:
    """All of the above in their order: the logits (B, V) to draw from, given what was generated so far (B, N).

    >>> shape_logits(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0]]), temperature=0.5, top_k=2, presence_penalty=1.0)
    tensor([[2., 2., -inf]])
    """
    if frequency_penalty != 0 or presence_penalty != 0:
        logits = penalize(logits, generated, frequency_penalty, presence_penalty)
    logits = scale_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    return keep_min_p(keep_top_p(logits, top_p), min_p)


class Mulberry32:
    """Random numbers that every language and device can repeat: Tommy Ettinger's mulberry32, 32 bits of state.

    >>> Mulberry32(1).uniform()
    0.6270739405881613
    """

    def __init__(self, seed: int):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2**32 - 1")
        self.state = seed

    def uniform(self) -> float:
        """The next number in [0, 1), a multiple of 2**-32."""
        bits = 0xFFFFFFFF
        self.state = (self.state + 0x6D2B79F5) & bits
        t = self.state
        t = (t ^ (t >> 15)) * (t | 1) & bits
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & bits)) & bits
        return (t ^ (t >> 14)) / 2**32


def draw(logits: Tensor, u: float) -> int:
    """The token at which the cumulated probability of `logits` (V,) first exceeds `u` in [0, 1), in float64. Logits that leave
    nothing to draw are a `ValueError`.

    >>> [draw(torch.tensor([0.5, 0.25, 0.25]).log(), u) for u in (0.0, 0.49, 0.51, 0.99)]
    [0, 0, 1, 2]
    """
    check_logits(logits, "(V,)")
    if not logits.max().isfinite():
        raise ValueError(f"there is no token to draw: the largest logit is {logits.max().item()}")
    weights = (logits.double() - logits.max()).exp()  # (V,)
    cumulated = weights.cumsum(dim=0)
    # Should u be 1 all the same: the last token that can be drawn at all.
    return min(int(torch.searchsorted(cumulated, u * cumulated[-1], right=True)), int(weights.nonzero()[-1]))


@torch.no_grad()
def generate(
    model: GPT,
    ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    seed: int = 42,  # seed 0 draws 0.0003 second: nearly always id 0, the end of the text
    cache: bool = True,
) -> Iterator[int]:
    """Continue the prompt `ids`, one token id at a time; the model's end token is yielded and ends the text.

    The model sees at most block_size tokens: of a longer prompt the last ones, and when the window is full,
    generation keeps the last block_size // 2 tokens and goes on from these. With `cache` only new tokens are computed, one
    at a time and in numpy where `can_decode`; the distribution is the same.

    >>> list(generate(model, tokenizer.encode("Mina "), 3, temperature=0))              # doctest: +SKIP
    [26, 10, 9]
    """
    config = model.config
    check_whole("max_new_tokens", max_new_tokens, least=0)
    window = check_prompt(ids, config.vocab_size)[-config.block_size :]
    knobs = dict(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
    )
    random = Mulberry32(seed)
    generated: list[int] = []
    counts = np.zeros(config.vocab_size)  # how often each token was generated
    kv_cache, fresh = None, window
    decoder, decodes = None, cache and can_decode(model)
    for _ in range(max_new_tokens):
        if cache and kv_cache is None:
            kv_cache = model.new_cache()
        u = random.uniform()
        if decodes and kv_cache is not None and generated and len(fresh) == 1:
            decoder = decoder or Decoder(model)
            row = decoder.step(fresh[0], kv_cache)  # (V,)
            check_finite(bool(np.isfinite(row).all()))
            token = choose(row, counts, u, **knobs)  # type: ignore[arg-type]
        else:
            x = torch.tensor([fresh if cache else window], device=model.device)  # (1, T)
            with evaluating(model):  # in between, the caller's own mode
                logits = model(x, cache=kv_cache)[0][:, -1].cpu().double()  # (1, V)
            check_finite(bool(logits.isfinite().all()))
            logits = shape_logits(logits, torch.tensor([generated], dtype=torch.long), **knobs)  # type: ignore[arg-type]
            token = draw(logits[0], u)
        yield token
        if token == config.end_id:
            return
        generated.append(token)
        counts[token] += 1
        window, fresh = [*window, token], [token]
        if len(window) > config.block_size:
            window = window[-max(1, config.block_size // 2) :]
            kv_cache, fresh = None, window


def stream(
    model: GPT,
    tokenizer: Coder,
    prompt: str | Sequence[int],
    max_new_tokens: int = 500,
    *,
    stop: Sequence[str] = (),
    **knobs: float | int | bool | None,
) -> Iterator[str]:
    """Continue `prompt`, a text or its ids, with text, piece by piece, as soon as a piece is certain; `knobs` are those of
    `generate`.

    Ends before the first of the `stop` strings, before the end token, or after `max_new_tokens`. Held back are half
    characters (bytes that wait for the next token) and what may yet become a stop string. An empty prompt begins a text.

    >>> print("".join(stream(model, tokenizer, "Mina ", stop=["."])))                   # doctest: +SKIP
    lit the lamp
    """
    check_sizes(tokenizer, model.config.vocab_size)
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) for text in stops):
        raise ValueError(f"stop={stop!r} must be a string, or a list or tuple of strings")
    if "" in stops:
        raise ValueError("a stop string is empty: every text would end at once")
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    ids = (tokenizer.encode(prompt) if isinstance(prompt, str) else prompt) or [tokenizer.end_id]
    held = ""
    tokens = generate(model, ids, max_new_tokens, **knobs)  # type: ignore[arg-type]
    while True:
        token = next(tokens, tokenizer.end_id)
        ended = token == tokenizer.end_id
        held += decoder.decode(b"" if ended else tokenizer.token_bytes[token], final=ended)
        found = [(held.index(s) + len(s), held.index(s)) for s in stops if s in held]
        if found or ended:
            if text := held[: min(found)[1] if found else None]:
                yield text
            return
        safe = len(held) - max((_overlap(held, s) for s in stops), default=0)
        if safe:
            yield held[:safe]
            held = held[safe:]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
