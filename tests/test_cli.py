"""The command line as a person meets it: output, files, errors in one line, exit codes, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import hierjax as hj
from hierjax import cli, cli_fit, cli_priors

RADON = "log_radon ~ floor + (1 | county)"
PICTURES = {"trace.png", "forest.png", "shrinkage.png", "ppc.png", "levels.png"}
FILES = {"posterior.nc", "summary.csv", "report.html"} | PICTURES


def run(monkeypatch, capsys, *arguments):
    """Run the command in this process; return exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["hierjax", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_fit_prints_levels_summary_and_verdict_and_writes_everything(monkeypatch, capsys, tmp_path):
    out = tmp_path / "results"
    code, printed, _ = run(
        monkeypatch, capsys, "fit", RADON, "--data", "radon", "--out", str(out),
        "--chains", "2", "--warmup", "200", "--draws", "150",
    )  # fmt: skip
    assert code == 0
    for part in ("└─ county: 85 groups", "level sds and correlations", "coefficients", "b_floor"):
        assert part in printed
    assert printed.index("county: 85") < printed.index("b_Intercept  ") < printed.index("wrote")
    assert {path.name for path in out.iterdir()} == FILES
    table = pd.read_csv(out / "summary.csv")
    assert {"block", "parameter", "mean", "rhat"} <= set(table.columns)
    assert "r_county[AITKIN]" in set(table["parameter"])
    posterior = hj.load(out / "posterior.nc")
    assert posterior.draws["r_county"].shape == (2, 150, 85)
    for path in out.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "y ~ x + (1 | g", "--data", "radon"), "error: This bracket is never closed"),
        (("fit", "log_radon ~ flor", "--data", "radon"), "Did you mean `floor`"),
        (
            ("fit", "log_radon ~ floor", "--data", "radon", "--censored", "county"),
            "Marks of censoring are 'none', 'left' and 'right'",
        ),
        (
            ("fit", "resp ~ Anger", "--data", "verbagg", "--family", "ordered"),
            "order of the categories of `resp` is not known",
        ),
        (("fit", RADON, "--data", "radom"), "Did you mean 'radon'"),
        (("fit", RADON, "--data", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("fit", RADON, "--data", "table.xlsx"), "files of type '.xlsx' cannot be read"),
        (("fit", RADON, "--data", "radon", "--family", "gausian"), "There is no family"),
        (("fit", RADON, "--data", "radon", "--draws", "0"), "`draws` must be an integer"),
        (
            ("fit", RADON, "--data", "radon", "--method", "laplace", "--target-accept", "0.9"),
            "--target-accept: method laplace has no such setting",
        ),
        (
            ("fit", RADON, "--data", "radon", "--by", "floor", "--checkpoint", "here"),
            "--by keeps finished fits in the folder of --out",
        ),
        (("data", "nosuch"), "There is no data set 'nosuch'"),
    ],
)
def test_errors_are_one_readable_line_without_a_traceback(
    monkeypatch, capsys, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run(monkeypatch, capsys, *arguments)
    assert code == 1
    assert message in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def sleep_fit(tmp_path_factory):
    """Posterior of reaction times, labels of subjects like "308", in a folder as `fit` writes."""
    folder = tmp_path_factory.mktemp("fit")
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 | Subject)", frame)
    hj.fit(model, method=hj.Laplace(draws=200)).save(folder / "posterior.nc")
    return folder


NEW_ROWS = "Days,Subject,note\n3,308,known\n3,999,new\n3,,unnamed\n"


def test_predict_writes_the_rows_with_predictions(monkeypatch, capsys, tmp_path, sleep_fit):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text(NEW_ROWS)
    code, printed, _ = run(
        monkeypatch, capsys, "predict", str(sleep_fit), "--data", "new.csv", "--out", "found.csv"
    )
    assert code == 0
    assert "wrote found.csv: Prediction(expected response of Reaction" in printed
    table = pd.read_csv("found.csv", dtype={"Subject": str})
    assert list(table["note"]) == ["known", "new", "unnamed"]
    wanted = pd.read_csv("new.csv", dtype={"Subject": str})
    expected = hj.load(sleep_fit / "posterior.nc").predict(wanted).summary()
    for column in expected:
        assert list(table[f"Reaction_{column}"]) == pytest.approx(list(expected[column]))
    file = str(sleep_fit / "posterior.nc")
    code, printed, _ = run(monkeypatch, capsys, "predict", file, "--data", "new.csv")
    assert code == 0
    assert "Reaction_q95" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "new.csv", "--groups", "error"), "`Subject` are missing in row 2"),
        (("--data", "new.csv", "--out", "found.xlsx"), "predictions are written as .csv"),
        (("--data", "pastes"), "no column `Days`"),
    ],
)
def test_predict_refuses_in_one_line(monkeypatch, capsys, tmp_path, sleep_fit, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text(NEW_ROWS)
    code, _, printed = run(monkeypatch, capsys, "predict", str(sleep_fit), *arguments)
    assert code == 1
    assert message in printed
    assert "Traceback" not in printed
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv"}


def test_predict_without_a_fit(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, printed = run(monkeypatch, capsys, "predict", "nowhere", "--data", "radon")
    assert code == 1
    assert "nowhere" in printed


def test_report_writes_a_page(monkeypatch, capsys, tmp_path, sleep_fit):
    pictures = {"levels": b"\x89PNG" + bytes(40)}
    monkeypatch.setattr("hierjax.report_page.draw_images", lambda *parts: pictures)
    page = tmp_path / "new folder" / "page.html"
    code, printed, _ = run(monkeypatch, capsys, "report", str(sleep_fit), "--out", str(page))
    assert (code, printed) == (0, f"wrote {page}\n")
    assert "sd_Subject" in page.read_text()
    file = tmp_path / "posterior.nc"
    file.write_bytes((sleep_fit / "posterior.nc").read_bytes())
    code, printed, _ = run(monkeypatch, capsys, "report", str(file))
    assert (code, printed) == (0, f"wrote {tmp_path / 'report.html'}\n")


def test_sensitivity_says_which_priors_matter(monkeypatch, capsys, tmp_path, sleep_fit):
    out = tmp_path / "found.csv"
    code, printed, _ = run(monkeypatch, capsys, "sensitivity", str(sleep_fit), "--out", str(out))
    assert code == 0
    assert "Sensitivity to priors and data" in printed
    assert f"wrote {out}" in printed
    table = pd.read_csv(out)
    assert {"all priors", "sd_Subject", "sigma"} <= set(table["prior"])
    assert {"likelihood", "k_hat", "verdict"} <= set(table.columns)


@pytest.mark.parametrize("command", ["report", "sensitivity"])
def test_commands_on_a_fit_refuse_in_one_line(monkeypatch, capsys, tmp_path, command, sleep_fit):
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (("nowhere",), "nowhere"),
        ((str(sleep_fit), "--out", "found.txt"), "written as ."),
    ):
        code, _, errors = run(monkeypatch, capsys, command, *arguments)
        assert code == 1
        assert errors.startswith("error: ")
        assert message in errors
        assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_sbc_says_whether_a_model_is_calibrated(monkeypatch, capsys, tmp_path):
    out = tmp_path / "calibrated"
    code, printed, _ = run(
        monkeypatch, capsys, "sbc", "Reaction ~ Days + (1 | Subject)", "--data", "sleepstudy",
        "--prior", "sd=HalfNormal(50)", "--simulations", "30", "--draws", "20",
        "--seed", "3", "--out", str(out),
    )  # fmt: skip
    assert code == 0
    assert "30 of 30 simulations ranked, among 20 draws" in printed
    assert f"wrote {out / 'calibration.png'}" in printed
    assert {path.name for path in out.iterdir()} == {
        "calibration.csv", "simulations.csv", "calibration.png"
    }  # fmt: skip
    table = pd.read_csv(out / "calibration.csv")
    assert {"sd_Subject", "b_Days", "log likelihood"} <= set(table["quantity"])
    assert len(pd.read_csv(out / "simulations.csv")) == 30


def test_sbc_refuses_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run(
        monkeypatch, capsys, "sbc", RADON, "--data", "radon", "--method", "empirical_bayes"
    )
    assert code == 1
    assert errors.startswith("error: ")
    assert "parameters among" in errors
    assert list(tmp_path.iterdir()) == []


def test_levels_takes_columns_as_fit_does(monkeypatch, capsys):
    code, printed, _ = run(
        monkeypatch, capsys, "levels", "incidence ~ 1 + (1 | herd)", "--data", "cbpp",
        "--family", "binomial", "--trials", "size",
    )  # fmt: skip
    assert code == 0
    assert "incidence observed" in printed


@pytest.mark.parametrize(
    "command", ["fit", "predict", "report", "sensitivity", "levels", "data", "sbc", "bench"]
)
def test_help_says_what_a_command_does(monkeypatch, capsys, command):
    code, printed, _ = run(monkeypatch, capsys, command, "--help")
    assert code == 0
    assert f"Usage: hierjax {command} " in printed
    if command in ("predict", "report", "sensitivity", "sbc"):
        assert "Example: hierjax" in printed


def test_debug_shows_the_error_itself(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hierjax", "--debug", "data", "nosuch"])
    with pytest.raises(hj.errors.HierjaxError):
        cli.main()


def test_a_file_of_ones_own(monkeypatch, capsys, tmp_path):
    path = tmp_path / "mine.csv"
    hj.load_data("pastes").to_csv(path, index=False)
    code, printed, _ = run(
        monkeypatch, capsys, "levels", "strength ~ 1 + (1 | batch/cask)", "--data", str(path)
    )
    assert code == 0
    assert "batch:cask: 30 groups of 2 rows" in printed
    assert "sd_batch" in printed


def test_a_folder_does_not_stand_for_the_data_set_of_its_name(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pastes").mkdir()  # `hierjax fit ... --data pastes --out pastes`
    code, printed, _ = run(
        monkeypatch, capsys, "levels", "strength ~ 1 + (1 | batch/cask)", "--data", "pastes"
    )
    assert code == 0
    assert "rows: 60" in printed


def test_priors_are_read(monkeypatch, capsys):
    code, printed, _ = run(
        monkeypatch, capsys, "levels", "log_radon ~ floor + (1 + floor | county)",
        "--data", "radon", "--prior", "b = Normal(-1, scale=2)", "--prior", "cor=3",
        "--prior", "sd=Variance(InverseGamma(2, 1))",
    )  # fmt: skip
    assert code == 0
    rows = {line.split()[1]: line for line in printed.splitlines() if "user (" in line}
    assert "Normal(-1, 2)" in rows["b_floor"]
    assert "LKJCholesky(2, 3)" in rows["cor_county"]
    assert "InverseGamma(2, 1)" in "".join(rows.values())


@pytest.mark.faults
@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("b", "not of the form SLOT=PRIOR"),
        ("=Normal(0, 1)", "not of the form SLOT=PRIOR"),
        ("b=Normal(0, 1", "cannot be read as a distribution"),
        ("b=Norml(0, 1)", "Did you mean `Normal`"),
        ("b=Normal(0, x)", "'x' is not a number"),
        ("b=Normal(0, True)", "'True' is not a number"),
        ("b=Normal(0, -1)", "invalid scale"),
        ("b=Normal(0, 1, 2, 3, 4)", "takes"),
        ("b=Normal(*(0, 1))", "is not a number"),
        ("b=Normal(**{})", "is not a number"),
        ("b=Normal(**5)", "keywords must be strings"),
        ("b=__import__('os').system('touch harm')", "NumPyro has no distribution"),
        ("b=Normal(0, [open('harm', 'w') for _ in 'a'][0])", "is not a number"),
        ("b=" + "(" * 5000, "cannot be read as a distribution"),
    ],
)
def test_priors_that_cannot_be_read(monkeypatch, tmp_path, prior, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hj.errors.PriorError) as refused:
        cli_priors.read_priors([prior])
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("priors", "message"),
    [(("b=Normal(0, 1)",) * 2, "twice"), (("c=Normal(0, 1)",), "no prior slot 'c'")],
)
def test_priors_are_refused_in_one_line(monkeypatch, capsys, priors, message):
    options = [word for prior in priors for word in ("--prior", prior)]
    code, _, errors = run(monkeypatch, capsys, "levels", RADON, "--data", "radon", *options)
    assert (code, message in errors, "Traceback" in errors) == (1, True, False)


def test_a_fit_goes_on_from_its_checkpoint(monkeypatch, capsys, tmp_path):
    arguments = (
        "fit", "strength ~ 1 + (1 | batch)", "--data", "pastes", "--method", "empirical_bayes",
        "--kind", "reml", "--checkpoint", str(tmp_path / "pieces"),
        "--prior", "sigma=HalfNormal(9)",
    )  # fmt: skip
    tables = []
    for name in ("first", "second"):
        out = tmp_path / name
        code, _, errors = run(monkeypatch, capsys, *arguments, "--out", str(out))
        assert code == 0, errors
        tables.append((out / "summary.csv").read_text())
    assert tables[0] == tables[1]
    assert any((tmp_path / "pieces").iterdir())
    other = [*arguments[:-1], "sigma=HalfNormal(8)", "--out", str(tmp_path / "third")]
    code, _, errors = run(monkeypatch, capsys, *other)
    assert code == 1
    assert "belongs to another fit: data or priors was" in errors


def test_a_damaged_file_is_an_error_of_ours(monkeypatch, capsys, tmp_path):
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"not a table")
    code, _, errors = run(monkeypatch, capsys, "levels", RADON, "--data", str(path))
    assert code == 1
    assert "cannot be read as a table" in errors


def test_data_lists_and_shows_data_sets(monkeypatch, capsys):
    _, printed, _ = run(monkeypatch, capsys, "data")
    assert all(name in printed for name in hj.datasets()["name"])
    assert max(map(len, printed.splitlines())) <= 100
    _, printed, _ = run(monkeypatch, capsys, "data", "bcg")
    assert "Colditz" in printed
    assert "yi: log relative risk" in printed


def hierjax_alone(folder, cache):
    command = [sys.executable, "-m", "hierjax", "fit", "strength ~ 1 + (1 | batch)"]
    return subprocess.run(
        [*command, "--data", "pastes", "--method", "laplace", "--out", str(folder)],
        env={**os.environ, "HIERJAX_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_compiled_programs_are_kept_for_the_next_process(tmp_path):
    cache = tmp_path / "cache"
    first = hierjax_alone(tmp_path / "first", cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*-cache")}
    assert len(kept) > 10, first.stderr
    max(kept, key=lambda path: path.stat().st_size).write_bytes(b"cut off")
    second = hierjax_alone(tmp_path / "second", cache)
    assert second.returncode == 0, second.stderr
    # Now and then JAX finds another key for a few of the programs, and compiles them anew.
    assert len(set(cache.glob("*-cache")) - set(kept)) < len(kept) / 4
    texts = [(tmp_path / name / "summary.csv").read_text() for name in ("first", "second")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("seconds", [2.0, 15.0], ids=["at the start", "inside XLA"])
def test_ctrl_c_leaves_nothing_half_written(tmp_path, seconds):
    # A shell that runs the tests in the background lets its children ignore Ctrl-C.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from hierjax.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "fit", RADON, "--data", "radon"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "--draws", "1000000", "--out", "results"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the levels are printed: the fit begins
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == cli_fit.INTERRUPTED, errors
    assert "stopped" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_fit_for_each_value_of_a_column(monkeypatch, capsys, tmp_path):
    """Places of unequal size, one with a single group; the second start fits nothing again."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"place": np.repeat(["north", "south", "west"], [60, 50, 8])})
    rows["group"] = [f"g{n % 5}" for n in range(110)] + ["g0"] * 8
    effect = generator.normal(size=15)[pd.factorize(rows["place"] + rows["group"])[0]]
    rows["y"] = 2.0 + effect + 0.5 * generator.normal(size=len(rows))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out"
    command = (
        "fit", "y ~ 1 + (1 | group)", "--data", str(tmp_path / "rows.csv"), "--by", "place",
        "--method", "laplace", "--draws", "500", "--out", str(out),
    )  # fmt: skip
    code, printed, _ = run(monkeypatch, capsys, *command)
    assert code == 0
    assert "3 data sets, laplace: 2 ok, 1 not fitted" in printed
    assert "west: not fitted" in printed
    assert {path.name for path in out.iterdir()} == {
        "report.csv", "summary.csv", "effects.csv", "chunks",
    }  # fmt: skip
    report = pd.read_csv(out / "report.csv", index_col="place")
    assert report["status"].to_dict() == {"north": "ok", "south": "ok", "west": "not fitted"}
    summary = pd.read_csv(out / "summary.csv").set_index(["place", "parameter"])
    alone = hj.fit(
        hj.formula("y ~ 1 + (1 | group)", rows).with_data(rows[rows["place"] == "north"]),
        method=hj.Laplace(draws=500), progress=False,
    )  # fmt: skip
    found = summary.loc[("north", "b_Intercept")]
    assert abs(found["mean"] - alone.draws["b_Intercept"].mean()) < 5 * found["mcse"]
    assert len(pd.read_csv(out / "effects.csv")) == 10
    files = {path: path.stat().st_mtime_ns for path in (out / "chunks").iterdir()}
    assert run(monkeypatch, capsys, *command)[0] == 0
    assert files == {path: path.stat().st_mtime_ns for path in (out / "chunks").iterdir()}


def test_by_needs_a_column_that_is_there(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run(monkeypatch, capsys, "fit", RADON, "--data", "radon", "--by", "countt")
    assert code == 1
    assert "no column 'countt' in the data. Did you mean `county`" in errors
