"""The line a person sees while a fit runs."""

import time

import pytest

import hierjax as hj
from hierjax import progress


@pytest.fixture
def display(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
    with progress.ProgressDisplay(True) as shown:
        yield shown


def test_time_left_is_shown_only_when_it_can_be_known(display):
    display.compiling()
    task = display._bar.tasks[0]
    assert (task.description, task.fields["left"]) == ("compiling", "")
    for done in (1, 2, 3):
        time.sleep(0.01)
        display.advance(done, 4, {"warming up": False, "step size": 0.25})
    assert task.description == "sampling"
    assert task.fields["left"].endswith(" left")
    assert task.fields["details"] == "step size 0.25"
    display.advance(4, 4, {"warming up": False})
    assert (task.percentage, task.fields["left"]) == (100, "")


def test_numbers_have_the_digits_that_tell_them_apart(display):
    display.advance(1, 4, {"ELBO": -48671.26, "change": 0.08312, "divergences": 3.0, "start": 2})
    details = display._bar.tasks[0].fields["details"]
    assert details == "ELBO -48,671, change 0.0831, divergences 3, start 2"


def test_a_method_that_is_done_before_its_limit_ends_at_the_whole(monkeypatch):
    shown = []
    monkeypatch.setattr(
        progress.ProgressDisplay,
        "advance",
        lambda self, done, total, report: shown.append((done, total)),
    )
    model = hj.library.eight_schools([28.0, 8.0, -3.0, 7.0], [15.0, 10.0, 16.0, 11.0])
    hj.fit(model, method=hj.Laplace(draws=100, points=200))
    done, total = shown[-1]
    assert len(shown) < total
    assert done == total


def test_nothing_is_shown_when_it_is_not_wanted(capsys):
    with progress.ProgressDisplay(False) as shown:
        shown.compiling()
        shown.advance(1, 2, {})
    assert capsys.readouterr().err == ""
