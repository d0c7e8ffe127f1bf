"""The table of first fits: failures stay, and gaps are from the better fit written by hand."""

from benchmarks.first_fit import Row, largest_gap, table


def test_failure_is_a_row_and_the_gap_is_from_the_better_fit_by_hand():
    def row(tool, mean, ess):
        return Row("p", tool, 3, 5, 3, 2, 2, ess, (7, 4, 4), "b", 0, {"b": mean}, {"b": 2.0})

    rows = [
        row("hierjax", 1.5, 900),
        row("NumPyro centred", 9.0, 50),
        row("NumPyro non-centred", 1.0, 800),
        Row("p", "other", error="ValueError: no"),
    ]
    assert [largest_gap(r, rows) for r in rows[:3]] == [0.25, 4.0, 0.0]
    text = table(rows)
    assert (
        "| p | hierjax | 5.0 (7.0) | 3.0 | 2.0 (4.0) | 2.0 (4.0) | 900 (b) | 225 | 0 | 0.25 |"
        in text
    )
    assert "| p | other | failed: ValueError: no |" in text
