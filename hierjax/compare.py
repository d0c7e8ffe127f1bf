"""Comparison of models by leave-one-out cross-validation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hierjax.errors import DataError, SettingsError
from hierjax.loo import Loo

if TYPE_CHECKING:
    import pandas as pd


class HasLoo(Protocol):
    """A posterior."""

    def loo(self, by: str | None = None) -> Loo:
        """Leave-one-out cross-validation."""
        ...


def compare(models: Mapping[str, HasLoo | Loo], by: str | None = None) -> "pd.DataFrame":
    """Compare models of the same observations by what they say of those that are left out.

    Parameters
    ----------
    models
        Name -> posterior, or what its `loo` returned.
    by
        Grouping whose groups are left out; by default single observations are.

    Returns
    -------
    pandas.DataFrame
        One row a model, best first: `elpd` and its standard error, `difference` to the best model
        with its standard error (of paired differences), `p_loo`, and how many units have a k-hat
        that is too large. The name of the index says what is left out.

    Raises
    ------
    SettingsError
        There are not two models.
    DataError
        They leave out different things, or were fitted to different observations.
    """
    import pandas as pd

    found = {name: each if isinstance(each, Loo) else each.loo(by) for name, each in models.items()}
    if len(found) < 2:
        raise SettingsError("give two models or more: compare({'a': post_a, 'b': post_b}).")
    first = next(iter(found.values()))
    for name, each in found.items():
        if each.by != first.by or len(each.pointwise) != len(first.pointwise):
            raise DataError(f"model {name!r} leaves out other things than the first one.")
        if not np.array_equal(each.observed, first.observed):
            raise DataError(
                f"model {name!r} was fitted to other observations than the first one, or in "
                "another order, or on another scale: their densities cannot be compared."
            )
    order = sorted(found, key=lambda name: -found[name].elpd)
    best = found[order[0]].pointwise
    rows = []
    for name in order:
        each = found[name]
        gap = each.pointwise - best
        rows.append(
            {
                "elpd": each.elpd, "se": each.se, "difference": gap.sum(),
                "se_difference": np.sqrt(len(gap) * gap.var()), "p_loo": each.p_loo,
                "doubtful": len(each.doubtful),
            }
        )  # fmt: skip
    what = f"leave one {first.by} out" if first.by else "leave one observation out"
    return pd.DataFrame(rows, index=pd.Index(order, name=what))
