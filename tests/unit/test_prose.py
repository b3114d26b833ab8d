"""The check of the English names each fault with its line, and ignores code."""

from __future__ import annotations

import pytest

from tests.prose import MAX_WORDS, findings

LONG = "word " * MAX_WORDS + "word."
SHORT = "word " * (MAX_WORDS - 1) + "word."


def faults(name: str, source: str) -> list[str]:
    """The findings as `line: first words`."""
    return [f"{line}: {what}" for line, what in findings(name, source)]


@pytest.mark.parametrize(
    "sentence",
    [
        "There is none here.",
        "It reads the file anew.",
        "It waits for ever.",
        "It asked in vain.",
        "It takes so many of them.",
        "Nobody is told.",
        "The page tells of it.",
        "It counts as nought.",
        "Who reads it finds it.",
        "What it writes is JSON.",
        "Of these files it keeps two.",
    ],
)
def test_an_idiom_is_refused(sentence: str) -> None:
    assert len(faults("page.md", sentence)) == 1
    assert len(faults("module.py", f'"""{sentence}"""')) == 1


@pytest.mark.parametrize(
    "sentence",
    [
        "Who reads it?",
        "What is a cell?",
        "Use `anew`, not again.",
        "`x is None` is Python, and so is x is None.",
        "See [the page](a/page/of/what/is/anew.md).",
        "# What is in the bucket",
        "| Who reads it | What is in it |",
    ],
)
def test_plain_text_passes(sentence: str) -> None:
    assert faults("page.md", sentence) == []


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        (f"{SHORT}\n", []),
        (f"{SHORT} {SHORT}\n", []),
        (f"Short.\n\nShort. {LONG}\n", [3]),
        ("\n".join(LONG.split()), [1]),
        (f"- {SHORT[:-1]}\n- {SHORT}\n", []),
        (f"| {SHORT[:-1]} | {SHORT[:-1]} |\n", []),
        (f"```\n{LONG}\n```\n", []),
        (f"{SHORT[:-1]} `{LONG}`\n", [1]),
        (f"{SHORT[:-6]} `{LONG}`\n", []),
    ],
)
def test_a_long_sentence_is_found_in_its_line(page: str, lines: list[int]) -> None:
    sentences = [finding for finding in findings("page.md", page) if "words in a sentence" in finding.what]
    assert [finding.line for finding in sentences] == lines


@pytest.mark.parametrize(
    ("name", "source", "line"),
    [
        ("module.py", '"""Fine."""\n\nX = 1\n"""Read\nanew."""\n', 4),
        ("module.py", "x = 1\n# It is\n# read anew.\n", 2),
        ("module.py", "x = 1  # read anew\n", 1),
        ("dag.py", 'DOC = """\n### Triage\nRead it anew.\n"""\n', 3),
        ("model.sql", "select 1 -- read anew\n", 1),
        ("macro.sql", "{# It is\n read anew #}\n", 1),
        ("model.yml", "- name: x\n  description: >-\n    It is\n    read anew.\n", 3),
        ("values.yaml", "x: 1  # read anew\n", 1),
        ("Makefile", "help: ## read it anew\n", 1),
        ("docker/x.Dockerfile", "# Read it anew.\nFROM x\n", 1),
    ],
)
def test_the_line_is_where_the_sentence_begins(name: str, source: str, line: int) -> None:
    assert [finding.line for finding in findings(name, source)] == [line]


def test_code_is_no_prose() -> None:
    assert faults("module.py", "text = 'read anew'\nanew = None  # noqa: RUF001\n") == []
    assert faults("script.sh", "echo '# read anew'\n") == []
    assert faults("data.csv", "anew") == []


def test_wide_markdown_is_refused_except_tables_code_and_addresses() -> None:
    wide = "longword " * 14 + "."
    assert len(faults("page.md", wide)) == 1
    assert faults("page.md", f"| {wide} |\n\n```\n{wide}\n```\n\n[a page]({'x' * 200})\n") == []
