"""The widgets in a real JupyterLab: one of today, and one with the versions that Colab has. The cells are chapter 10's
own, and panels of the reader's own model."""

import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from jupyter_client import BlockingKernelClient
from test_trainer_widget import SHORT, SPY, TEXT, asked, learn, shows_what_was_told

from minigpt_core import load_corpus, load_model, load_pretrained, load_tokenizer, stream
from minigpt_core.sampling import shape_logits
from minigpt_core.study.ablation import knocked_out
from minigpt_core.study.lens import inner_values

ROOT = Path(__file__).parents[1]
PINS = Path(__file__).with_name("colab.txt")
COLAB = {"ipywidgets": "7.7.1", "ipython": "7.34.0", "ipykernel": "6.17.1", "anywidget": "0.9.21"}
TOKEN = secrets.token_hex()
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}  # it asks the network
# What torch and the package need comes from the book's environment, behind what the kernel's own environment has.
BORROW = f"import sys; sys.path += {[sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), str(ROOT)]}"
# What JupyterLab 3 says of its own modules, and nothing of ours.
JUPYTERS = re.compile(r"shared (singleton )?module|Control comm was closed too early")
OWN = """\
from minigpt_core import GPT, CharTokenizer, GPTConfig
from minigpt_core.checkpoint import save_model

torch.manual_seed(0)
tokenizer = CharTokenizer.train("a small text of one's own")
model = GPT(GPTConfig(tokenizer.vocab_size, block_size=16, n_layer=1, n_head=2, n_embd=8, end_id=0))
save_model(model, "own", narrow=True)
tokenizer.save("own")
Playground(model, tokenizer, prompt="a ", temperature=1, length=40, seed=2)
"""
INSIDE = """\
from minigpt_core.widgets.anatomy import Anatomy
from minigpt_core.widgets.attention import AttentionMaps

anatomy, attention = (panel(model, tokenizer, text="a small") for panel in (Anatomy, AttentionMaps))
"""
BUDGET = """\
from minigpt_core.widgets.budget import Budget

law = dict(name="books", unit="nats per character", E=1, A=9, alpha=0.3, B=30, beta=0.3, sizes=(1e4, 5e6), tokens=(1e6, 3e7))
laptop = dict(name="laptop", flops=2e11, share=0.5, note="measured")
gpt3 = dict(name="GPT-3", parameters=175e9, tokens=300e9, source="its paper")
budget = Budget([law | dict(aspect=32, alice=150_000)], [laptop], [gpt3])
"""
QUIZ = """\
from minigpt_core.notebook.predict import predict
from minigpt_core.widgets.quiz import Quiz

guess = predict("How many questions has the quiz?", guess=5)
quiz = Quiz("06_attention")
"""
TRAINER = """\
from minigpt_core.widgets.trainer import Trainer

trainer = Trainer(own=True)
"""


def notebook() -> nbformat.NotebookNode:
    """Chapter 10 cut to its imports and its widgets, with a widget of the reader's own model, a budget, a quiz, and a panel
    that trains."""
    chapter = nbformat.read(ROOT / "notebooks" / "10_sampling.ipynb", as_version=4)
    cells = [cell.source for cell in chapter.cells if re.match(r"import html\n|Sampler\(|Playground\(", cell.source)]
    imports, sampler, playground = cells
    sources = [BORROW, imports, sampler, "sampler = _", playground, "playground = _", OWN, "own = _"]
    sources += [INSIDE, "anatomy", "attention", BUDGET, "budget", QUIZ, "guess"]
    sources += ["guess.compare(len(quiz.state['questions']))", "quiz", TRAINER, "trainer"]
    chapter.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return chapter


def colab_python() -> Path:
    """The Python of an environment with Colab's versions, made once beside the book's own."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("this Python has no environment of its own: Colab's versions are NOT tested")
    folder = Path(sys.prefix) / "colab"
    python, made = folder / "bin" / "python", folder / PINS.name
    if not made.is_file() or made.read_text(encoding="utf-8") != PINS.read_text(encoding="utf-8"):
        venv.create(folder, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", PINS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if "from versions: none" in done.stderr:
            pytest.skip("pip reaches no registry: Colab's versions are NOT tested")
        assert done.returncode == 0, done.stderr[-2000:]
        made.write_bytes(PINS.read_bytes())
    return python


class Lab:
    """A JupyterLab of its own, the notebook open in it with all its cells run, and a line to the kernel."""

    def __init__(self, python: Path | str, folder: Path):
        self.folder = folder
        settings = folder / "config" / "labconfig" / "page_config.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(NO_NEWS), encoding="utf-8")
        nbformat.write(notebook(), folder / "widgets.ipynb")
        shutil.copytree(ROOT / "notebooks" / "quizzes", folder / "quizzes")
        environment = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
        environment |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_TOKEN": TOKEN}
        command = [python, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
        with open(folder / "log", "wb") as log:
            self.server = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log)
        self.client = BlockingKernelClient()

    def open(self, visit) -> None:
        address = json.loads(self.written("jpserver-*.json"))["url"]
        self.visit = visit(f"{address}lab/tree/widgets.ipynb?token={TOKEN}", viewport={"width": 1200, "height": 10_000})
        self.page = self.visit.page
        self.page.get_by_text("| Idle").wait_for()
        self.page.get_by_text("Run", exact=True).click()
        self.page.locator("#jp-mainmenu-run").get_by_text("Run All Cells", exact=True).click()
        self.page.wait_for_function("document.querySelectorAll('.mg-alive').length === 8", timeout=60_000)
        names = ("sampler", "playground", "own", "anatomy", "attention", "budget", "quiz", "trainer")
        vars(self).update(zip(names, self.page.locator(".mg-alive").all(), strict=True))
        self.client.load_connection_info(json.loads(self.written("kernel-*.json")))
        self.client.start_channels()

    def written(self, name: str) -> str:
        """The text of a file among those of the running server, as soon as it is there."""
        for _ in range(600):
            for path in (self.folder / "runtime").glob(name):
                if text := path.read_text(encoding="utf-8"):
                    return text
            time.sleep(0.1)
        raise TimeoutError((self.folder / "log").read_text(encoding="utf-8")[-2000:])

    def kernel(self, expression: str, before: str = ""):
        """What the expression is in the kernel, after the statement."""
        reply = self.client.execute(before, user_expressions={"it": expression}, reply=True, timeout=60)["content"]
        assert reply["status"] == reply["user_expressions"]["it"]["status"] == "ok", reply
        return ast.literal_eval(reply["user_expressions"]["it"]["data"]["text/plain"])

    def becomes(self, expression: str, wanted) -> None:
        """Wait until the expression in the kernel is what is wanted: what the page tells takes a moment."""
        deadline = time.monotonic() + 10
        while (found := self.kernel(expression)) != wanted and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        assert found == wanted

    def close(self) -> None:
        self.client.stop_channels()
        self.server.terminate()
        self.server.wait(30)


@pytest.fixture(scope="module", params=["today", "colab"])
def lab(visit, request, tmp_path_factory):
    lab = Lab(sys.executable if request.param == "today" else colab_python(), tmp_path_factory.mktemp("lab"))
    try:
        lab.open(visit)
        yield lab
        assert lab.visit.outside == []
        assert [problem for problem in lab.visit.problems if not JUPYTERS.search(problem)] == []
        lab.page.close()
    finally:
        lab.close()


def pinned(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def likeliest(prompt: str, **knobs: float) -> list[list[str]]:
    """The sampler's first 16 rows: token, the model's probability, that after the knobs, and no draws."""
    model, tokenizer = load_pretrained("tales-char")
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(prompt)]))[0][:, -1].double()  # (1, V)
    after = shape_logits(logits, torch.zeros(1, 0, dtype=torch.long), **knobs).softmax(1)[0]
    top = logits.softmax(1)[0].topk(16)
    return [
        [tokenizer.tokens[i], f"{p:.3f}", f"{after[i]:.3f}", ""]
        for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def shows(sampler, rows: list[list[str]]) -> None:
    """Wait until the sampler's table has these rows."""
    sampler.page.wait_for_function(
        """([root, rows]) => {
          const cells = (row) => [row.querySelector("th"), ...row.querySelectorAll("td:not(.mg-track)")];
          const found = [...root.querySelectorAll(".mg-bars tbody tr")].slice(0, rows.length);
          const texts = found.map((row) => cells(row).map((cell) => cell.textContent));
          return JSON.stringify(texts) === JSON.stringify(rows);
        }""",
        arg=[sampler.element_handle(), rows],
    )


def turn(lab, seed: int = 1, **knobs: float) -> None:
    """Set the sampler's state in the kernel, and wait until its page follows."""
    state = {"prompt": "Wren ", "knobs": knobs | {"seed": seed}}
    lab.kernel("sampler.state", f"sampler.state = sampler.state | {state}")
    shows(lab.sampler, likeliest("Wren ", **knobs))


def write(playground) -> str:
    """Press Write, wait until it has ended, and read."""
    playground.get_by_role("button", name="Write", exact=True).click()
    playground.get_by_text("to see what else could have been").wait_for()
    return playground.locator(".mg-text").first.text_content()


def test_the_versions_are_those_of_the_pins(lab, request):
    colab = request.node.callspec.params["lab"] == "colab"
    pins = pinned(PINS if colab else ROOT / "requirements.txt")
    if colab:
        assert COLAB.items() <= pins.items()
    names = ["ipywidgets", "IPython", "ipykernel", "anywidget"]
    assert lab.kernel(f"[__import__(name).__version__ for name in {names}]") == [pins[name.lower()] for name in names]
    config = json.loads(lab.page.locator("#jupyter-config-data").text_content())
    assert config["appVersion"] == pins["jupyterlab"]


def test_the_shipped_models_arrive_and_do_what_python_does(lab):
    shows(lab.sampler, likeliest('"Where is the ', top_p=0.9))
    written = write(lab.playground)
    assert written == "Wren " + "".join(stream(*load_pretrained("tales-char"), "Wren ", 200, temperature=0.8, seed=1))
    lab.becomes("playground.text", written)


def test_the_readers_own_model_travels_to_the_page(lab):
    written = write(lab.own)
    model, tokenizer = load_model(lab.folder / "own"), load_tokenizer(lab.folder / "own")
    assert written == "a " + "".join(stream(model, tokenizer, "a ", 40, temperature=1, seed=2))
    lab.becomes("own.text", written)


def test_the_readers_own_model_is_taken_apart_in_the_page(lab):
    model, tokenizer = load_model(lab.folder / "own"), load_tokenizer(lab.folder / "own")
    ids = tokenizer.encode("a small")
    seen = inner_values(model, torch.tensor(ids), layer=0)
    lab.anatomy.get_by_label("head", exact=True).fill("1")
    lab.anatomy.get_by_role("button", name="back").click()
    lab.page.keyboard.press("ArrowRight")
    for _ in range(6):
        lab.page.keyboard.press("ArrowRight")
    share = lab.anatomy.locator("tbody td:nth-child(4)").all_text_contents()  # softmax: query, then the positions
    assert share[1:] == [f"{p:.2f}" for p in seen["weights"][1, -1]]
    lab.becomes("[anatomy.state[name] for name in ('head', 'step', 'token')]", [1, 8, len(ids) - 1])


def test_a_head_of_the_readers_own_model_is_switched_off_in_the_page(lab):
    model, tokenizer = load_model(lab.folder / "own"), load_tokenizer(lab.folder / "own")
    ids = torch.tensor([tokenizer.encode("a small")])
    losses = []
    for off in ([], [(0, 1)]):
        with torch.no_grad(), knocked_out(model, off):
            losses.append(F.cross_entropy(model(ids)[0][0, :-1], ids[0, 1:]).item())
    lab.attention.get_by_role("button", name="layer 0, head 1").click()
    lab.attention.get_by_label("switch off layer 0, head 1").check()
    lab.attention.get_by_text("changes most").wait_for()
    row = lab.attention.locator("table", has_text="Mean loss").locator("tbody td:not(.mg-wide)")
    assert [float(number) for number in row.all_text_contents()] == pytest.approx(losses, abs=0.0052)
    lab.becomes("attention.state['off']", [[0, 1]])


def test_a_budget_is_typed_in_the_page_and_set_in_the_kernel(lab):
    report = "widgets.budget.report(*(budget.state[kind][0] for kind in ('laws', 'devices')), budget.state['hours'])"
    shown = lab.budget.locator(".mg-facts td:nth-child(2)")
    lab.budget.get_by_label("hours", exact=True).fill("8")
    lab.becomes("budget.state['hours']", 8)
    eight = shown.all_text_contents()
    assert eight == lab.kernel(f"[value for _, value, _ in {report}['facts']]", "from minigpt_core import widgets")
    lab.kernel("budget.state['hours']", "budget.state = {**budget.state, 'hours': 0.5}")
    changed = "([root, before]) => root.querySelector('.mg-facts td').textContent !== before"
    lab.page.wait_for_function(changed, arg=[lab.budget.element_handle(), eight[0]])
    assert shown.all_text_contents() == lab.kernel(f"[value for _, value, _ in {report}['facts']]")


def test_a_quiz_is_answered_by_the_keyboard_and_a_guess_compared(lab):
    (first, *_), form = (
        json.loads((lab.folder / "quizzes" / "06_attention.json").read_text("utf-8")),
        lab.quiz.locator("form").first,
    )
    place = next(i for i, answer in enumerate(first["answers"]) if answer["correct"])
    form.locator("input").first.focus()
    for key in ("Space", *["ArrowDown"] * place, "Enter"):
        lab.page.keyboard.press(key)
    assert form.get_by_role("status").text_content() == f"✓ Right. {first['answers'][place]['feedback']}"
    lab.quiz.get_by_text("1 of 6 answered right").wait_for()
    assert form.locator("input").nth(place).evaluate("input => input === document.activeElement")
    assert lab.page.get_by_text("It is 6; you had guessed 5: 1 too low.").is_visible()


def test_a_model_learns_the_readers_text_and_then_one_that_the_kernel_gives(lab):
    lab.page.evaluate(SPY, [SHORT, ""])
    lab.trainer.get_by_label("your own text: paste it here").fill(TEXT)
    learn(lab.trainer)
    shows_what_was_told(lab.trainer)
    lab.becomes("[trainer.state[name] for name in ('text', 'own')]", ["tales", True])
    lab.trainer.get_by_label("text", exact=True).select_option("tales_zh")
    learn(lab.trainer, "Train again")
    assert asked(lab.trainer, "prepare")[-1]["text"] == load_corpus("tales_zh")
    lab.becomes("[trainer.state[name] for name in ('text', 'own')]", ["tales_zh", False])


def test_a_slider_moves_the_state_in_the_kernel_and_not_the_selected_cell(lab):
    turn(lab, temperature=1)
    slider = lab.sampler.get_by_label("temperature", exact=True)
    slider.focus()
    is_selected = "slider => slider.closest('.jp-Cell').matches('.jp-mod-selected')"
    lab.page.wait_for_function(is_selected, arg=slider.element_handle())  # JupyterLab does this a moment later
    for key in ("ArrowUp", "ArrowRight", "ArrowUp", "ArrowDown"):
        lab.page.keyboard.press(key)
    shows(lab.sampler, likeliest("Wren ", temperature=1.1))
    lab.becomes("sampler.state['knobs']['temperature']", 1.1)
    assert slider.evaluate("slider => slider === document.activeElement")
    lab.page.wait_for_timeout(200)  # and so it would if the keys had reached it
    assert slider.evaluate(is_selected) and lab.page.locator(".jp-Cell.jp-mod-selected").count() == 1


def test_the_mouse_drags_a_slider_to_its_end(lab):
    turn(lab, temperature=1)
    box = lab.sampler.get_by_label("temperature", exact=True).bounding_box()
    middle = box["y"] + box["height"] / 2
    lab.page.mouse.move(box["x"] + box["width"] / 2, middle)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 2 * box["width"], middle, steps=8)
    lab.page.mouse.up()
    shows(lab.sampler, likeliest("Wren ", temperature=2))
    lab.becomes("sampler.state['knobs']['temperature']", 2)


def test_python_moves_the_controls(lab):
    turn(lab, temperature=0.5, top_k=3, seed=7)
    labels = ("prompt", "temperature", "top-k", "seed")
    found = [lab.sampler.get_by_label(label, exact=True).input_value() for label in labels]
    assert found == ["Wren ", "0.5", "3", "7"]


def test_control_and_enter_write_and_do_not_run_the_cell_again(lab):
    field = lab.playground.get_by_label("prompt")
    field.fill("Toby ")
    field.evaluate("field => { field.same = true; }")
    field.press("Control+Enter")
    lab.playground.get_by_text("to see what else could have been").wait_for()
    lab.page.wait_for_timeout(1000)
    assert field.evaluate("field => field.same === true")
    assert lab.playground.locator(".mg-text").first.text_content().startswith("Toby ")
