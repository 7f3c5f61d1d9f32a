"""What is said of a text before a run, and the plan that follows from text and time."""

import pytest
import torch

from minigpt_core import (
    GPT,
    BPETokenizer,
    CharTokenizer,
    GPTConfig,
    TrainConfig,
    load_corpus,
    split_text,
    train,
)
from minigpt_core.study import planning
from minigpt_core.study.planning import MOST_KINDS, explain, fitting_tokenizer, look_at, propose, training_memory
from minigpt_core.training import Record


def ids_of(text: str, tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    train_part, val_part = split_text(text)
    return torch.tensor(tokenizer.encode(train_part)), torch.tensor(tokenizer.encode(val_part))


@pytest.mark.parametrize(
    "text, usable, said",
    [
        ("", False, "0 characters are too few"),
        ("Mina has a lamp.", False, "16 characters are too few"),
        ("a" * 5000, False, "one character over and over"),
        ("The lamp was lit.\n" * 1000, True, "it repeats itself"),
        ("".join(str(n * n) + " " for n in range(3000)), True, "it holds no letters"),
        (load_corpus("tales")[:9000], True, "known by heart"),
    ],
)
def test_whatever_a_text_can_be_ends_in_advice(text, usable, said):
    look = look_at(text)
    assert look.usable == usable
    assert any(said in sentence for sentence in look.advice), look.advice
    assert said in str(look)


def test_a_novel_needs_no_advice():
    look = look_at(load_corpus("tales"))
    assert look.usable and look.advice == () and look.script == "LATIN"
    assert look.characters == len(look.text) and look.kinds == len(set(look.text)) and look.repeated < 0.1


def test_a_long_text_is_used_to_its_end():
    text = load_corpus("tales") * 20 + "雨"
    look = look_at(text)
    assert look.text == text and look.advice == () and fitting_tokenizer(look).encode("雨")


def test_the_script_is_that_of_most_letters():
    assert look_at(load_corpus("tales_zh")).script == "CJK"
    assert look_at("Привет, мир. OK! " * 200).script == "CYRILLIC"
    assert look_at("1 2 3").script == "none"


def test_too_many_kinds_of_character_are_cut_into_pieces():
    rare = "".join(chr(0x4E00 + i) for i in range(2500))
    look = look_at(load_corpus("tales_zh") * 10 + rare)
    assert look.kinds > MOST_KINDS and any("BPE" in sentence for sentence in look.advice)
    tokenizer = fitting_tokenizer(look)
    assert isinstance(tokenizer, BPETokenizer) and tokenizer.vocab_size == MOST_KINDS
    assert tokenizer.decode(tokenizer.encode(rare[:20])) == rare[:20]
    assert isinstance(fitting_tokenizer(look_at(load_corpus("tales_zh"))), CharTokenizer)
    assert isinstance(fitting_tokenizer(look_at(rare)), CharTokenizer)  # there is no pair to join
    tokenizer = fitting_tokenizer(look, train_text=load_corpus("tales"))
    assert "lamp" in "".join(tokenizer.tokens) and "潭" not in tokenizer.tokens  # of the training part alone


def test_little_text_gets_a_narrow_model_dropout_and_no_more_than_sixty_readings():
    text = load_corpus("tales")[:4000]
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = ids_of(text, tokenizer)
    size, recipe = propose(train_ids, val_ids, tokenizer, seconds=600)
    assert (size.n_embd, size.n_layer, size.dropout) == (64, 4, 0.2)
    assert recipe.steps * recipe.batch_size * size.block_size <= 60 * len(train_ids)


def test_more_time_means_more_steps_and_the_plan_can_be_carried_out(monkeypatch):
    text = load_corpus("tales")
    tokenizer = CharTokenizer.train(text)
    train_ids, val_ids = ids_of(text, tokenizer)
    monkeypatch.setattr(planning, "time_steps", lambda *_: (0.03, 0.5))  # seconds a step and an evaluation, everywhere
    size, short = propose(train_ids, val_ids, tokenizer, seconds=3)
    assert (size.n_embd, size.n_layer, size.dropout, size.end_id) == (128, 2, 0.0, tokenizer.end_id)
    _, long = propose(train_ids, val_ids, tokenizer, seconds=60)
    assert long.steps > 4 * short.steps
    torch.manual_seed(0)
    records = list(train(GPT(size), train_ids, val_ids, short))
    assert len(records) == short.steps and records[-1].train_loss < 3


def test_the_shortest_usable_text_can_be_learned_from():
    text = load_corpus("tales")[:2000]
    tokenizer = fitting_tokenizer(look_at(text))
    train_ids, val_ids = ids_of(text, tokenizer)
    size, recipe = propose(train_ids, val_ids, tokenizer, seconds=1)
    assert list(train(GPT(size), train_ids, val_ids, recipe))[-1].val_loss > 0


def test_memory_counts_four_numbers_a_parameter_and_grows_with_the_batch():
    size = GPTConfig(60)
    assert round(training_memory(size, TrainConfig()) / 2**20) == 39  # as its docstring says
    few, more, many = (training_memory(size, TrainConfig(batch_size=n)) for n in (100, 200, 400))
    assert many - 4 * (more - few) == pytest.approx(
        12 * size.n_parameters
    )  # where a step begins, no gradients are there


def timed(monkeypatch, with_dropout: float = 0.02) -> list:
    """Steps of a hundredth of a second, or what is given with dropout, and evaluations that take no time."""
    seen: list = []

    def time_steps(size, *_):
        seen.append(size)
        return (with_dropout if size.dropout else 0.01), 0.0

    monkeypatch.setattr(planning, "time_steps", time_steps)
    return seen


TOKENIZER = CharTokenizer.train("ab")
IDS = torch.zeros(50_000, dtype=torch.long)


def test_what_would_be_read_forty_times_gets_dropout_and_is_timed_with_it(monkeypatch):
    timed(monkeypatch)
    for seconds, dropout, steps in ((19, 0.0, 1900), (25, 0.2, 1250)):  # 1,953 steps read it forty times
        size, recipe = propose(IDS, IDS, TOKENIZER, seconds)
        assert (size.dropout, recipe.steps) == (dropout, steps)


def test_without_a_time_it_is_the_usual_number_of_steps_or_sixty_readings():
    size, recipe = propose(IDS, IDS, TOKENIZER)
    assert (size.n_layer, size.n_embd, size.dropout, recipe.steps) == (2, 128, 0.0, TrainConfig().steps)
    size, recipe = propose(IDS[:10_000], IDS, TOKENIZER)
    assert (size.n_layer, size.n_embd, size.dropout, recipe.steps) == (2, 64, 0.2, 60 * 10_000 // 1024)


def test_pieces_and_characters_of_many_kinds_are_read_half_as_often():
    tokenizer = CharTokenizer.train("".join(chr(0x4E00 + i) for i in range(300)))
    size, recipe = propose(IDS[:10_000], IDS, tokenizer)
    assert (size.dropout, recipe.steps) == (0.2, 30 * 10_000 // 1024)
    assert "as it is read more than 20 times" in explain(size, recipe, 10_000)
    for steps, dropout in ((195, 0.0), (196, 0.2)):  # 195 steps of 1,024 tokens read 10,000 just less than twenty times
        assert propose(IDS[:10_000], IDS, tokenizer, steps=steps)[0].dropout == dropout


def test_what_is_chosen_stays_and_the_rest_is_fitted_to_it(monkeypatch):
    seen = timed(monkeypatch)
    chosen = {
        "n_layer": 3,
        "n_embd": 32,
        "block_size": 16,
        "batch_size": 4,
        "learning_rate": 1e-4,
        "warmup_steps": 2000,
    }
    size, recipe = propose(IDS, IDS, TOKENIZER, 25, **chosen)
    assert {**vars(size), **vars(recipe)}.items() >= chosen.items()
    assert recipe.steps == 2500 and seen == [size]  # timed at its own size; 2,500 steps of 64 tokens read it 3.2 times
    size, recipe = propose(IDS[:2000], IDS, TOKENIZER, steps=900, dropout=0.0, eval_every=7)
    assert (size.dropout, recipe.steps, recipe.eval_every) == (0.0, 900, 7)  # though it is read 460 times
    size, recipe = propose(IDS[:2000], IDS, TOKENIZER, steps=9)
    assert (size.dropout, recipe.steps, recipe.warmup_steps, recipe.eval_every) == (0.0, 9, 1, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"seconds": 0}, r"seconds=0 must be a number in \(0, inf\)"),
        ({"seconds": float("inf")}, "seconds=inf must be a number in"),
        ({"seconds": float("nan")}, "seconds=nan must be a number in"),
        ({"seconds": "60"}, "seconds='60' must be a number in"),
        ({"seconds": 60, "steps": 9}, "steps and seconds both say how long"),
        ({"n_layers": 2}, "'n_layers' is no setting of GPTConfig or TrainConfig"),
        ({"n_embd": 30}, "n_embd=30 is not divisible by n_head=4"),
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"train_ids": IDS[:1]}, "training part has 1 and the validation part 50000"),
        ({"val_ids": IDS[:40], "block_size": 64}, "at most block_size=39"),
        ({"train_ids": IDS + 3}, "train_ids must lie from 0 to 2"),
        ({"train_ids": None}, "train_ids must be a tensor"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        propose(**{"train_ids": IDS, "val_ids": IDS, "tokenizer": TOKENIZER} | arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("thing", [b"text", None, ["text"]])
def test_only_a_text_is_looked_at(thing):
    with pytest.raises(ValueError, match=f"a text is looked at, but this is {type(thing).__name__}"):
        look_at(thing)


def test_what_was_planned_is_explained_and_what_was_chosen_is_not(monkeypatch):
    timed(monkeypatch)
    for n, seconds, chosen, said in (
        (50_000, None, {}, ["2 layers, as no time was given", "128 wide, for at least 50,000 tokens", "1,500 steps"]),
        (50_000, 299, {}, ["2 layers, for a short time", "2,929 steps", "only learn it by heart", "dropout 0.2"]),
        (50_000, 300, {"n_embd": 64}, ["4 layers, for five minutes or more", "2,929 steps", "dropout 0.2"]),
        (9000, None, {"steps": 50}, ["2 layers", "64 wide, for fewer than 50,000 tokens"]),
        (340, None, {}, ["a window of 33 tokens", "dropout 0.2, as it is read more than 40 times"]),
        (9000, None, {"n_layer": 1, "n_embd": 32, "block_size": 8, "dropout": 0.5, "steps": 9}, []),
    ):
        val_ids = IDS[:35] if n == 340 else IDS
        size, config = propose(IDS[:n], val_ids, TOKENIZER, seconds, **chosen)
        line = explain(size, config, n, seconds, **chosen)
        assert all(part in line for part in said) and "\n" not in line
        assert (line == "") == (not said)
        for name, word in (("n_layer", "layers"), ("n_embd", "wide"), ("steps", "steps"), ("dropout", "dropout")):
            assert name not in chosen or word not in line


def test_timing_is_a_median_of_steps_and_scales_an_evaluation_to_all_windows(monkeypatch):
    def train(model, train_ids, val_ids, config, engine):
        assert (config.steps, config.eval_windows) == (20, 64)
        for step in range(1, 21):
            seconds = 9.0 if step <= 5 else 0.5
            yield Record(step, 0.0, 0.0, None, 0.0, 1024 / seconds, 0.1 * step + (3.0 if step == 20 else 0.0))

    monkeypatch.setattr(planning, "train", train)
    step, evaluation = planning.time_steps(GPTConfig(3, n_layer=1), TrainConfig(), IDS, IDS[:6401])
    assert step == 0.5 and evaluation == pytest.approx((3.1 - 0.5) * 100 / 64)  # 6,400 tokens are 100 windows


def test_timing_ends_when_patience_does(monkeypatch):
    monkeypatch.setattr(planning, "PATIENCE", 0)
    size = GPTConfig(3, n_layer=1, n_embd=8)
    step, evaluation = planning.time_steps(size, TrainConfig(device="cpu"), IDS, IDS[: 48 * 64 + 1])
    assert 0 < step < 1 and evaluation == pytest.approx(step)  # 48 windows forward are as much work as 16 both ways


def test_a_step_that_cannot_be_timed_is_as_many_times_one_layers_as_it_has_operations(monkeypatch):
    seen = []

    def time_steps(size, config, *_):
        seen.append((size.n_layer, config.batch_size))
        return 0.5, 0.25

    monkeypatch.setattr(planning, "time_steps", time_steps)
    gpt2 = GPTConfig(3, block_size=1024, n_layer=12, n_head=12, n_embd=768)
    config = TrainConfig(batch_size=12, device="cpu")
    step, evaluation, how = planning.estimate_steps(gpt2, config, IDS, IDS)
    assert seen == [(1, 1)] and "one layer and 1 window, timed now" in how
    assert step == pytest.approx(0.5 * 12 * 12, rel=1e-3) and evaluation == pytest.approx(0.25 * 12, rel=1e-3)
    assert planning.estimate_steps(GPTConfig(3), config, IDS, IDS)[:2] == (0.5, 0.25) and seen[1:] == [(4, 12)]


def test_a_model_that_is_too_much_for_this_machine_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(planning, "build", lambda size: pytest.fail("it was built"))
    gpt2 = GPTConfig(3, block_size=1024, n_layer=12, n_head=12, n_embd=768)
    with pytest.raises(ValueError, match=r"takes about 8e\+12 operations, which is too long to be timed on a CPU"):
        planning.time_steps(gpt2, TrainConfig(batch_size=12, device="cpu"), IDS, IDS)
    monkeypatch.setattr(planning, "_memory_of_this_machine", lambda: 2.0**30)
    with pytest.raises(
        ValueError, match=r"needs about [\d,]+ MiB to be trained, and this machine has 1,024: take a smaller"
    ):
        planning.time_steps(gpt2, TrainConfig(device="cpu"), IDS, IDS)
    planning.check_memory(GPTConfig(3), TrainConfig(device="cpu"))
