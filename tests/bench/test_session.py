"""A suite from its first row to its files, and the command that runs it."""

import json
import sys

import pytest

from hierjax import cli
from hierjax.bench import session, suites
from hierjax.bench.plots import draw_all
from hierjax.bench.row import CostRow, FitRow, from_json, load_rows
from hierjax.bench.runner import Task
from hierjax.bench.suites import QUICK, Suite, make_suite
from hierjax.bench.table import markdown, number, terminal
from hierjax.bench.tools import CORE, TOOLS
from hierjax.errors import FileError, SettingsError

GOOD = {
    "import_seconds": 1.0, "compile_seconds": 8.0, "run_seconds": 2.0, "first_seconds": 11.0,
    "compile_cpu_seconds": 12.0, "run_cpu_seconds": 4.0, "first_cpu_seconds": 17.0,
    "minimum_ess": 880.0, "rhat": 1.003, "divergences": 0, "gradients": 44_000, "error_sds": 0.04,
    "peak_mb": 612.0,
}  # fmt: skip
ROWS = [
    FitRow("radon", "hierjax", **GOOD),
    FitRow("radon", "numpyro centred", **GOOD | {"rhat": 1.2, "minimum_ess": 31.0}),
    FitRow("radon", "stan centred", status="not installed", message="pip install | this"),
    FitRow("cbpp", "hierjax", **GOOD),
    FitRow("cbpp", "lme4", **GOOD | {"minimum_ess": float("nan")}, estimate=True),
    *(CostRow("batch", "hierjax", n, 180, 18, seconds=0.1 * n, cpu_seconds=0.2 * n, good=1.0)
      for n in (1, 10, 100)),
    *(CostRow("gradient", "centred", 1, n, 10, seconds=1e-9 * n, cpu_seconds=1e-9 * n)
      for n in (1_000, 10_000)),
    CostRow("gradient", "centred", 1, 10**6, 10, status="timeout", message="not done in 1 s"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(15509.3, 3, "15,500"), (0.2345, 3, "0.234"), (12.0, 3, "12.0"), (880.04, 4, "880.0"),
     (float("nan"), 3, "-"), (None, 3, "-"), (0.0, 3, "0")],
)  # fmt: skip
def test_numbers_are_short(value, digits, text):
    assert number(value, digits) == text


def test_the_table_has_every_row_on_terminal_and_page():
    lines = terminal(ROWS).splitlines()
    assert len(lines) == 1 + 5 + 1 + 1 + 3 + 1 + 1 + 3
    assert "radon    stan centred     not installed: pip install | this" in lines
    assert len({line.index("4.00") for line in lines if "4.00" in line}) == 1
    assert max(len(line) for line in lines) <= 132
    page = markdown(ROWS)
    assert "| radon | stan centred | not installed: pip install \\| this |" in page
    assert "| lme4 | 11.0 | 17.0 | 8.0 | 2.00 | 4.00 | - | - | - | estimate | 0.04 | 0 |" in page
    assert "| hierjax | 100 | - | 10.0 | 20.0 | 200 | 100.0% | - |" in page.replace("nan", "-")


def test_there_is_a_plot_for_what_there_is():
    plots = draw_all(ROWS)
    assert set(plots) == {"ess", "batch", "gradient"}
    assert all(content.startswith(b"\x89PNG") for content in plots.values())
    assert draw_all(ROWS[2:3]) == {}


def run(suite, folder, measure):
    said = []
    rows = session.run_suite(suite, folder, said.append, measure)
    return rows, "".join(said)


TASKS = tuple(Task("fit", {"problem": row.problem, "tool": row.tool}) for row in ROWS[:4])


def test_a_suite_says_where_it_is_and_writes_rows_as_they_come(tmp_path):
    queue = list(ROWS[:4])

    def measure(task, limit):
        assert limit == 60.0
        assert len(load_rows(tmp_path / "rows.jsonl")) == 4 - len(queue)
        return queue.pop(0)

    rows, said = run(Suite("tiny", "a try", TASKS, 60.0), tmp_path, measure)
    assert rows == ROWS[:4]
    assert "[1/4] radon, hierjax: first answer 11.0 s, run 2.00 s, 880.0 effective draws" in said
    assert "s left)" in said and "[4/4] cbpp, hierjax" in said
    assert "[3/4] radon, stan centred: not installed: pip install | this" in said
    assert {path.name for path in tmp_path.iterdir()} == {
        "rows.jsonl", "table.md", "machine.json", "ess.png"
    }  # fmt: skip
    assert json.loads((tmp_path / "machine.json").read_text())["cores"] >= 1


def test_what_the_time_of_a_suite_does_not_reach_is_a_row_too(tmp_path):
    suite = Suite("tiny", "a try", TASKS, 60.0, total=1.0)
    rows, said = run(suite, tmp_path, lambda task, limit: pytest.fail("it was begun"))
    assert {row.status for row in rows} == {"not run"} and len(rows) == 4
    assert "minutes of this suite were used up" in said


def test_an_interrupt_keeps_finished_rows(tmp_path):
    queue = list(ROWS[:2])

    def measure(task, limit):
        if not queue:
            raise KeyboardInterrupt
        return queue.pop(0)

    with pytest.raises(KeyboardInterrupt):
        run(Suite("tiny", "a try", TASKS, 60.0), tmp_path, measure)
    assert [row.tool for row in load_rows(tmp_path / "rows.jsonl")] == [
        "hierjax",
        "numpyro centred",
    ]
    assert "radon" in (tmp_path / "table.md").read_text()


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="Name another --out"):
        run(Suite("tiny", "a try", TASKS, 60.0), tmp_path / "file", None)


def test_quick_needs_core_dependencies_only():
    suite = make_suite("quick")
    assert [task.what for task in suite.tasks] == [
        {"problem": problem, "tool": tool} for problem in QUICK for tool in CORE
    ]
    assert suite.total < 600.0
    longer = make_suite("quick", minutes=60.0)
    assert (longer.total, longer.limit, longer.tasks) == (3600.0, 900.0, suite.tasks)


def test_a_suite_can_be_cut_down():
    suite = make_suite("full", ["cbpp"], ["stan centred", "hierjax"])
    assert [task.what["tool"] for task in suite.tasks] == ["stan centred", "hierjax"]
    assert {task.what["problem"] for task in suite.tasks} == {"cbpp"}
    assert {task.kind for task in make_suite("full").tasks} == {"fit", "gradient"}
    assert {task.kind for task in make_suite("batch").tasks} == {"batch"}
    assert {task.kind for task in make_suite("scale").tasks} == {"gradient"}


def test_without_a_gpu_the_gpu_suite_says_so(monkeypatch):
    monkeypatch.setattr(suites, "_backend", lambda: "cpu")
    with pytest.raises(SettingsError, match="finds no GPU here"):
        make_suite("gpu")
    monkeypatch.setattr(suites, "_backend", lambda: "gpu")
    assert {task.kind for task in make_suite("gpu").tasks} == {"gradient"}


def test_every_tool_says_what_installs_it():
    text = suites.names_text()
    for name in (*TOOLS, *QUICK):
        assert f"  {name}" in text


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setenv("HIERJAX_CACHE_DIR", "")
    monkeypatch.setattr(sys, "argv", ["hierjax", "bench", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_the_command_runs_a_suite(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(session, "run_task", lambda task, limit: ROWS[0])
    arguments = ("--problem", "radon", "--tool", "hierjax", "--out", str(tmp_path / "new" / "out"))
    code, printed, _ = command(monkeypatch, capsys, *arguments)
    assert code == 0 and "[1/1] radon, hierjax" in printed
    assert f"wrote {tmp_path}" in printed and (tmp_path / "new" / "out" / "ess.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--problem", "random"), 1, "error: There is no problem 'random'. There are: eight_"),
        (("--tool", "bugs"), 1, "error: There is no tool 'bugs'. There are: hierjax,"),
        (("--suite", "batch", "--tool", "lme4"), 1, "error: --suite batch has no --problem and"),
        (("--minutes", "0"), 1, "error: --minutes must be a positive number; got 0"),
        (("--suite", "slow"), 2, "'slow'"),
    ],
)
def test_bad_options_are_said_in_one_line(monkeypatch, capsys, arguments, code, message):
    found, _, error = command(monkeypatch, capsys, *arguments)
    assert found == code and message in error


def test_ctrl_c_is_130(monkeypatch, capsys, tmp_path):
    def measure(task, limit):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run_task", measure)
    code, _, error = command(monkeypatch, capsys, "--out", str(tmp_path))
    assert code == 130 and "rows that were finished" in error


@pytest.mark.slow
def test_quick_on_one_problem(tmp_path):
    """The real thing, in a fresh process: four rows, all of them right."""
    import subprocess

    command = [sys.executable, "-m", "hierjax", "bench", "--problem", "cbpp", "--minutes", "60"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [from_json(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row.tool for row in rows] == list(CORE)
    for row in rows:
        assert row.status == "ok", row.message
        assert row.minimum_ess > 300 and row.error_sds < 0.2 and row.compile_seconds > 0.5
        assert row.first_seconds >= row.run_seconds and row.versions["jax"]
    assert (tmp_path / "ess.png").exists()
