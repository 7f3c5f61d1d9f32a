"""A model on another device than the CPU: here a simulated one, since few machines that run these tests have a second."""

import pytest
import torch
from elsewhere import Elsewhere

from minigpt_core import GPT, CharTokenizer, GPTConfig, attention_maps, evaluate, generate, stream
from minigpt_core.beyond.stored import StoredIds
from minigpt_core.study.ablation import PARTS, knocked_out, remove
from minigpt_core.study.lens import induction_scores, repeat_probability
from minigpt_core.widgets.anatomy import Anatomy
from minigpt_core.widgets.attention import AttentionMaps
from minigpt_core.widgets.playground import Playground
from minigpt_core.widgets.repetition import Repetition
from minigpt_core.widgets.sampler import Sampler

TOKENIZER = CharTokenizer.train("a small text of one's own")
IDS = torch.tensor([TOKENIZER.encode("a small text")])


def small() -> GPT:
    torch.manual_seed(0)
    config = GPTConfig(TOKENIZER.vocab_size, block_size=16, n_layer=2, n_head=2, n_embd=8, dropout=0.5, end_id=0)
    return GPT(config)


def without(part: str):
    return lambda model: remove(model, part)(IDS.to(model.device))[0]


def silenced(model: GPT) -> torch.Tensor:
    with knocked_out(model, [(0, 1)]):
        return model(IDS.to(model.device))[0]


# What is done to a model and its tokenizer; the same must come out as on the CPU.
DONE = {
    "playground": lambda model: Playground(model, TOKENIZER, prompt="a ").picture(),
    "sampler": lambda model: Sampler(model, TOKENIZER, prompt="a ").picture(),
    "attention": lambda model: AttentionMaps(model, TOKENIZER, text="a small").picture(),
    "anatomy": lambda model: Anatomy(model, TOKENIZER, text="a small").picture(),
    "repetition": lambda model: Repetition(model, TOKENIZER, prompt="a ").picture(),
    "file": lambda model: Playground(model, TOKENIZER).file("yours"),
    "generate": lambda model: list(generate(model, [1, 2], 40, frequency_penalty=0.1)),
    "stream": lambda model: "".join(stream(model, TOKENIZER, "a ", 40)),
    "attention maps": lambda model: attention_maps(model, IDS),
    "induction": lambda model: induction_scores(model, period=4),
    "phrases": lambda model: repeat_probability(model, IDS[:, :4], 3),
    "knocked out": silenced,
    **{f"without {part}": without(part) for part in PARTS},
}


EVALUATED = {
    "evaluate": lambda model: evaluate(model, IDS[0]),
    "evaluate from disk": lambda model: evaluate(model, StoredIds([IDS[0].numpy().astype("<u2")])),
}


@pytest.mark.parametrize("done", (DONE | EVALUATED).values(), ids=[*DONE, *EVALUATED])
def test_what_is_done_to_a_model_elsewhere_gives_the_same(done):
    expected = done(small().eval())
    with Elsewhere() as elsewhere:
        found = done(elsewhere.put(small().eval()))
    if isinstance(expected, torch.Tensor):
        assert torch.allclose(found, expected, atol=1e-6)
    else:
        assert found == (pytest.approx(expected) if isinstance(expected, (float, list)) else expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("done", DONE.values(), ids=list(DONE))
def test_a_model_is_afterwards_in_the_mode_in_which_it_was(done, training):
    model = small().train(training)
    kept = model.dropout.train(not training)  # a part of its own mode
    done(model)
    assert {module.training for module in model.modules() if module is not kept} == {training}
    assert kept.training != training


def test_the_simulated_device_refuses_what_a_real_one_refuses():
    """So that the tests above can fail."""
    with Elsewhere() as elsewhere:
        model = elsewhere.put(small())
        assert model.device.type == "cuda" and model(IDS.to("cuda"))[0].device.type == "cuda"
        assert IDS.device.type == "cpu" and model(IDS.to(model.device))[0].cpu().device.type == "cpu"
        assert torch.zeros(2, device=model.device).device.type == "cuda"
        with pytest.raises(RuntimeError, match="two devices"):
            model(IDS)
        with pytest.raises(RuntimeError, match="two devices"):
            model.head.weight + torch.zeros(8)
        with pytest.raises(TypeError, match="numpy"):
            model.head.weight.detach().numpy()
    assert model.device.type == "cpu" and model(IDS)[0].shape == (1, 12, TOKENIZER.vocab_size)
