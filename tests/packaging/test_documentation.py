"""In the root's and docs' Markdown each shell block is run, each named command exists, and each link has a target.

The mark above a block says which test runs it: `<!-- run by: path::test -->`, `<!-- run here -->` for a cheap block, or
`<!-- needs: … -->` where this machine lacks something. Whatever the mark says, the block's `make` targets, `python -m`
commands and their options must exist.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from include.local import environment
from include.settings import PROJECT_ROOT, LocalSettings

PAGES = [
    *sorted(PROJECT_ROOT.glob("*.md")),
    PROJECT_ROOT / "benchmarks" / "README.md",
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
]
NEEDS = {
    "AWS",
    "Astro",
    "Docker",
    "a Kafka with TLS",
    "a package index",
    "a running demo",
    "a stopped consumer group",
    "an Airflow of yours",
}
"""Things that a block may need and this machine lacks. Think before you add a thing: no test runs its blocks."""

BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[^>\n]*) -->\n *)?```(?P<kind>\w*)\n(?P<body>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
SHELL = {"sh", "bash", "shell", "console"}
COMMAND = re.compile(
    r"^(make|python|dbt|airflow|aws|astro|docker|kubectl|pip|git|export|\.venv/bin/\w+) ", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block or a piece of inline code, and the page that it is on."""

    page: Path
    mark: str
    kind: str
    text: str

    def __str__(self) -> str:
        first = next(line for line in self.text.splitlines() if line and not line.startswith("#"))
        return f"{self.page.name}: {first.strip()[:40]}"


def blocks() -> list[Block]:
    return [
        Block(page, block["mark"] or "", block["kind"], block["body"])
        for page in PAGES
        for block in BLOCK.finditer(page.read_text())
    ]


BLOCKS = blocks()
SHELL_BLOCKS = [block for block in BLOCKS if block.kind in SHELL]
INLINE = [
    Block(page, "", "inline", text)
    for page in PAGES
    for text in re.findall(r"`((?:make|python -m) [^`\n]+)`", page.read_text())
]


def lines_of(block: Block) -> list[str]:
    """The block's commands, without comments; a command of several lines is joined."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()) if line]


def test_every_fence_is_closed_and_shell_blocks_are_marked_as_sh() -> None:
    for page in PAGES:
        assert len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) == 2 * len(
            [block for block in BLOCKS if block.page == page]
        ), page.name
    unnamed = [str(block) for block in BLOCKS if not block.kind and COMMAND.search(block.text)]
    assert not unnamed, "write ```sh"
    assert len(SHELL_BLOCKS) > 20


@pytest.mark.parametrize("block", [b for b in SHELL_BLOCKS if b.mark.startswith("needs")], ids=str)
def test_a_block_needs_nothing_but_the_listed_things(block: Block) -> None:
    assert block.mark.removeprefix("needs: ") in NEEDS


def test_every_shell_block_has_a_mark() -> None:
    assert {block.mark.split(":")[0] for block in SHELL_BLOCKS} <= {"run here", "needs", "run by"}


# ---- run by a named test


@pytest.mark.parametrize("block", [b for b in SHELL_BLOCKS if b.mark.startswith("run by")], ids=str)
def test_the_named_test_exists_and_runs_the_block(block: Block) -> None:
    """The test reads the block from the page, or names each command (or the module that a target runs)."""
    runners = block.mark.removeprefix("run by: ").split(", ")
    texts = []
    for runner in runners:
        name, _, function = runner.partition("::")
        text = (PROJECT_ROOT / name).read_text()
        assert not function or f"def {function}(" in text, runner
        texts.append(text)
    if any(f'"{block.page.name}").read_text()' in text for text in texts):
        return
    for line in lines_of(block):
        assert any(_named(line, text) for text in texts), f"{line!r} is in none of {runners}"


def _named(line: str, text: str) -> bool:
    program, *arguments = shlex.split(line)
    if program == "make":
        plain = f"make {arguments[0]}"
        if re.search(rf"\b{plain}(?![\w-])", text):
            return True
        return any(module in text for module, _ in modules_in(dry_run(tuple(arguments))))
    return " ".join([program, *arguments][:3]) in text


# ---- make


@cache
def dry_run(arguments: tuple[str, ...]) -> str:
    """The commands that `make` would run."""
    command = ["make", "-n", "--no-print-directory", *arguments]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
    return result.stdout


def make_calls() -> set[tuple[str, ...]]:
    """Arguments of each `make` on the pages."""
    texts = [line for block in SHELL_BLOCKS for line in lines_of(block)] + [block.text for block in INLINE]
    call = re.compile(r"(?:^|\s)make ([a-z-]+(?: [A-Z_]+=(?:\"[^\"]*\"|\S+))*)$")
    return {tuple(shlex.split(match[1])) for text in texts if (match := call.search(text))}


def test_every_make_target_exists_and_does_something() -> None:
    calls = make_calls()
    assert {("demo",), ("test",), ("deploy",)} <= calls
    for arguments in calls:
        assert dry_run(arguments).strip(), arguments


# ---- python -m


def modules_in(text: str) -> list[tuple[str, list[str]]]:
    """(module, its arguments) of each `python -m` in a shell text."""
    modules = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for match in re.finditer(r"(?:\.venv/bin/)?python3? -m ([\w.]+)([^|;&>()]*)", line):
            arguments = shlex.split(match[2], comments=True)
            modules.append((match[1], [word.strip("[]").split("=")[0] for word in arguments]))
    return modules


def commands() -> dict[tuple[str, str], set[str]]:
    """(module, subcommand or '') -> options that the pages name with it."""
    texts = [block.text for block in BLOCKS] + [block.text for block in INLINE]
    texts += [dry_run(arguments) for arguments in make_calls()]
    options_of: dict[tuple[str, str], set[str]] = {}
    for text in texts:
        for module, arguments in modules_in(text):
            if module.split(".")[0] not in {"include", "tests", "benchmarks"}:
                continue
            verb = arguments[0] if arguments and re.fullmatch(r"[a-z]+(-[a-z]+)*", arguments[0]) else ""
            options = {word for word in arguments if word.startswith("--")}
            options_of.setdefault((module, verb), set()).update(options)
    return options_of


def takes_no_arguments(module: str) -> bool:
    """Whether the module has no parser. Such a module would do its work when it is called with --help."""
    path = PROJECT_ROOT / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__main__.py"
    return "argparse" not in source.read_text()


def test_every_module_exists_and_has_its_options() -> None:
    """Two modules start at a time, because each start takes a second of imports."""
    options_of = commands()
    assert ("include.ingest", "resize-cells") in options_of
    assert ("include.aws", "deploy") in options_of
    without_parser = {key for key in options_of if takes_no_arguments(key[0])}
    assert not [key for key in without_parser if options_of[key] or key[1]], "options for a program that has no option"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "S3_"))}

    def help_of(key: tuple[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", key[0], *([key[1]] if key[1] else []), "--help"],
            cwd=PROJECT_ROOT,
            env=environment | {"COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    keys = sorted(set(options_of) - without_parser)
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(help_of, keys))
    for key, result in zip(keys, results, strict=True):
        assert result.returncode == 0, (key, result.stdout)
        unknown = {option for option in options_of[key] - {"--help"} if option not in result.stdout}
        assert not unknown, f"python -m {' '.join(key)} does not know {unknown}"


# ---- run here


@pytest.mark.parametrize("block", [b for b in SHELL_BLOCKS if b.mark == "run here"], ids=str)
def test_a_cheap_block_runs(block: Block) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


# ---- run by a test of this module


def test_the_dbt_commands_work_in_a_new_shell(tmp_path: Path) -> None:
    """The first two blocks of the page and a command, as a newcomer types them beside a running demo."""
    page = (PROJECT_ROOT / "docs" / "dbt-tests.md").read_text()
    folders, settings, *_ = (block.text for block in SHELL_BLOCKS if block.text in page)
    for name in ("include", ".venv"):
        (tmp_path / name).symlink_to(PROJECT_ROOT / name)
    local = LocalSettings(state=tmp_path / "state")
    values = environment.build(local, "127.0.0.1:1", built_in_broker=True, previous={})
    environment.write(tmp_path / ".local" / "demo" / "environment", values)
    new_shell = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "DBT_TARGET_PATH": str(tmp_path / "target")}
    command = "dbt --log-level-file none show $DBT --inline 'select 1 as one'"
    result = subprocess.run(
        ["bash", "-eu", "-c", f"{folders}\n{settings}\n{command}"],
        cwd=tmp_path,
        env=new_shell,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "state" / "warehouse.duckdb").exists(), "dbt used another warehouse than the demo's"


# ---- links and messages


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_the_index_names_every_page() -> None:
    index = (PROJECT_ROOT / "docs" / "README.md").read_text()
    for page in (PROJECT_ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name}" in index, page.name


def messages() -> list[str]:
    """Messages in the first column of troubleshooting.md's tables: texts in code quotes except commands and names."""
    page = (PROJECT_ROOT / "docs" / "troubleshooting.md").read_text()
    cells = [
        row.split(" | ")[0] for row in page.splitlines() if row.startswith("| ") and not row.startswith("| symptom")
    ]
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    return [text for text in quoted if " " in text and not COMMAND.match(f"{text} ")]


@cache
def texts_of_the_programs() -> list[str]:
    """Each string of the Python code, with … for each value inserted, and each line of scripts and macros."""
    texts: list[str] = []
    for folder in ("include", "dags", "plugins"):
        for path in (PROJECT_ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                    texts.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    for pattern in ("include/local/**/*.sh", "include/dbt/macros/*.sql"):
        for path in PROJECT_ROOT.glob(pattern):
            texts += path.read_text().splitlines()
    return texts


@pytest.mark.parametrize("message", messages())
def test_a_quoted_message_is_a_text_of_a_program(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)
    assert any(pattern.search(text) for text in texts_of_the_programs())


def test_enough_messages_are_quoted() -> None:
    assert len(messages()) > 40
