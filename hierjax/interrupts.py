"""Ctrl-C that is never lost: where Python swallows exceptions, it is delivered a moment later."""

import contextlib
import gc
import signal
import threading
from collections.abc import Iterator
from types import FrameType

MOMENT = 0.05  # seconds


@contextlib.contextmanager
def interrupts_that_arrive() -> Iterator[None]:
    """Deliver Ctrl-C as `KeyboardInterrupt` to code that passes it on, while this is open.

    Python prints and forgets what is raised inside a callback of its garbage collector (JAX has
    one) or a finaliser, so that an interrupt at such a moment has no effect. Here it comes again
    after `MOMENT`. For programs that own their process, such as the command line: whoever has set
    another handler, or ignores Ctrl-C, keeps that.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _is_swallowed(frame):
        raise KeyboardInterrupt
    again = threading.Timer(MOMENT, signal.raise_signal, [number])
    again.daemon = True
    again.start()


def _is_swallowed(frame: FrameType | None) -> bool:
    """Whether an exception raised here ends in a callback of the collector or a finaliser."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
