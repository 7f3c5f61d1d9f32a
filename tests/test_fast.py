"""The fast model: what it computes, against plain definitions; and that everything takes it in a plain model's place."""

import math

import pytest
import torch
import torch.nn.functional as F

from minigpt_core import GPT, CharTokenizer, attention_maps, generate, load_model, save_model, train
from minigpt_core.beyond.fast import FastConfig, FastGPT, fast_recipe
from minigpt_core.beyond.parts import rotate
from minigpt_core.cli import main
from minigpt_core.config import GPTConfig, TrainConfig
from minigpt_core.decoding import can_decode
from minigpt_core.optimizer import MuonAndAdamW
from minigpt_core.training import resume
from minigpt_core.widgets.export import model_file

CONFIG = FastConfig(vocab_size=11, block_size=16, n_layer=2, n_head=2, n_embd=8, end_id=0)


@pytest.fixture
def model() -> FastGPT:
    """One whose every part has a say."""
    torch.manual_seed(0)
    model = FastGPT(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_a_turn_is_a_rotation_of_each_pair_and_scores_depend_on_distance_alone():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, start=4)
    for t in range(5):
        for i in range(4):
            angle = (t + 4) * 10_000 ** (-2 * i / 8)
            rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            expected = x[:, :, t, 2 * i : 2 * i + 2] @ rotation.T
            torch.testing.assert_close(turned[:, :, t, 2 * i : 2 * i + 2], expected, rtol=1e-5, atol=1e-5)
    q, k = torch.randn(2, 1, 1, 1, 8)
    near = rotate(q, 9) @ rotate(k, 7).mT
    torch.testing.assert_close(rotate(q, 109) @ rotate(k, 107).mT, near, rtol=1e-4, atol=1e-4)


def plain_forward(model: FastGPT, ids: list[int]) -> torch.Tensor:
    """The same sum position by position, without a batch and without a fused kernel."""
    nothing, K = model.config.vocab_size, model.config.previous_tokens
    rows = []
    for t, i in enumerate(ids):
        row = model.token_embedding.weight[i]
        for back in range(1, K + 1):
            row = row + model.previous_embeddings[back - 1].weight[ids[t - back] if t >= back else nothing]
        rows.append(row)
    x = F.layer_norm(torch.stack(rows), (model.config.n_embd,))[None]
    for block in model.blocks:
        h = block.norm1(x)
        weights = block.attention.weights(h)  # (1, H, T, T)
        y = weights @ block.attention.split_heads(block.attention.value(h))
        x = x + block.attention.output(y.transpose(1, 2).reshape(x.shape))
        x = x + block.feed_forward.narrow(block.feed_forward.widen(block.norm2(x)).clamp(min=0) ** 2)
    return 3 * model.head(model.norm(x))[0]


@torch.no_grad()
def test_its_logits_are_the_plain_sums(model):
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    torch.testing.assert_close(model(torch.tensor([ids]))[0][0], plain_forward(model, ids), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_it_sees_no_future_and_the_cache_changes_nothing(model):
    ids = torch.randint(11, (2, 16))
    whole = model(ids)[0]
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 11
    torch.testing.assert_close(model(changed)[0][:, :9], whole[:, :9])
    cache, parts = model.new_cache(batch_size=2), []
    for part in (ids[:, :5], ids[:, 5:6], ids[:, 6:]):
        parts.append(model(part, cache=cache)[0])
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="17 tokens do not fit into the context window of block_size=16"):
        model(ids[:, :1], cache=cache)


def test_it_begins_at_the_loss_of_blind_guessing():
    model = FastGPT(CONFIG)
    x = torch.randint(11, (4, 16))
    assert model(x, x)[1].item() == pytest.approx(math.log(11), abs=1e-6)


def test_it_is_saved_and_comes_back_and_a_run_resumes(tmp_path):
    ids = torch.randint(11, (400,), generator=torch.Generator().manual_seed(0))
    config = fast_recipe(steps=6, warmup_steps=2, eval_every=6, checkpoint_every=2, batch_size=4)
    torch.manual_seed(0)
    model = FastGPT(CONFIG)
    whole = [record.train_loss for record in train(model, ids[:300], ids[300:], config)]
    torch.manual_seed(0)
    for record in train(FastGPT(CONFIG), ids[:300], ids[300:], config, tmp_path):
        if record.step == 3:
            break
    again = FastGPT(CONFIG)
    rest = [record.train_loss for record in resume(again, ids[:300], ids[300:], tmp_path)]
    assert rest == whole[3:] and whole[-1] < whole[0]
    loaded = load_model(tmp_path)
    assert type(loaded) is FastGPT and loaded.config == CONFIG
    torch.testing.assert_close(loaded(ids[None, :16])[0], model.eval()(ids[None, :16])[0])


def test_sampling_and_lens_take_it_and_so_does_the_page(model):
    assert list(generate(model, [1, 2], 30, seed=1)) == list(generate(model, [1, 2], 30, seed=1, cache=False))
    assert not can_decode(model)
    maps = attention_maps(model, torch.arange(9)[None])
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 1, 2, 9))
    assert model_file(model, CharTokenizer(list("abcdefghij")))[:4] == b"MGPT"
    with pytest.raises(
        ValueError, match=r"a ComposedGPT in float32 only, and token_embedding.weight is in torch.float64"
    ):
        model_file(model.double(), CharTokenizer(list("abcdefghij")))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"previous_tokens": -1}, "previous_tokens=-1 must be a whole number of at least 0"),
        ({"n_embd": 6}, "n_embd=6 over n_head=2 is odd"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        FastConfig(**({"vocab_size": 11, "n_embd": 8} | wrong))


def test_the_command_line_trains_resumes_and_generates_it(tmp_path, capsys):
    out = str(tmp_path / "run")
    size = ["--n-embd", "16", "--block-size", "32", "--steps", "12", "--batch-size", "4"]
    assert main(["train", "--recipe", "fast", "--corpus", "tales", "--out", out, *size]) == 0
    assert type(load_model(out)) is FastGPT
    assert main(["train", "--out", out, "--resume"]) == 0
    assert main(["generate", "--model", out, "--max-new-tokens", "20"]) == 0
    assert main(["info", "--model", out]) == 0
    assert "1 layer, 2 heads, 16 wide" in capsys.readouterr().out
    save_model(load_model(out), tmp_path / "narrow", narrow=True)
    assert type(load_model(tmp_path / "narrow")) is FastGPT


@pytest.mark.parametrize("plain", [True, False])
def test_muon_steps_as_far_in_all_directions_and_as_long_as_adamw(plain, model):
    """The oracle: the slopes' singular vectors, each with the singular value 1, times 0.2 sqrt(longer side) x learning rate."""
    if plain:
        torch.manual_seed(0)
        model = GPT(GPTConfig(11, block_size=16, n_layer=2, n_head=2, n_embd=32))
    optimizer = MuonAndAdamW(model, TrainConfig(learning_rate=0.01, weight_decay=0.5))
    idx = torch.randint(11, (8, 16))
    model(idx, idx.roll(-1, 1))[1].backward()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    matrices = 0
    for name, parameter in model.named_parameters():
        moved = parameter.detach() - before[name]
        if name.startswith("blocks") and parameter.dim() == 2:
            matrices += 1
            U, S, Vh = torch.linalg.svd(parameter.grad, full_matrices=False)
            if S[-1] < 1e-3 * S[0]:
                continue  # nothing is asked of a direction that the slopes leave out
            step = (before[name] * (1 - 0.01 * 0.5) - parameter.detach()) / (0.01 * 0.2 * max(moved.shape) ** 0.5)
            lengths = (U.T @ step @ Vh.T).diagonal()
            assert lengths.min() > 0.5 and lengths.max() < 1.4, (name, lengths)
        else:
            decay = 0.01 * 0.5 * before[name] if name == "head.weight" else 0.0
            expected = -0.01 * parameter.grad / (parameter.grad.abs() + 1e-8) - decay
            torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-6)
    assert matrices == 2 * 6  # of each block: query, key, value, output, widen, narrow
