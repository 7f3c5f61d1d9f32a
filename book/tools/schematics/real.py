"""Chapter 15: the parts of today's models, and the way from the plain GPT to SmolLM2."""

import torch
from torch import Tensor

from minigpt_core import GPTConfig
from minigpt_core.beyond.byte_level import ALPHABET
from minigpt_core.beyond.composed import ComposedConfig
from minigpt_core.beyond.formats import halves_from_pairs
from minigpt_core.beyond.parts import Experts, Network, SwiGLU

from .drawing import Drawing, shipped

SMOLLM2 = ComposedConfig(  # as its file says
    vocab_size=49_152,
    block_size=8_192,
    n_layer=30,
    n_head=9,
    n_embd=576,
    end_id=2,
    norm="rms",
    rope_base=100_000,
    n_kv_head=3,
    feed_forward="swiglu",
    n_hidden=1_536,
    bias=False,
    tied=True,
)


def count(n: int, one: str) -> str:
    return f"{n} {one}" + ("s" if n > 1 else "")


def real_block() -> Drawing:
    plain, big = shipped()[0].config, SMOLLM2
    C, D = plain.n_embd, big.n_embd
    draw = Drawing(
        "real_block",
        "The plain GPT and SmolLM2, part by part",
        f"Two models side by side, from top to bottom: the plain GPT of the tales, {plain.n_parameters:,} parameters, and "
        f"SmolLM2, {big.n_parameters:,}. The skeleton is one: a stream; in each block a norm and attention, then a norm and "
        "feed-forward, each added; a last norm and a head. Marked as changed: the position embedding is gone, and instead "
        f"attention turns queries and keys (RoPE); its {big.n_head} heads of queries share {big.key_heads} of keys and values, "
        f"where the plain one has {plain.n_head} of each; LayerNorm became RMSNorm, ReLU SwiGLU with a gate; {plain.n_layer} "
        f"blocks became {big.n_layer}; a dashed line ties the head to the embedding: both are one table; biases are gone. Only "
        "the two sums are the same.",
        590,
    )
    columns = {
        4: (
            plain,
            ("the plain GPT",),
            ("token + position", f"{plain.vocab_size} + {plain.block_size} rows of {C}"),
            ("LayerNorm",),
            ("attention", "q, k as they are", f"{plain.n_head} heads of queries,", f"{plain.n_head} of keys, values"),
            ("feed-forward", "ReLU", f"{C} → {4 * C} → {C}"),
            ("head of its own", f"{plain.vocab_size} rows of {C}"),
        ),
        212: (
            big,
            ("SmolLM2",),
            ("token alone", f"{big.vocab_size:,} rows of {D}"),
            ("RMSNorm",),
            ("attention", "q, k turned: RoPE", f"{big.n_head} heads of queries,", f"{big.key_heads} of keys, values"),
            ("feed-forward", "SwiGLU: a gate", f"{D} → {big.n_hidden:,} → {D}"),
            ("head = embedding", "tied: no new rows"),
        ),
    }
    for left, (config, title, embedding, norm, attention, feed_forward, head) in columns.items():
        stream, middle, changed = left + 14, left + 104, config is big

        def part(x: float, y: float, wide: float, lines: tuple[str, ...], changed: bool = changed) -> float:
            """A box with these lines in it, filled if it is changed; and where it ends."""
            high = 10 + 16 * len(lines)
            draw.filled(x, y, wide, high, "chosen", 0.25 if changed else 0)
            draw.box(x, y, wide, high, round_=4)
            for i, said in enumerate(lines):
                look = "name" if lines[1:] and not i else "note"
                draw.label(x + wide / 2, y + 17 + 16 * i, said, look, "middle")
            return y + high

        draw.label(left, 20, title[0], "name")
        draw.label(left, 37, f"{config.n_parameters:,} parameters", "note")
        top = part(left, 46, 180, embedding)
        draw.box(left, 102, 180, 324, "thin", round_=8)
        for branch, inner in ((110, attention), (266, feed_forward)):
            draw.arrow((stream, branch), (middle, branch), (middle, branch + 12))
            low = part(middle - 68, branch + 12, 136, norm)
            draw.arrow((middle, low), (middle, low + 12))
            low = part(middle - 68, low + 12, 136, inner)
            joins = low + 16
            draw.arrow((middle, low), (middle, joins), (stream + 9, joins))
            draw.line((stream, top), (stream, joins - 9), look="stream")
            draw.adder(stream, joins)
            top = joins + 9
        draw.label(middle, 418, f"× {config.n_layer} blocks", "name", "middle")
        draw.line((stream, top), (stream, 438), look="stream")
        low = part(left, 438, 180, (f"last norm: {norm[0]}",))
        draw.arrow((stream, low), (stream, 482))
        part(left, 482, 180, head)
    draw.line((392, 503), (397, 503), (397, 67), (392, 67), look="dashes")
    for y, sign in ((72, "≠"), (140, "≠"), (204, "≠"), (256, "="), (296, "≠"), (350, "≠"), (396, "=")):
        draw.label(198, y, sign, "name", "middle")
    for y in (418, 456, 508):
        draw.label(198, y, "≠", "name", "middle")
    draw.label(12, 548, "≠ and green: changed.  =: the same, both sums.", "note")
    biases = ("with" if getattr(config, "bias", True) else "without" for config in (plain, big))
    draw.label(12, 566, f"Matrices: left {next(biases)} biases, right {next(biases)}.", "note")
    draw.label(12, 584, "Dashes: one table, read at both ends.", "note")
    return draw


def grouped() -> Drawing:
    H, D, L, T = SMOLLM2.n_head, SMOLLM2.n_embd // SMOLLM2.n_head, SMOLLM2.n_layer, SMOLLM2.block_size
    kinds = {"multi-head": H, "grouped-query": SMOLLM2.key_heads, "multi-query": 1}
    megabytes = {name: 2 * heads * D * L * T * 4 / 1e6 for name, heads in kinds.items()}
    draw = Drawing(
        "grouped",
        "Who asks whom: attention of three kinds",
        f"Three times {H} heads of queries, squares in a row; below them heads of keys and of values; lines "
        f"lead from each query to the key it asks. Multi-head: {H} keys, each asked by its own query. Grouped-query, as in "
        f"SmolLM2: {kinds['grouped-query']} keys, each asked by {H // kinds['grouped-query']} queries. Multi-query: one key, "
        f"asked by all. The cache keeps only keys and values: of {T:,} positions in {L} layers "
        + ", ".join(f"{size:,.0f} MB" for size in megabytes.values())
        + ", drawn as bars.",
        352,
    )
    size, pitch = 10.2, 12.2
    for y, said in ((61, "q"), (122, "k"), (136, "v")):
        draw.label(12, y, said, "note", "middle")
    draw.label(12, 178, "Kept for each position, in each layer:", "note")
    draw.label(12, 226, f"Kept for {T:,} positions, {L} layers, in float32:", "note")
    for i, (name, heads) in enumerate(kinds.items()):
        left, group = 30 + 124 * i, H // heads
        middle = left + (pitch * H - 2) / 2
        draw.label(middle, 20, name, "name", "middle")
        said = f"{H} on {heads}" + (": SmolLM2" if heads == SMOLLM2.key_heads else "")
        draw.label(middle, 38, said, "note", "middle")
        draw.box(left - 4, 107, pitch * H + 6, 36, "dashes", round_=4)
        draw.label(middle, 158, "the cache", "note", "middle")
        for j in range(H):
            x = left + pitch * j
            key = left + pitch * (j // group * group + (group - 1) / 2)  # below the middle of its queries
            draw.line((x + size / 2, 50 + size), (key + size / 2, 112))
            draw.box(x, 50, size, size, "query")
            if j % group == 0:
                draw.box(key, 112, size, size, "key")
                draw.box(key, 126, size, size, "value")
        draw.label(middle, 200, f"{count(heads, 'key')}, {count(heads, 'value')}", "note", "middle")
        high = 84 * megabytes[name] / megabytes["multi-head"]
        draw.box(left, 322 - high, pitch * H - 2, high, "plain")
        draw.label(middle, 340, f"{megabytes[name]:,.0f} MB", "name", "middle")
    draw.line((20, 322), (390, 322), look="thin")
    return draw


@torch.no_grad()
def gates() -> tuple[Network, SwiGLU, Tensor]:
    """A plain feed-forward network, one with a gate and as many weights, and the vector that both read."""
    config = GPTConfig(1, n_head=1, n_embd=3)
    torch.manual_seed(82)
    networks = Network(config, 12, bias=False), SwiGLU(config, 8, bias=False)
    for network in networks:
        for weight in network.double().parameters():
            torch.nn.init.normal_(weight, std=1.3 * weight.shape[1] ** -0.5)
    return *networks, torch.tensor([2.0, -1.0, 1.5]).double()


@torch.no_grad()
def gate() -> Drawing:
    plain, swiglu, x = gates()
    C, hidden, narrower = len(x), plain.n_hidden, swiglu.n_hidden
    wide, up, opens = plain.widen(x), swiglu.widen(x), swiglu.gate(x)
    passes = torch.nn.functional.silu(opens)
    weights = [sum(p.numel() for p in network.parameters()) for network in (plain, swiglu)]
    draw = Drawing(
        "gate",
        "Feed-forward: ReLU, and SwiGLU with its gate",
        f"Two ways from a vector x of {C} numbers, drawn as bars, to one of {C} numbers again. At the left the plain one: widened "
        f"to {hidden} numbers, of which ReLU sets {int((wide < 0).sum())}, the negative ones, to 0; then narrowed. At the right "
        f"SwiGLU: x is widened to {narrower} numbers, and a second matrix makes {narrower} more, the gate, in green. SiLU keeps "
        "its large positive numbers nearly as they are and brings the negative ones near 0. The result is multiplied with the "
        f"widened ones, number by number; then narrowed. Both have {weights[0]} weights.",
        478,
    )
    high, left, right, first, second = 40, 80, 300, 242, 350
    most = max(vector.abs().max().item() for vector in (wide, up, opens, plain(x), passes * up, swiglu(x)))

    def vector(middle: float, y: float, said: str, values: Tensor, look: str = "plain") -> None:
        width = len(values) * (10 if len(values) > C else 24)
        draw.label(middle, y - 6, said, "note", "middle")
        draw.bars(middle - width / 2, y, width, high, values.tolist(), look, most)

    draw.label(left, 20, "plain", "name", "middle")
    draw.label(right, 20, "SwiGLU", "name", "middle")
    rows = 48, 138, 228, 318, 408
    for middle in (left, right):
        vector(middle, rows[0], "x", x)
    vector(left, rows[1], f"widen: {hidden}", wide)
    vector(left, rows[2], "ReLU", wide.relu())
    vector(left, rows[4], "narrow", plain(x))
    for a, b in ((0, 1), (1, 2), (2, 4)):
        draw.arrow((left, rows[a] + high), (left, rows[b] - 20))
    vector(first, rows[1], f"widen: {narrower}", up)
    vector(second, rows[1], f"gate: {narrower}", opens, "chosen")
    vector(second, rows[2], "SiLU(gate)", passes, "chosen")
    vector(right, rows[3], "product", passes * up)
    vector(right, rows[4], "narrow", swiglu(x))
    fork, meet = rows[0] + high + 12, rows[3] - 32
    for middle in (first, second):
        draw.arrow((right, rows[0] + high), (right, fork), (middle, fork), (middle, rows[1] - 20))
    draw.arrow((second, rows[1] + high), (second, rows[2] - 20))
    draw.add("circle", "box", cx=right, cy=meet, r=9)
    for slope in (-4, 4):
        draw.line((right - 4, meet - slope), (right + 4, meet + slope))
    draw.arrow((first, rows[1] + high), (first, meet), (right - 9, meet))
    draw.arrow((second, rows[2] + high), (second, meet), (right + 9, meet))
    draw.line((right, meet + 9), (right, meet + 14))
    draw.arrow((right, rows[3] + high), (right, rows[4] - 20))
    shapes = f"2 × {C} × {hidden} = {weights[0]}", f"3 × {C} × {narrower} = {weights[1]}"
    draw.label(12, 470, f"Weights: {shapes[0]}, and {shapes[1]}.", "note")
    return draw


@torch.no_grad()
def mixture() -> tuple[Experts, Tensor]:
    """Four small networks with their router, and the vector of a position."""
    torch.manual_seed(33)
    experts = Experts(GPTConfig(1, n_head=1, n_embd=8), n_hidden=16).double()
    experts.router.weight *= 2
    return experts, torch.randn(8).double()


@torch.no_grad()
def experts() -> Drawing:
    model, x = mixture()
    scores = model.router(x)
    best = scores.topk(model.chosen)
    shares = dict(sorted(zip(best.indices.tolist(), best.values.softmax(0).tolist(), strict=True)))
    says = {i: model.experts[i](x) for i in shares}
    y = sum(share * says[i] for i, share in shares.items())
    a, b = shares
    draw = Drawing(
        "experts",
        "A mixture of experts: two of four answer",
        "The vector x of one position, eight numbers as bars, goes to a router, which gives four scores: "
        + ", ".join(f"{score:.2f}" for score in scores.tolist()).replace("-", "−")
        + f". The two highest choose networks {a} and {b}, framed in green; the other two, in dashes, do not run. Softmax of the "
        f"two scores makes shares: {shares[a]:.2f} and {shares[b]:.2f}. Each of the two reads x, its answer is multiplied by its "
        "share, and their sum is y.",
        444,
    )
    most = max(out.abs().max().item() for out in (*says.values(), y))
    draw.label(128, 36, "x, one position", "note", "end")
    draw.bars(140, 12, 120, 38, x.tolist(), "plain", x.abs().max().item())
    draw.arrow((200, 50), (200, 68))
    draw.named_box(140, 70, 120, 28, "router")
    draw.label(128, 90, "four scores", "note", "end")
    for i, score in enumerate(scores.tolist()):
        left, middle = 12 + 96 * i, 56 + 96 * i
        draw.arrow((200, 98), (200, 108), (middle, 108), (middle, 124))
        draw.filled(left + 12, 126, 64, 28, "chosen", 0.3 if i in shares else 0)
        draw.label(middle, 145, f"{score:.2f}".replace("-", "−"), "name" if i in shares else "note", "middle")
        draw.box(left, 208, 88, 42, "chosen-line" if i in shares else "dashes", round_=4)
        draw.label(middle, 226, f"network {i}", "note", "middle")
        draw.label(middle, 243, "reads x" if i in shares else "does not run", "small", "middle")
        if i in shares:
            draw.arrow((middle, 154), (middle, 206))
            draw.label(middle + 6, 184, f"share {shares[i]:.2f}", "note")
            draw.arrow((middle, 250), (middle, 268))
            draw.bars(left, 270, 88, 38, says[i].tolist(), "plain", most)
            draw.label(middle + 6, 326, f"× {shares[i]:.2f}", "note")
            draw.arrow((middle, 308), (middle, 346), (209 if middle > 200 else 191, 346))
    draw.adder(200, 346)
    draw.arrow((200, 355), (200, 372))
    draw.bars(140, 374, 120, 38, y.tolist(), "chosen", most)
    draw.label(128, 398, "y, their sum", "note", "end")
    draw.label(12, 436, "Shares: the softmax of the two chosen scores.", "note")
    return draw


TABLE = torch.tensor([[1, 0, 2], [2, -1, 1], [-1, 1, 0], [1, 1, -1], [0, 2, 1]])  # an embedding of five tokens, C = 3
LAST = torch.tensor([1, -1, 1])  # what the last norm gives


def tied() -> Drawing:
    letters, read = "abcde", 4
    logits = TABLE @ LAST
    says = letters[int(logits.argmax())]
    draw = Drawing(
        "tied",
        "A tied head: one table, read at both ends",
        f"A table with a row of three numbers for each of the tokens {', '.join(letters)}. At the left, the entrance: the token "
        f"{letters[read]} takes its row, {', '.join(map(str, TABLE[read].tolist()))}, which goes through the blocks and comes out "
        f"as h, {', '.join(map(str, LAST.tolist()))}. At the right, the exit: h is multiplied with each row of the same table, "
        f"and the products are the logits: {', '.join(map(str, logits.tolist()))}; that of {says} is the highest.".replace(
            "-", "−"
        ),
        330,
    )
    wide, high, left, top, out = 36, 30, 118, 56, 318

    def row(x: float, y: float, numbers: list[int], strength: float = 0, look: str = "note") -> None:
        for j, value in enumerate(numbers):
            draw.filled(x + wide * j, y, wide, high, "chosen", strength)
            draw.label(x + wide * (j + 0.5), y + 20, str(value).replace("-", "−"), look, "middle")

    draw.label(12, 20, "in: one row", "name")
    draw.label(left + 1.5 * wide, 20, "table E", "name", "middle")
    draw.label(left + 1.5 * wide, 38, "(V, C)", "note", "middle")
    draw.label(388, 20, "out: all rows", "name", "end")
    draw.label(out + wide / 2, 38, "logits E h", "note", "middle")
    for i, letter in enumerate(letters):
        y = top + high * i
        draw.label(left - 12, y + 20, letter, "name", "middle")
        row(left, y, TABLE[i].tolist(), 0.35 if i == read else 0)
        draw.arrow((left + 3 * wide + 4, y + high / 2), (out - 4, y + high / 2))
        draw.label((left + 3 * wide + out) / 2 - 6, y + high / 2 - 3, "· h", "note", "middle")
        row(out, y, [int(logits[i])], look="name" if letter == says else "note")
        if letter == says:
            draw.box(out, y, wide, high, "empty")
        draw.label(out + wide + 14, y + 20, letter, "name", "middle")
    low, end = top + high * read, top + high * len(letters)
    draw.letter(12, low + 3, letters[read])
    draw.arrow((40, low + high / 2), (left - 22, low + high / 2))
    draw.arrow((left + 1.5 * wide, end + 2), (left + 1.5 * wide, end + 22))
    row(left, end + 24, TABLE[read].tolist(), 0.35)
    draw.label(left - 10, end + 44, "x", "name", "end")
    draw.arrow((left + 1.5 * wide, end + 54), (left + 1.5 * wide, end + 70))
    draw.named_box(left - 14, end + 72, 3 * wide + 28, 30, "blocks, last norm", "note")
    draw.arrow((left + 3 * wide + 14, end + 87), (280, end + 87))
    row(282, end + 72, LAST.tolist())
    draw.label(282 + 1.5 * wide, end + 118, "h", "name", "middle")
    draw.arrow((out + wide / 2, end + 72), (out + wide / 2, end + 4))
    return draw


NUMBERS = torch.tensor([3.0, 4.0, -2.0, 6.0, 7.0, 6.0]).double()


def exact(x: float) -> str:
    """A number as whole or thirds or with one decimal, whatever it is.

    >>> exact(-2.0), exact(-1 / 3), exact(0.6)
    ('−2', '−1/3', '0.6')
    """
    if abs(x - round(x)) < 1e-9:
        said = str(round(x))
    elif abs(3 * x - round(3 * x)) < 1e-9:
        said = f"{round(3 * x)}/3"
    else:
        said = f"{x:.1f}"
    return said.replace("-", "−")


def rms() -> Drawing:
    x = NUMBERS
    mean, deviation, size = x.mean().item(), x.std(unbiased=False).item(), x.pow(2).mean().sqrt().item()
    layer, root = (x - mean) / deviation, x / size
    said = {
        name: ", ".join(map(exact, vector.tolist())) for name, vector in (("x", x), ("layer", layer), ("root", root))
    }
    draw = Drawing(
        "rms",
        "LayerNorm and RMSNorm of one vector",
        f"Above, LayerNorm: the vector x = {said['x']} as bars to both sides of a line; then with its mean, {mean:g}, subtracted; "
        f"then divided by its standard deviation, {deviation:g}: {said['layer']}. Below, RMSNorm of the same: nothing is "
        f"subtracted; it is divided by its root mean square, {size:g}: {said['root']}. Here what was negative stays so, and a 0 "
        "stays 0. Then LayerNorm has a learned gain and shift, RMSNorm only a gain.",
        446,
    )
    unit, longer, pitch = 5.6, 4, 19

    def column(left: float, top: float, title: str, values: Tensor, last: bool = False) -> None:
        zero, long = left + (82 if last else 70), unit * (longer if last else 1)
        draw.label(left + (70 if last else 66), top, title, "note", "middle")
        draw.line((zero, top + 8), (zero, top + 12 + pitch * len(values)), look="thin")
        for i, value in enumerate(values.tolist()):
            y = top + 12 + pitch * i
            draw.label(left + 30, y + 12, exact(value), "note", "end")
            draw.box(zero + long * min(value, 0), y, long * abs(value), pitch - 4, "share" if last else "plain")

    top, low = 20, 232
    draw.label(12, top, "LayerNorm", "name")
    column(0, top + 24, "x", x)
    draw.arrow((114, top + 92), (136, top + 92))
    column(130, top + 24, f"− mean, {mean:g}", x - mean)
    draw.arrow((240, top + 92), (262, top + 92))
    column(264, top + 24, f"÷ deviation, {deviation:g}", layer, last=True)
    draw.label(12, top + 170, f"mean: {x.sum():g} / {len(x)};  deviation: √({squares(x - mean)} / {len(x)})", "note")
    draw.label(12, top + 188, "Then × gain + shift, 2 C learned numbers.", "note")
    draw.label(12, low, "RMSNorm", "name")
    column(0, low + 24, "x", x)
    draw.arrow((114, low + 92), (260, low + 92))
    draw.label(187, low + 86, "nothing subtracted", "note", "middle")
    column(264, low + 24, f"÷ RMS, {size:g}", root, last=True)
    draw.label(12, low + 170, f"RMS, root mean square: √({squares(x)} / {len(x)})", "note")
    draw.label(12, low + 188, "Then × gain, C learned numbers.", "note")
    draw.label(12, low + 206, f"The blue bars are drawn {longer} times as long.", "note")
    return draw


def squares(x: Tensor) -> str:
    return f"{x.square().sum().item():g}"


TEXTS = {" café": {"ĠcafÃ©": 37366}, "你": {"ä½": 18645, "ł": 250}}  # the tokens of SmolLM2's vocabulary, and their ids


def bytes() -> Drawing:
    told = {text: [(c, c.encode()) for c in text] for text in TEXTS}
    draw = Drawing(
        "bytes",
        "Why a vocabulary looks like garbage",
        "Four rows. The text: the space, c, a, f, é, and apart from it the Chinese character 你. Its bytes in UTF-8: "
        + " ".join(f"{byte:02X}" for byte in " café".encode())
        + ", so that é has two; and "
        + " ".join(f"{byte:02X}" for byte in "你".encode())
        + ". For each byte a letter: visible ones of Latin-1 stand for themselves, in green are those of bytes without a "
        "visible one, Ġ for 20 and ł for A0. The tokens as they stand in SmolLM2's file: "
        + ", ".join(f"{token} with id {i}" for tokens in TEXTS.values() for token, i in tokens.items())
        + ".",
        270,
    )
    cell, left = 33.0, 78.0
    for y, said in ((40, "text"), (94, "bytes"), (148, "letters"), (202, "tokens"), (230, "ids")):
        draw.label(12, y, said, "name")
    for text, characters in told.items():
        x = left
        for character, raw in characters:
            wide = cell * len(raw)
            draw.box(x + 1, 20, wide - 2, 30, round_=4)
            draw.label(x + wide / 2, 40, character.replace(" ", "␣"), "name", "middle")
            for byte in raw:
                middle, letter = x + cell / 2, ALPHABET[byte]
                draw.arrow((middle, 52), (middle, 72))
                draw.box(x, 74, cell, 30, "thin")
                draw.label(middle, 94, f"{byte:02X}", "note", "middle")
                draw.arrow((middle, 106), (middle, 126))
                draw.filled(x, 128, cell, 30, "chosen", 0.35 if ord(letter) > 255 else 0)
                draw.label(middle, 148, letter, "name", "middle")
                x += cell
        x = left
        for token, i in TEXTS[text].items():
            wide = cell * len(token)
            draw.arrow((x + wide / 2, 160), (x + wide / 2, 180))
            draw.named_box(x + 1, 182, wide - 2, 30, token)
            draw.label(x + wide / 2, 230, str(i), "note", "middle")
            x += wide
        left = x + 14
    draw.label(12, 260, "Green: a byte without a visible letter in Latin-1.", "note")
    return draw


def pairs() -> Drawing:
    D, followed = 8, 1
    order = halves_from_pairs(torch.arange(D)[:, None], heads=1).flatten().tolist()  # place -> number that stands there
    draw = Drawing(
        "pairs",
        "RoPE’s two conventions for a head of 8 numbers",
        "Above, the numbers 0 to 7 of a head in a row; brackets join neighbours to the pairs that are turned: 0 and 1, 2 and 3, "
        "4 and 5, 6 and 7. So it is in this book and in a Llama’s GGUF file. Below, the same numbers in the order "
        f"{', '.join(map(str, order))}; brackets join each place of the first half with that of the second, 0 and 4, 1 and 5 and "
        "so on: so it is in transformers. Lines lead from each number to its new place; those of one pair, 2 and 3, are green. "
        "The same pairs meet in both.",
        354,
    )
    size, left = 42, 32
    middles = [left + size * (i + 0.5) for i in range(D)]

    def row(y: float, numbers: list[int]) -> None:
        for middle, number in zip(middles, numbers, strict=True):
            draw.filled(middle - size / 2, y, size, 34, "chosen", 0.35 if number // 2 == followed else 0)
            draw.label(middle, y + 22, str(number), "name", "middle")

    draw.label(12, 20, "neighbours: this book, GGUF", "name")
    for pair in range(D // 2):
        a, b = middles[2 * pair : 2 * pair + 2]
        draw.line((a, 62), (a, 54), (b, 54), (b, 62), look="chosen-line" if pair == followed else "flow")
        draw.label((a + b) / 2, 48, f"pair {pair}", "note", "middle")
    row(64, list(range(D)))
    for place, number in enumerate(order):
        look = "chosen-line" if number // 2 == followed else "flow"
        draw.line((middles[number], 98), (middles[place], 180), look=look)
    row(182, order)
    for pair in range(D // 2):
        a, b, y = middles[pair], middles[pair + D // 2], 226 + 17 * (D // 2 - 1 - pair)
        draw.line((a, 218), (a, y), (b, y), (b, 218), look="chosen-line" if pair == followed else "flow")
        draw.label(b + 6, y + 4, f"pair {pair}", "note")
    draw.label(12, 308, "halves: transformers", "name")
    draw.label(12, 328, "Read by the other convention, the wrong", "note")
    draw.label(12, 346, "numbers are turned together.", "note")
    return draw
