"""Data sets of many sizes sorted into buckets, each fitted by one program for padded data."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.arguments import Arguments
from hierjax.batch.plan import Padding, find_padding, items_of, structure_of
from hierjax.batch.verify import difference
from hierjax.errors import HierjaxError
from hierjax.model import Model
from hierjax.ragged import Sizes, buckets


@dataclasses.dataclass(frozen=True, eq=False)
class Bucket:
    """Data sets that are fitted by one program.

    Attributes
    ----------
    fn
        Model function of the padded data.
    padding
        What grows with which plates.
    padded
        Sizes that all are filled up to.
    models
        Place in the batch -> the model on that data set.
    sizes
        Place in the batch -> its true sizes.
    note
        Why the data sets are not padded, if they would have to be.
    """

    fn: Callable[..., Any]
    padding: Padding
    padded: Sizes
    models: Mapping[int, Model]
    sizes: Mapping[int, Sizes]
    note: str = ""

    def data(self, place: int) -> dict[str, Any]:
        """Return the padded data of one data set."""
        return self.padding.apply(self.models[place].data, self.padded)

    def stacked(self, places: Sequence[int]) -> tuple[Arguments, tuple[np.ndarray, ...]]:
        """Structure of the padded data, and their traced leaves stacked along a first axis."""
        data = [self.data(place) for place in places]
        arguments = Arguments.of(data[0])
        leaves = zip(*(arguments.arrays(each) for each in data), strict=True)
        return arguments, tuple(np.stack([np.asarray(leaf) for leaf in each]) for each in leaves)

    def plates(self, sizes: Sizes) -> dict[str, int]:
        """Size of each plate that varies between data sets."""
        pairs = zip(self.padding.classes, sizes, strict=True)
        return {plate: size for plates, size in pairs for plate in plates}

    def without(self, places: Sequence[int]) -> "Bucket":
        """Return the bucket without some data sets."""
        left = {place: model for place, model in self.models.items() if place not in places}
        return dataclasses.replace(self, models=left)


def make_buckets(models: Mapping[int, Model]) -> list[Bucket]:
    """Sort data sets of one model into few buckets.

    Parameters
    ----------
    models
        Place in the batch -> the model on that data set.
    """
    families: dict[Any, list[int]] = collections.defaultdict(list)
    for place, model in models.items():
        families[structure_of(model.data)].append(place)
    found = []
    for places in families.values():
        found += _family({place: models[place] for place in places})
    return found


def _family(models: Mapping[int, Model]) -> list[Bucket]:
    """Buckets of data sets of one structure."""
    fn = next(iter(models.values())).fn
    padding = find_padding(fn, [model.data for model in models.values()])
    if isinstance(padding, str):
        return _exact(models, padding)
    sizes, odd = {}, {}
    for place, model in models.items():
        try:
            sizes[place] = padding.sizes(model.data)
        except HierjaxError as error:
            odd[place] = str(error)
    found = [b for place, note in odd.items() for b in _exact({place: models[place]}, note)]
    if not sizes:
        return found
    places, padded = list(sizes), []
    for target, members in buckets(list(sizes.values())).items():
        own = {places[member]: models[places[member]] for member in members}
        true = {place: sizes[place] for place in own}
        bucket = Bucket(padding.function(fn), padding, target, own, true)
        reason = _why_not(fn, bucket)
        if reason:
            return found + _exact({place: models[place] for place in sizes}, reason)
        padded.append(bucket)
    return found + padded


def _why_not(fn: Callable[..., Any], bucket: Bucket) -> str:
    """Say why a bucket must not be padded: tried with its smallest and its largest data set."""
    if not bucket.padding.classes:
        return ""
    order = sorted(bucket.sizes, key=lambda place: bucket.sizes[place])
    for place in dict.fromkeys((order[0], order[-1])):
        reason = difference(fn, bucket.padding, bucket.models[place].data, bucket.padded)
        if reason:
            return reason
    return ""


def _exact(models: Mapping[int, Model], note: str) -> list[Bucket]:
    """Buckets of data sets of equal sizes, not padded."""
    groups: dict[tuple[int, ...], dict[int, Model]] = collections.defaultdict(dict)
    for place, model in models.items():
        groups[tuple(items_of(model.data).values())][place] = model
    fn = next(iter(models.values())).fn
    return [
        Bucket(fn, Padding(), (), group, dict.fromkeys(group, ()), note)
        for group in groups.values()
    ]
