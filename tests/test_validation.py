"""Checks of data before a fit; most are tested by what `fit` refuses."""

import numpy as np

import hierjax as hj
from hierjax.arguments import Arguments
from hierjax.batch.check import unsupported
from hierjax.validation import validate
from tests import models


def test_one_function_with_data_of_other_lengths():
    """The plate has the length of `y`, which no integer argument shows."""
    for count in (8, 7, 8):
        validate(hj.library.eight_schools(models.SCHOOLS_Y[:count], models.SCHOOLS_SIGMA[:count]))


def test_one_function_with_batches_of_data_of_other_lengths():
    for count in (8, 7, 8):
        model = hj.library.eight_schools(models.SCHOOLS_Y[:count], models.SCHOOLS_SIGMA[:count])
        arguments = Arguments.of(model.data)
        stacked = [np.stack([array, array]) for array in arguments.arrays(model.data)]
        assert unsupported(model.fn, arguments, stacked) == []
