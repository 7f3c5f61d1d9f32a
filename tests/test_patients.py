"""The patients of chapter 09 whose losses do not explain themselves: each measurement convicts the sick and acquits the healthy."""

import inspect
import math
import types

import pytest
import torch
import torch.nn.functional as F

from minigpt_core import GPT, GPTConfig, load_corpus, stream
from minigpt_core.beyond.large import add_gradients
from minigpt_core.data import get_batch
from minigpt_core.sampling import keep_top_k
from minigpt_core.study import patients
from minigpt_core.study.patients import PATIENTS, Measured, changed_lines, measured, separate

# The margin: of five seeds, what the sick have at least, and the healthy at most. The limit lies between.
BANDS = {
    "prefill": (0.05, 1e-5),
    "order": (2.0, 0.35),
    "tied weights": (50.0, 0.3),
    "download": (0.3, 0.0),
    "top-k": (0.9, 0.0),
    "short numbers": (0.6, 0.01),
    "accumulation": (0.1, 1e-5),
    "evaluation": (1.0, 0.5),
    "masked targets": (0.15, 0.0),
    "resume": (0.05, 1e-3),
}


@pytest.mark.parametrize("name", PATIENTS)
def test_the_sick_is_convicted_and_the_healthy_acquitted_with_every_seed(name):
    patient, (sick, healthy) = PATIENTS[name], BANDS[name]
    found = separate(patient)
    assert len(found.sick) == len(found.healthy) == 5 and found.apart
    assert min(found.sick) >= sick > patient.limit, found
    assert max(found.healthy) <= healthy <= patient.limit, found
    assert patient.convicts(patient.sick) and not patient.convicts(patient.healthy)


def test_every_patient_reads_as_a_file_and_its_program_is_short():
    for patient in PATIENTS.values():
        assert patient.symptom.endswith(".") and patient.cure.endswith(".") and not patient.measured.endswith(".")
        assert 1 <= len(patients._body(patient.sick)) <= 12
        lines = changed_lines(patient.sick, patient.healthy).splitlines()
        assert 1 <= len(lines) <= 8
        shown = [*lines, *inspect.getsource(patient.sick).split('"""')[0].splitlines(), *patients._body(patient.sick)]
        assert [line for line in shown if len(line) > 79] == []  # longer ones are cut in the chapter


def test_measuring_leaves_the_random_numbers_and_the_attention_as_they_were():
    before, usual = torch.get_rng_state(), patients.CausalSelfAttention.forward
    separate(PATIENTS["prefill"], seeds=[3])
    assert torch.equal(before, torch.get_rng_state()) and patients.CausalSelfAttention.forward is usual


def test_the_same_seed_gives_the_same_number_and_another_one_another():
    patient = PATIENTS["top-k"]
    one, same, other = (measured(patient.measure, patient.sick, seed) for seed in (1, 1, 2))
    assert one == same != other


# The package's own programs, before the same measurements


def test_the_packages_own_programs_are_acquitted():
    assert not PATIENTS["top-k"].convicts(keep_top_k)

    def accumulate(model, x, y, size):
        add_gradients(model, x, y, torch.arange(len(x)).split(size))

    assert not PATIENTS["accumulation"].convicts(accumulate)
    assert not PATIENTS["tied weights"].convicts(GPT)
    torch.manual_seed(0)
    model, x = GPT(GPTConfig(65)), torch.randint(65, (3, 40))
    assert patients.prefill_gap(model, x) < 1e-5
    assert all(patients.tag_share(load_corpus(name)) == 0 for name in ("sample", "tales", "tales_zh"))


def test_masks_of_different_lengths_are_means_of_means_too():
    """The form in which large programs had the fault: groups of the same number of rows, but not of targets."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(65, n_layer=1))
    x, y = get_batch(torch.randint(65, (500,)), 32, 4, seed=0, step=1)
    y = y.clone()
    y[:2, :30] = patients.MASKED

    def in_groups(program):
        return patients.gradient_gap(model, lambda: model(x, y)[1].backward(), lambda: program(model, x, y, 2))

    assert in_groups(patients.accumulate_sick) > 0.1
    assert in_groups(patients.accumulate_healthy) > 0.1  # counts masked tokens as well: see beyond.large
    assert in_groups(lambda *batch: add_gradients(*batch[:3], torch.arange(4).split(2))) < 1e-5


def test_of_a_batch_without_targets_the_loss_is_no_number():
    assert F.cross_entropy(torch.zeros(2, 5), torch.tensor([patients.MASKED] * 2)).isnan()


def test_the_server_that_sends_only_pages_is_refused_by_the_healthy_program():
    with pytest.raises(ValueError, match="this is a page, not the text: '<!DOCTYPE html>"):
        patients.download_healthy(patients.ERROR_PAGE.encode)
    assert patients.download_sick(patients.ERROR_PAGE.encode) == patients.ERROR_PAGE


def test_without_a_prompt_to_read_the_two_attentions_write_the_same():
    """A prompt of one token needs no mask, so the fault does not show there."""
    model, _, val_ids = patients._trained()
    found = {}
    for name in ("sick", "healthy"):
        with patients.attending(getattr(PATIENTS["prefill"], name)):
            tokenizer = patients.load_pretrained("tales-char")[1]
            found[name] = ["".join(stream(model, tokenizer, prompt, 40)) for prompt in ("W", '"Where is the')]
    assert found["sick"][0] == found["healthy"][0] and found["sick"][1] != found["healthy"][1]
    one = val_ids[None, :1]
    assert one.shape == (1, 1)
    with pytest.raises(ValueError, match=r"at least 2 tokens, not \(1, 1\)"):
        patients.prefill_gap(model, one)


# A patient of the reader's own


def own(sick, healthy, measure=lambda program: program()) -> types.SimpleNamespace:
    return types.SimpleNamespace(sick=sick, healthy=healthy, measure=measure)


def test_a_module_with_three_names_is_a_patient():
    module = types.ModuleType("mine")
    source = "import torch\ndef sick(): return 2 + torch.rand(())\ndef healthy(): return torch.rand(())\n"
    exec(source + "def measure(program): return program()", module.__dict__)
    found = separate(module, seeds=range(5))
    assert found.apart and 1 < found.limit < 2 and len(set(found.sick)) == 5
    assert separate(own(module.healthy, module.sick)).apart  # the sick may have the lower numbers


def test_a_measurement_that_separates_with_some_seeds_only_is_told():
    found = separate(own(lambda: 0.3 + torch.rand(()), lambda: torch.rand(())))
    assert not found.apart
    with pytest.raises(ValueError, match=r"does not separate them: sick 0\.\d+, .* healthy 0\.\d+"):
        _ = found.limit
    assert not separate(own(lambda: math.nan, lambda: 1.0)).apart
    assert not separate(own(lambda: math.inf, lambda: 1.0)).apart
    assert not Measured((1.0,), (1.0,)).apart and Measured((0.0,), (1.0,)).limit == 0.5


@pytest.mark.parametrize("answer", [None, "0.5", [1.0, 2.0], torch.zeros(3)])
def test_what_is_no_number_is_no_measurement(answer):
    if answer == "0.5":
        answer = "half"
    with pytest.raises(ValueError, match="must give one number, and gives a"):
        separate(own(lambda: answer, lambda: 1.0))


def test_a_program_whose_number_is_none_is_not_acquitted():
    patient = PATIENTS["evaluation"]
    assert patient.convicts(lambda model, train_ids, val_ids: math.nan)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: separate(PATIENTS["top-k"], seeds=[]), "there is no seed"),
        (lambda: separate(PATIENTS["top-k"], seeds=[-1]), "seed=-1 must be a whole number of at least 0"),
        (lambda: patients.largest_rise([1.0] * 5), "5 losses cannot be cut into 10 parts"),
        (lambda: patients.largest_rise([1.0] * 5, parts=1), "parts=1 must be a whole number of at least 2"),
        (lambda: patients.tag_share(""), "a text of at least one character"),
        (lambda: patients.without_targets([]), "there is no batch"),
        (lambda: patients.insensitive_share(lambda ids: 1.0, torch.tensor([1])), "at least 2 tokens, not"),
        (lambda: patients.unmoved_share(torch.nn.Linear(2, 2), lambda: None), "no weight has a gradient"),
        (lambda: patients.mass_outside(keep_top_k, torch.zeros(1, 3), k=0), "k=0 must be a whole number"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
