"""Looking into a model while it reads: what normal use computes and throws away."""

from typing import cast

import torch
from torch import Tensor

from ..attention import CausalSelfAttention, attention_weights
from ..checks import check_idx
from ..config import check_whole
from ..data import check_ids
from ..layers import Block, FeedForward
from ..model import GPT, evaluating
from ..tokenizer import Coder


@torch.no_grad()
def attention_maps(model: GPT, idx: Tensor) -> Tensor:
    """The attention weights of every layer and head for ids (B, T): shape (n_layer, B, n_head, T, T), rows sum to 1, on
    the model's device. What is no ids of the model, and a model without attention in some layer, is a `ValueError`.

    >>> attention_maps(model, torch.tensor([[5, 6, 7]])).shape                          # doctest: +SKIP
    torch.Size([4, 1, 4, 3, 3])
    """
    check_idx("idx", idx, "(B, T)", model.config.vocab_size)
    attentions = [module for module in model.modules() if isinstance(module, CausalSelfAttention)]
    if len(attentions) < model.config.n_layer:
        raise ValueError(
            f"only {len(attentions)} of the model's {model.config.n_layer} layers have attention: "
            "there is no map of the others"
        )
    maps: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: maps.append(module.weights(inputs[0])))
        for module in attentions
    ]
    try:
        with evaluating(model):
            model(idx.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)


@torch.no_grad()
def inner_values(model: GPT, ids: Tensor, layer: int) -> dict[str, Tensor]:
    """What `model` computes for the ids (T,) of one text on the way to its logits, inside the block `layer`, as hooks
    see it, on the model's device. By the names of the modules: token_embedding, position_embedding, norm1, query, key,
    value, attention, norm2, feed_forward and norm are (T, C), widen is (T, 4 C), logits are (T, V). joined is what the
    heads found, side by side, (T, C); products, (H, T, T), are queries times keys, before scale and mask, and weights,
    (H, T, T), what becomes of them. The stream, (T, C), is `entering` the block, `between` its two parts, `leaving` it,
    and `stream` after the last block. What is no plain GPT, no ids of it, or no layer of it, is a `ValueError`.

    >>> model = GPT(GPTConfig(11, n_layer=1, n_head=2, n_embd=8))
    >>> inner_values(model, torch.tensor([5, 6, 7]), layer=0)["weights"].shape
    torch.Size([2, 3, 3])
    """
    if type(model) is not GPT:
        raise ValueError(f"only the plain GPT is taken apart here, not a {type(model).__name__}")
    check_ids("ids", ids, model.config.vocab_size)
    if not 0 <= layer < model.config.n_layer:
        raise ValueError(f"layer={layer} is none of the model's {model.config.n_layer} layers: they count from 0")
    block = cast(Block, model.blocks[layer])
    attention, inner = block.attention, {}
    if not (isinstance(attention, CausalSelfAttention) and isinstance(block.feed_forward, FeedForward)):
        raise ValueError(f"layer {layer} of the model lacks attention or feed-forward: there is nothing to take apart")
    outputs = {
        "token_embedding": model.token_embedding,
        "position_embedding": model.position_embedding,
        "norm1": block.norm1,
        "query": attention.query,
        "key": attention.key,
        "value": attention.value,
        "attention": attention,
        "norm2": block.norm2,
        "widen": block.feed_forward.widen,
        "feed_forward": block.feed_forward,
        "leaving": block,
        "norm": model.norm,
        "logits": model.head,
    }
    inputs = {"entering": block.norm1, "joined": attention.output, "between": block.norm2, "stream": model.norm}

    def keep(name: str, numbers: Tensor) -> None:
        inner[name] = numbers.reshape(len(ids), -1).clone()

    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, part in outputs.items()
    ]
    hooks += [
        part.register_forward_pre_hook(lambda _, given, name=name: keep(name, given[0]))
        for name, part in inputs.items()
    ]
    try:
        with evaluating(model):
            model(ids[None].to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    q, k = (attention.split_heads(inner[name][None])[0] for name in ("query", "key"))  # (H, T, D)
    return inner | {"products": q @ k.transpose(-2, -1), "weights": attention_weights(q[None], k[None])[0]}


@torch.no_grad()
def token_probabilities(model: GPT, ids: Tensor, stride: int | None = None, window: int | None = None) -> Tensor:
    """The probability that the model gives to each token of `ids` (N,) but the first: shape (N - 1,), float64, on the
    CPU. Every token is predicted once, `stride` of them in one window that ends with them, so that behind each stand at
    least window - stride others, where the text has so many. The window is the whole block_size unless you say less, and the
    stride by default an eighth of it: in windows side by side, as `evaluate` cuts them, the first tokens of each have little
    past, while a count beside it always sees its whole context.

    >>> token_probabilities(model, torch.tensor([5, 6, 7])).shape                       # doctest: +SKIP
    torch.Size([2])
    """
    T = model.config.block_size if window is None else window
    check_ids("ids", ids, model.config.vocab_size)
    check_whole("window", T, least=1)
    if model.config.block_size < T:
        raise ValueError(f"window={T} is more than the model's block_size={model.config.block_size}")
    stride = max(1, T // 8) if stride is None else stride
    check_whole("stride", stride, least=1)
    if stride > T:
        raise ValueError(f"stride={stride} is more than the window of {T} tokens: no window holds so many predictions")
    found = []
    with evaluating(model):
        for start in range(0, len(ids) - 1, stride):
            end = min(start + stride, len(ids) - 1)
            first = max(0, end - T)
            logits, _ = model(ids[None, first:end].to(model.device))  # (1, at most T, V)
            p = logits[0, start - first :].double().softmax(-1).cpu()  # (at most stride, V)
            found.append(p.gather(1, ids[start + 1 : end + 1, None].cpu())[:, 0])
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def bits_per_byte(
    model: GPT, tokenizer: Coder, text: str, *, window: int | None = None, stride: int | None = None
) -> float:
    """How many bits `model` needs on average for a byte of `text` in UTF-8: comparable between models of any tokenizer, and between
    languages. Eight is a text that says nothing to the model; `window` and `stride` are those of `token_probabilities`. Each token
    counts, the first one after the end of another text.

    >>> bits_per_byte(model, tokenizer, "The lantern was lit.")                         # doctest: +SKIP
    1.93
    """
    ids = torch.tensor([tokenizer.end_id, *tokenizer.encode(text)])
    bits = -token_probabilities(model, ids, stride, window).log2().sum().item()
    return bits / len(text.encode("utf-8"))


@torch.no_grad()
def induction_scores(model: GPT, period: int, texts: int = 64) -> Tensor:
    """How much each head copies what followed last time: shape (n_layer, n_head), from 0 to 1. The model reads random
    tokens that repeat after `period`; the score is the mean attention of a repeated token to the one that came after
    its first occurrence (Olsson et al. 2022, arXiv:2209.11895).

    >>> induction_scores(model, period=32).max()                                        # doctest: +SKIP
    tensor(0.01)
    """
    longest, V = model.config.block_size // 2, model.config.vocab_size
    if isinstance(period, bool) or not isinstance(period, int) or not 2 <= period <= longest:
        raise ValueError(
            f"period={period!r} must be a whole number, at least 2 and at most {longest}: two of them fill the window"
        )
    check_whole("texts", texts, least=1)
    if V < 2:
        raise ValueError(f"the model has vocab_size={V}: besides id 0, the end, there is no token to repeat")
    generator = torch.Generator().manual_seed(0)
    once = torch.randint(1, V, (texts, period), generator=generator)  # without id 0, the end
    maps = attention_maps(model, torch.cat([once, once], dim=1))  # (n_layer, B, H, T, T)
    return maps.diagonal(1 - period, 3, 4)[..., 1:].mean(dim=(1, 3))


@torch.no_grad()
def repeat_probability(model: GPT, phrases: Tensor, times: int) -> list[float]:
    """The mean probability per token (geometric) that `model` gives to the second half of phrases (N, n), the first,
    second, third time in a row, up to `times`. What stands before a second half is its first half, every time: if the
    numbers rise, having said it once makes saying it again likelier. A phrase of fewer than two tokens, or one that
    does not fit into the window so many times, is a `ValueError`.

    >>> repeat_probability(model, phrases, 3)                                           # doctest: +SKIP
    [0.25, 0.25, 0.26]
    """
    check_whole("times", times, least=1)
    check_idx("phrases", phrases, "(N, n)", model.config.vocab_size)
    n = phrases.shape[1]
    if n < 2:
        raise ValueError(f"phrases have the shape {tuple(phrases.shape)}: one of n = {n} token has no second half")
    idx = phrases.repeat(1, times).to(model.device)  # (N, times * n)
    with evaluating(model):
        log_p = model(idx[:, :-1])[0].log_softmax(dim=-1)  # (N, times * n - 1, V)
    given = log_p.gather(2, idx[:, 1:, None])[..., 0]
    ends = [k * n + n - 1 for k in range(times)]  # in `given`, which begins at the second token
    return [given[:, end - n // 2 : end].mean().exp().item() for end in ends]
