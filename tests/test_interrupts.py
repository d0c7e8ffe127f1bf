"""Ctrl-C at the moments at which Python swallows exceptions."""

import gc
import signal
import sys
import time
import weakref

import pytest

from hierjax.interrupts import interrupts_that_arrive

WAIT = 60.0  # seconds that an interrupt may take on a busy machine; it takes a moment


@pytest.fixture
def default_handler():
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class Referenced:
    pass


def in_a_callback_of_the_collector():
    def callback(phase, _):
        if phase == "start":
            signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def in_a_callback_of_a_weak_reference():
    referenced = Referenced()
    reference = weakref.ref(referenced, lambda _: signal.raise_signal(signal.SIGINT))
    del referenced
    assert reference() is None


def in_a_finaliser():
    Finalised()


def in_ordinary_code():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "interrupt",
    [
        in_a_callback_of_the_collector,
        in_a_callback_of_a_weak_reference,
        in_a_finaliser,
        in_ordinary_code,
    ],
)
def test_an_interrupt_arrives_wherever_it_came(default_handler, interrupt):
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interrupts_that_arrive():
        interrupt()
        start = time.monotonic()
        try:
            time.sleep(WAIT)
        finally:
            assert time.monotonic() - start < WAIT, "a blocking call was not interrupted"
    assert sys.unraisablehook is hook


def test_other_unraisable_exceptions_go_where_they_went(monkeypatch):
    class Broken:
        def __del__(self):
            raise ZeroDivisionError

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: seen.append(it.exc_type))
    with interrupts_that_arrive():
        Broken()
    assert seen == [ZeroDivisionError]


def test_other_handlers_are_left_alone(default_handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_that_arrive():
        in_ordinary_code()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
