"""All posteriors of the reference folder, and what of the folder is compared with nothing."""

from tests.reference import rows_counts, rows_formulas, rows_normal, rows_regressions

ROWS = {**rows_formulas.ROWS, **rows_regressions.ROWS, **rows_counts.ROWS, **rows_normal.ROWS}
NO_ANSWER = "data without an answer"

# Files and entries of the folder that no test compares with anything, and why.
EXCLUDED = {
    "csv": "data; their answers are in the other files",
    "README.md": "words",
    "tfp_inference_gym/README.md": "words",
    "posteriordb_data/GLMM_Poisson_data-GLMM_Poisson_model.json": NO_ANSWER,
    "posteriordb_data/GLMM_data-GLMM1_model.json": NO_ANSWER,
    "posteriordb_data/pilots-pilots.json": NO_ANSWER,
    "posteriordb_data/radon_mn-radon_variable_intercept_slope_noncentered.json": NO_ANSWER,
    "frequentist.json:verbagg[0]": "nAGQ=0 takes coefficients as if they were effects, which gives "
    "no maximum of the likelihood and is no estimate of hierjax",
    "frequentist.json:meta_bcg[1]": "DerSimonian and Laird's estimate is one of moments, no "
    "maximum of a likelihood",
}
