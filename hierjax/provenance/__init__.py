"""Where the numbers in a traced program come from: the exact part of reading a model's levels.

A model's plates do not say which data array picks an effect for each row; the program does. This
module walks a jaxpr and follows, for every value, the sites and data arguments it depends on, what
the positions along each axis stand for, and whether its numbers *are* those of a data argument. A
primitive without a rule keeps the dependencies and forgets the rest, so nothing is ever guessed.
"""

from hierjax.provenance.alignment import Alignment
from hierjax.provenance.values import (
    COMPUTED_MARK,
    PLATE_MARK,
    SITE_MARK,
    Axes,
    Index,
    Label,
    Lookup,
    Value,
    data_value,
    merge,
    site_value,
)
from hierjax.provenance.walk import Walk
