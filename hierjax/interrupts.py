"""Ctrl-C that is never lost: where Python swallows exceptions, it is delivered a moment later."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

MOMENT = 0.05  # seconds


@contextlib.contextmanager
def interrupts_that_arrive() -> Iterator[None]:
    """Deliver Ctrl-C as `KeyboardInterrupt` to code that passes it on, while this is open.

    What is raised inside a callback of the garbage collector (JAX has one), of a weak reference
    or inside a finaliser goes to `sys.unraisablehook`, which prints it, and is forgotten, so that
    an interrupt at such a moment has no effect. Here it comes again after `MOMENT`, to whatever
    handles Ctrl-C then. All else that cannot be raised goes where it went before.
    """
    report = sys.unraisablehook

    def deliver_again(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(MOMENT, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = deliver_again
    try:
        yield
    finally:
        sys.unraisablehook = report


def _interrupt_main_thread() -> None:
    # A signal to another thread would be seen only after a blocking call of the main thread.
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
