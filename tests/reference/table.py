"""All posteriors of the reference folder, and what of the folder is compared with nothing."""

from tests.reference import rows_counts, rows_formulas, rows_normal, rows_regressions

ROWS = {**rows_formulas.ROWS, **rows_regressions.ROWS, **rows_counts.ROWS, **rows_normal.ROWS}
