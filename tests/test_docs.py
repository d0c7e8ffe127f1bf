"""The documentation: every code block runs, shown output is real, and the pages build strictly."""

import os
import re
import subprocess
import sys

import pytest

from tests.docs_blocks import IMAGES, LANGUAGES, ROOT, TAGS, Runner, blocks_of, comparable, pages

PAGES = pages()
QUICK_START = PAGES[0]
# Pages of many fits, which run with the slow suites.
SLOW = (
    "designs",
    "calibration.md",
    "sensitivity.md",
    "batches.md",
    "effects.md",
    "command-line.md",
    "model-checking.md",
    "methods.md",
    "predict.md",
    "embedding.md",
)
LONG = [
    pytest.param(page, marks=[pytest.mark.slow] if {page.parent.name, page.name} & {*SLOW} else [])
    for page in PAGES
]
PICTURE = re.compile(r"images/([\w-]+\.png)")
MEASURED = {
    "bench.png",
    "bench-batch.png",
    "bench-full.png",
    "bench-gradient.png",
}  # drawn by `hierjax bench`
SAVED_FIRST = "radon.nc"  # the posterior that the quick start saves and later pages load


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize("page", LONG, ids=name_of)
def test_code_blocks_run_and_print_what_is_shown(page, runner):
    if SAVED_FIRST in page.read_text():
        runner.run(QUICK_START)
    for block, printed in runner.run(page):
        draws = block.note == "draws"
        shown, real = comparable(block.code, draws=draws), comparable(printed, draws=draws)
        assert shown == real, f"{block.place} shows what is not printed; see tests/docs_blocks.py"
    for name in set(PICTURE.findall(page.read_text())) - MEASURED:
        assert (runner.folder / name).exists(), f"no block of {name_of(page)} draws {name}"


def test_no_picture_stands_for_another():
    """Each picture is shown by a page, and no two are the same."""
    pictures = {path.name: path.read_bytes() for path in IMAGES.glob("*.png")}
    assert len(set(pictures.values())) == len(pictures)
    assert set(pictures) == {name for page in PAGES for name in PICTURE.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_run_or_says_why_not(page):
    previous = None
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{block.place}: name the language of the block"
        assert block.tag in TAGS, f"{block.place}: unknown comment {block.tag!r}"
        code = block.language in ("python", "sh")
        assert code or block.tag in ("", "output"), f"{block.place}: a comment for code"
        assert block.runs == (code and block.tag not in ("no-run", "command"))
        if block.tag == "no-run":
            assert block.note, f"{block.place}: say why the block is not run"
        if block.tag == "command":
            assert page.name == "README.md" and block.note in ("fit", "test"), block.place
        if block.tag == "output":
            assert previous is not None and previous.runs, f"{block.place}: output of what?"
            assert block.note in ("", "draws"), block.place
        if not code and block.tag == "":
            assert block.language != "text", f"{block.place}: text that nothing prints"
        previous = block


def test_few_blocks_are_not_run():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    skipped = [block.place for block in blocks if block.tag == "no-run"]
    run = [block.place for block in blocks if block.runs]
    assert len(run) > 60
    assert len(skipped) <= 3, skipped


def test_fences_are_all_found():
    for page in PAGES:
        fences = sum(line.startswith("```") for line in page.read_text().splitlines())
        assert fences == 2 * len(blocks_of(page)), name_of(page)


def test_wrong_output_and_missing_errors_are_found(tmp_path):
    page = tmp_path / "page.md"
    block = "```python\n{}\n```\n"
    page.write_text(block.format("print(1 + 1)") + "<!-- output -->\n```text\n3\n```\n")
    ((shown, printed),) = Runner(tmp_path).run(page)
    assert comparable(shown.code, draws=False) != comparable(printed, draws=False)
    assert comparable(shown.code, draws=True) == comparable(printed, draws=True)
    assert comparable("sd 1.5 -2e-05 x", draws=True) == comparable("sd 17 3.25 x", draws=True)
    assert comparable("sd 1.5 x", draws=True) != comparable("sd 1.5 y", draws=True)
    silent = tmp_path / "silent.md"
    silent.write_text("<!-- raises: DataError -->\n" + block.format("x = 1"))
    with pytest.raises(Exception, match=r"silent\.md"):
        Runner(tmp_path).run(silent)


def test_readme_is_short_and_keeps_the_commands_of_ci():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 130
    commands = {block.note for block in blocks_of(ROOT / "README.md") if block.tag == "command"}
    assert commands == {"fit", "test"}


def test_changelog_has_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version[1] in headings
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the documentation with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: mkdocs would then not count the warnings that --strict is about.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_documentation_builds_strictly(site):
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    wanted = {page.relative_to(ROOT / "docs") for page in PAGES if page.name != "README.md"}
    assert wanted <= built


def test_built_pages_fetch_nothing_from_elsewhere(site):
    fetched = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//[^"]+"')
    for page in site.rglob("*.html"):
        found = [m.group() for m in fetched.finditer(page.read_text())]
        assert not [tag for tag in found if "canonical" not in tag], page


def test_every_public_name_is_in_the_reference():
    import hierjax

    reference = "".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    modules = {"errors", "library"}
    for name in set(hierjax.__all__) - modules:
        assert f"heading: hierjax.{name}\n" in reference, f"docs/api has no hierjax.{name}"
    for name in set(hierjax.library.__all__) - {"MODELS"}:
        assert f"heading: hierjax.library.{name}\n" in reference


def test_every_error_is_in_troubleshooting():
    from hierjax import errors

    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    roots = {"HierjaxError", "DataError"}
    names = {name for name, value in vars(errors).items() if isinstance(value, type)}
    missing = [name for name in sorted(names - roots) if f"`{name}`" not in page]
    assert not missing, f"docs/troubleshooting.md does not mention {missing}"


def test_contributing_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:hierjax|tests|docs|benchmarks)/[\w/.]+\.\w+)`", text)
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing, missing


def test_documented_defaults_are_those_of_the_code():
    """The tables of settings in the methods page name every setting with its default."""
    import dataclasses

    import hierjax

    page = (ROOT / "docs" / "methods.md").read_text()
    for method in (hierjax.NUTS, hierjax.SVI):
        for field in dataclasses.fields(method):
            default = field.default
            text = f"{default:,}" if isinstance(default, int) and default > 9999 else default
            shown = f'"{text}"' if isinstance(text, str) and "," not in text else text
            assert re.search(rf"^\| `{field.name}` \| `{re.escape(str(shown))}` \|", page, re.M), (
                f"docs/methods.md: `{field.name}` of {method.__name__} is {default!r}"
            )


def test_bars_in_tables_show_without_a_backslash():
    """mkdocs shows the backslash of an escaped bar in code, GitHub splits the cell without it."""
    for page in PAGES:
        rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
        wrong = [row for row in rows if re.search(r"`[^`|]*\\\|[^`]*`", row)]
        assert not wrong, f"{name_of(page)}: write <code>(1 &#124; g)</code>: {wrong}"


def test_images_are_used_and_small():
    text = "".join(page.read_text() for page in PAGES)
    for image in (ROOT / "docs" / "images").glob("*.png"):
        assert image.name in text, f"{image.name} is in no page"
        assert image.stat().st_size < 400_000, image.name
