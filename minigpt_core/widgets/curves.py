"""Recorded training runs to go through, step by step; and patients, whose names are hidden."""

import html

from . import live_module
from .base import Widget
from .records import PATIENTS, RUNS, course


class Curves(Widget):
    """Loss, gradient norm and what the model says at a step, of runs that were recorded for the book. With `patient`,
    a letter from A to H, the panel begins with runs whose names it hides: the reader says which of the clinic's diagnoses it
    is. A run or a patient that is not there is a `ValueError`, and so is a patient together with a run.

    >>> Curves(run="high-rate-no-warmup", beside="film", step=100)
    Curves(film, no-warmup, high-rate, high-rate-no-warmup, low-rate, small, little-text)
    """

    NAME = "curves"
    _esm = live_module(NAME)

    def __init__(self, *, run: str = "", beside: str = "", step: int = 900, patient: str = ""):
        for name in filter(None, (run, beside)):
            if name not in RUNS:
                raise ValueError(f"there is no run {name!r} to show: choose one of {', '.join(RUNS)}")
        if patient and patient not in PATIENTS:
            raise ValueError(f"there is no patient {patient!r}: choose one of {', '.join(PATIENTS)}")
        if patient and (run or beside):
            raise ValueError("a patient is a run without a name: give patient, or run and beside, not both")
        super().__init__()
        self.state = {"runs": RUNS, "run": run or "film", "beside": beside, "step": step, "patient": patient}

    def picture(self) -> str:
        """What the run said on the way, as a table with its losses as bars."""
        name, patient = self.state["run"], self.state["patient"]
        run = course(PATIENTS[patient] if patient else name)
        caption = f"Patient {patient}: which diagnosis?" if patient else f"A recorded run: {html.escape(RUNS[name])}."
        highest = max(run["loss"])
        looks = run["says"] or [(step, "") for step, _ in run["val"]]
        head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "", "loss", "the model says"))
        rows = "".join(
            f'<tr><th scope="row">{step}</th>'
            '<td class="mg-track">'
            f'<span class="mg-bar" style="width: {100 * run["loss"][step - 1] / highest:.1f}%"></span></td>'
            f'<td>{run["loss"][step - 1]:.2f}</td><td class="mg-words">{html.escape(text[:60])}</td></tr>'
            for step, text in looks
        )
        return (
            f'<table class="mg-bars"><caption>{caption}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def __repr__(self) -> str:
        return f"Curves({', '.join(RUNS)})"
