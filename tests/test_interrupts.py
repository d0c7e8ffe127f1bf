"""Ctrl-C at the moments at which Python swallows exceptions."""

import gc
import signal
import threading
import time

import pytest

from hierjax.interrupts import interrupts_that_arrive


@pytest.fixture
def default_handler():
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


def in_a_callback_of_the_collector():
    def callback(phase, _):
        if phase == "start":
            signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def in_a_finaliser():
    class Interrupted:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    Interrupted()


def in_ordinary_code():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "interrupt", [in_a_callback_of_the_collector, in_a_finaliser, in_ordinary_code]
)
def test_an_interrupt_arrives_wherever_it_came(default_handler, interrupt):
    with interrupts_that_arrive(), pytest.raises(KeyboardInterrupt):
        interrupt()
        time.sleep(60)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_are_left_alone(default_handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_that_arrive():
        in_ordinary_code()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_cannot_set_handlers_and_need_none(default_handler):
    seen = []

    def enter():
        with interrupts_that_arrive():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
