"""ragged: sizes rounded up within bounds, few buckets, padding with values like the array's own."""

import numpy as np
import pytest

from hierjax.ragged import MOST_BUCKETS, WORTH_COMPILING, buckets, pad, round_up

SIZES = range(1, 3000)


def test_sizes_are_held_and_waste_is_bounded():
    for size in SIZES:
        assert size <= round_up(size)
        assert size < 8 or round_up(size) < 1.25 * size
        assert round_up(round_up(size)) == round_up(size)
    assert len({round_up(size) for size in SIZES}) < 40


def ragged(seed, count, largest):
    generator = np.random.default_rng(seed)
    return [tuple(map(int, row)) for row in generator.integers(1, largest, (count, 2))]


@pytest.mark.parametrize(("count", "largest"), [(1, 10), (5, 100), (100, 100), (1000, 1000)])
def test_everything_is_in_one_bucket_that_holds_it(count, largest):
    sizes = ragged(0, count, largest)
    found = buckets(sizes)
    assert sorted(place for members in found.values() for place in members) == [*range(count)]
    assert len(found) <= MOST_BUCKETS
    for padded, members in found.items():
        assert all(np.all(np.array(sizes[place]) <= padded) for place in members)


def elements(sizes):
    return int(np.sum(sizes))


def test_work_of_many_at_most_doubles():
    sizes = ragged(1, 10_000, 1000)
    work = sum(elements(padded) * len(members) for padded, members in buckets(sizes).items())
    assert work <= 2 * elements(sizes)


def test_few_small_things_are_not_worth_a_program_of_their_own():
    assert len(buckets(ragged(2, 100, 40))) == 1


def test_what_is_worth_compiling_for_has_a_program_of_its_own():
    small, large = (10, 10), (10, 10 + 2 * WORTH_COMPILING)
    assert len(buckets([small, large])) == 2
    assert len(buckets([small, (10, WORTH_COMPILING // 2)])) == 1


def test_equal_sizes_are_not_padded_and_few_things_share_a_bucket():
    assert buckets([(17, 5)] * 3) == {(17, 5): [0, 1, 2]}
    assert buckets([(17, 30), (17, 33), (17, 45)]) == {(17, 48): [0, 1, 2]}


def test_a_giant_does_not_share_a_bucket_with_dwarfs():
    found = buckets([(10,), (12,), (100_000,)])
    assert [members for members in found.values()] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("array", "sizes", "last", "other"),
    [
        (np.array([1.0, 4.0, 2.0]), {0: 5}, [1, 4, 2, 2, 2], [1, 4, 2, 2.5, 2.5]),
        (np.array([3, 0, 2]), {0: 4}, [3, 0, 2, 2], [3, 0, 2, 0]),
        (np.array([[1, 2], [3, 4]]), {1: 3}, [[1, 2, 2], [3, 4, 4]], [[1, 2, 1], [3, 4, 1]]),
    ],
)
def test_pad(array, sizes, last, other):
    np.testing.assert_array_equal(pad(array, sizes), last)
    np.testing.assert_array_equal(pad(array, sizes, "other"), other)
    assert pad(array, sizes).dtype == array.dtype
    assert pad(array, {}) is array
