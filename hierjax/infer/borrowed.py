"""blackjax, imported so that it can be used afterwards.

It makes arrays while it is imported. Inside a trace those would be values of that trace, which
outlive it; and imports wait until a fit needs them, which is inside of one.
"""

import jax


def import_blackjax() -> None:
    """Import blackjax with its arrays as arrays, also while a function is traced."""
    with jax.ensure_compile_time_eval():
        import blackjax  # noqa: F401
