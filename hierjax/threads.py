"""One thread for small matrices: more of them only wait for one another."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep the BLAS behind JAX's CPU factorisations to one thread while this lasts.

    Compiled programs call it for matrices of some tens of rows. On a busy machine its threads spin:
    the gradient of a model with 34 columns took 0.2 ms with one thread and 3 to 10 ms of CPU time
    with two. Chains and data sets are vectorised inside the program instead.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
