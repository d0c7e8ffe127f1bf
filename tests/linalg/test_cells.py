"""Cells are found for as many as there is room for, and never fewer without saying so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.errors import ModelError
from hierjax.linalg import Factor, Structure, log_likelihood, summarise
from hierjax.linalg.cells import find_pattern
from hierjax.linalg.structure import Crossing, crossing_of, worth_crossing
from tests.linalg.cases import make

GROUP = np.array([2, 0, 0, 1, 0, 2, 1])
ROW = np.array([1, 3, 0, 2, 3, 1, 0])


@pytest.mark.parametrize("spare", [0, 4])
def test_pattern_lists_each_cell_and_each_pair_once(spare):
    present = np.array([True, True, True, True, True, True, False])
    pattern, index, enough = find_pattern(GROUP, ROW, present, (3, 4), 4 + spare, 5 + spare)
    assert bool(enough)
    cells = list(zip(pattern.group.tolist(), pattern.row.tolist(), strict=True))[:4]
    assert cells == [(0, 0), (0, 3), (1, 2), (2, 1)]
    assert [cells[each] for each in index[present]] == list(
        zip(GROUP[present], ROW[present], strict=True)
    )
    used = pattern.share > 0
    pairs = zip(pattern.first[used].tolist(), pattern.second[used].tolist(), strict=True)
    shares = dict(zip(pairs, pattern.share[used].tolist(), strict=True))
    assert shares == {(0, 0): 0.5, (0, 1): 1.0, (1, 1): 0.5, (2, 2): 0.5, (3, 3): 0.5}


@pytest.mark.parametrize("less", [{"cells": 1}, {"pairs": 1}])
def test_too_little_room_gives_no_number(less):
    with jax.enable_x64(True):
        case = make("by cells")
        room = case.structure.crossing
        fewer = {name: getattr(room, name) - by for name, by in less.items()}
        structure = dataclasses.replace(case.structure, crossing=dataclasses.replace(room, **fewer))

        def value(structure):
            statistics = summarise(structure, *case.rows()[1:])
            return log_likelihood(statistics, case.prior, case.sigma)

        assert np.isfinite(jax.jit(value, static_argnums=0)(case.structure))
        assert np.isnan(jax.jit(value, static_argnums=0)(structure))


def test_only_a_crossed_factor_beside_one_eliminated_factor_can_be_kept_by_cells():
    nested = (Factor("a", 9, 1, "b"), Factor("b", 3, 1), Factor("h", 4, 1))
    with pytest.raises(ModelError, match="`h` cannot be kept cell by cell"):
        Structure(nested, crossing=Crossing("h", 1, 1))
    with pytest.raises(ModelError, match="`g` cannot be kept cell by cell"):
        Structure((Factor("g", 9, 1), Factor("h", 4, 1)), crossing=Crossing("g", 1, 1))


def test_many_zeros_are_worth_cells_and_few_are_not():
    rng = np.random.default_rng(5)
    structure = Structure((Factor("g", 3000, 1), Factor("h", 1000, 1)))
    few = [rng.integers(0, 3000, 9000), rng.integers(0, 1000, 9000)]
    found = worth_crossing(structure, few)
    assert found == crossing_of(structure, few, "h")
    assert found.cells == len(set(zip(*map(np.ndarray.tolist, few), strict=True)))
    full = [each.ravel() for each in np.indices((3000, 1000))]
    assert worth_crossing(structure, full) is None
    small = Structure((Factor("g", 3000, 1), Factor("h", 10, 1)))
    assert worth_crossing(small, [few[0], few[1] % 10]) is None


def test_statistics_by_cells_map_over_responses():
    with jax.enable_x64(True):
        case = make("by cells, slopes")
        structure, response, terms, columns = case.rows()

        def value(response):
            statistics = summarise(structure, response, terms, columns, weights=case.weights)
            return log_likelihood(statistics, case.prior, case.sigma)

        several = jnp.stack([response, 2.0 * response])
        together = jax.jit(jax.vmap(value))(several)
        alone = [jax.jit(value)(each) for each in several]
        np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-12)
