"""The line a person sees while a fit runs."""

import time

import pytest

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


def test_nothing_is_shown_when_it_is_not_wanted(capsys):
    with progress.ProgressDisplay(False) as shown:
        shown.compiling()
        shown.advance(1, 2, {})
    assert capsys.readouterr().err == ""
