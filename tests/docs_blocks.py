"""Code blocks of README.md and docs: read, run, and their shown output compared or refreshed.

Every `python` block of a page runs, in order, in one namespace; every `sh` block runs in a shell.
A comment before a block says what is special about it:

    <!-- no-run: REASON -->    not run
    <!-- command: NAME -->     not run here: `.ci/run` runs it
    <!-- raises: ERROR -->     must raise hierjax.errors.ERROR; its output is the message
    <!-- output -->            this text is what the block before it prints
    <!-- output: draws -->     the same, but its numbers come from random draws: only words compare

Random draws are the same for the same seed on one machine, yet not between processors, so numbers
are not compared there, nor are lines of a verdict. `python -m tests.docs_blocks` runs all pages and
writes what they really print, and their pictures, into them; look at the difference before you
commit it.
"""

import contextlib
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from hierjax import errors

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

_FENCE = re.compile(
    r"(?:^<!-- (?P<tag>[a-z-]+)(?:: (?P<note>[^\n]*?))? -->\n)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=fence)\s*?$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"(?<![\w.])-?[\d,]*\.?\d+(?:e[+-]?\d+)?(?![\w])")
_VERDICT = ("Good:", "Check:", "ok ", "CHECK ")
TAGS = ("", "no-run", "command", "raises", "output")
LANGUAGES = ("python", "sh", "text", "r", "yaml", "bibtex", "markdown")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: language, text, place in its page, and the comment before it."""

    page: Path
    language: str
    code: str
    line: int
    tag: str
    note: str
    span: tuple[int, int]

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        inside = self.page.is_relative_to(ROOT)
        return f"{self.page.relative_to(ROOT) if inside else self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether the block is code that runs here."""
        return self.language in ("python", "sh") and self.tag in ("", "raises")

    @property
    def is_output(self) -> bool:
        """Whether the block shows what the one before it prints."""
        return self.tag == "output"


def pages() -> list[Path]:
    """README.md and the pages of docs in the order of the navigation (the quick start first)."""

    def flat(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [name for part in parts for name in flat(part)]

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    return [*(ROOT / "docs" / name for name in flat(navigation)), ROOT / "README.md"]


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = page.read_text()
    return [
        Block(
            page,
            found["language"],
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            found["tag"] or "",
            found["note"] or "",
            found.span("code"),
        )
        for found in _FENCE.finditer(text)
    ]


class Runner:
    """Runs pages once each in one working folder, so that a page can use files of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[Path, list[tuple[Block, str]]] = {}

    def run(self, page: Path) -> list[tuple[Block, str]]:
        """Run a page (once); return the blocks that show output, with what is really printed."""
        if page not in self.done:
            with contextlib.chdir(self.folder):
                self.done[page] = self._run(page)
        return self.done[page]

    def _run(self, page: Path) -> list[tuple[Block, str]]:
        namespace: dict[str, object] = {"__name__": "__main__"}
        shown, printed = [], ""
        for block in blocks_of(page):
            if block.is_output:
                shown.append((block, printed))
            elif block.runs and block.language == "python":
                printed = _run_python(block, namespace)
            elif block.runs:
                printed = _run_shell(block)
        return shown


def _run_python(block: Block, namespace: dict[str, object]) -> str:
    code = "\n" * (block.line - 1) + block.code
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(code, str(block.page), "exec"), namespace)
        except errors.HierjaxError as error:
            if block.tag != "raises" or type(error).__name__ != block.note:
                raise
            return f"{type(error).__name__}: {error}\n"
    if block.tag == "raises":
        raise AssertionError(f"{block.place} was expected to raise {block.note}")
    return printed.getvalue()


def _run_shell(block: Block) -> str:
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "COLUMNS": "100"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise AssertionError(f"{block.place} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def comparable(text: str, *, draws: bool) -> list[str]:
    """Lines of an output as they are compared."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if not draws:
        return lines
    words = [line.strip() for line in lines if not line.strip().startswith(_VERDICT)]
    return [" ".join(_NUMBER.sub("#", line).split()) for line in words]


def refresh(page: Path, folder: Path) -> None:
    """Write what the blocks of a page really print, and the pictures they draw, into it."""
    text = page.read_text()
    for block, printed in reversed(Runner(folder).run(page)):
        lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
        start, end = block.span
        text = text[:start] + "\n".join(lines) + "\n" + text[end:]
    page.write_text(text)
    for image in IMAGES.glob("*.png"):
        if (folder / image.name).exists():
            shutil.copy(folder / image.name, image)


def refresh_all() -> None:
    """Refresh every page in a process of its own, so that times to compile are a reader's."""
    with tempfile.TemporaryDirectory() as folder:
        for page in pages():
            print(page.relative_to(ROOT), flush=True)
            command = [sys.executable, "-m", "tests.docs_blocks", str(page), folder]
            subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        page, folder = (Path(argument).resolve() for argument in sys.argv[1:])
        folder.mkdir(parents=True, exist_ok=True)
        refresh(page, folder)
    else:
        refresh_all()
