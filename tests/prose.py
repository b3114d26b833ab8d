"""Checks the English of pages, docstrings and comments: `python -m tests.prose [FILES]`, part of `make lint`.

It refuses long sentences, a few idioms that a reader with another first language cannot parse, and unwrapped Markdown.
The rules are in this module: the wheel of Vale, the usual tool, downloads its program at first use, which a closed
network refuses. Code, URLs and code spans are not read. A list item, a table cell and a paragraph end a sentence.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MAX_WORDS = 40
MAX_COLUMNS = 120

IDIOMS = {
    r"(is|are) (?-i:none)\b": "say what is missing: 'there is no …', 'has no …', 'is not …'",
    r"anew\b": "again",
    r"for ever\b|in vain\b|nought\b|shall\b": "plain words: always, without success, zero, must",
    r"so many (as|of)\b": "the number: N, 'the same number of …'",
    r"told\b|tells\b": "reports, says, knows, is informed",
    r"of itself\b": "by itself, or leave it out",
}
"""Pattern (it begins at a word) -> what to write instead."""

OPENINGS = {
    r"Of ": "begin with the subject, not with 'Of …'",
    r"So many ": "say the number: 'At most N …'",
    r"Who ": "'Who …' only asks: name the person or program",
    r"What\b[^,:;]*\b(is|are)\b": "'What … is' only asks: name the thing",
}
"""Beginning of a sentence that is not a question -> what to write instead."""

ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|approx|incl|resp)\.$", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.!?][\"')\]*_”]*(?=\s|$)")
LIST_ITEM = re.compile(r"^\s*([-*+]|\d+[.)])\s+")
SECTION_ENTRY = re.compile(r"\s+[`*]*[\w.\[\]]+[`*]*( \(.*?\))?: ")  # of a docstring: `    SinkError: S3 refused it.`
PRAGMA = re.compile(r"(!|noqa|type:|ruff:|mypy:|pragma|shellcheck|-\*-|run by:|>>> |<<< )")


class Line(NamedTuple):
    """One line of prose and where it is in its file."""

    number: int
    text: str


class Finding(NamedTuple):
    """A rule that a line breaks."""

    line: int
    what: str


# --- prose out of files --------------------------------------------------------------------------------------------


def python_prose(source: str) -> Iterator[list[Line]]:
    """Docstrings (constants' too), the `DOC` of a DAG, and comments."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        names = [ast.unparse(name) for name in node.targets] if isinstance(node, ast.Assign) else []
        is_prose = isinstance(node, ast.Expr) or any(name.endswith("DOC") for name in names)
        text = node.value if is_prose and isinstance(node, ast.Expr | ast.Assign) else None
        if isinstance(text, ast.JoinedStr) or (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            literal = "\n".join(lines[text.lineno - 1 : text.end_lineno])[text.col_offset :]
            yield numbered(re.sub(r"^\w*(\"{3}|'{3}|\"|')|(\"{3}|'{3}|\"|')[,)\s]*$", "", literal), text.lineno)
    comments = [
        Line(token.start[0], token.string.lstrip("#:"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    yield from adjoining(comments, source, "#")


def sql_prose(source: str) -> Iterator[list[Line]]:
    """Comments of SQL and of Jinja."""
    for comment in re.finditer(r"\{#-?(.*?)-?#\}|/\*(.*?)\*/", source, re.DOTALL):
        yield numbered(comment[1] or comment[2] or "", source.count("\n", 0, comment.start()) + 1)
    yield from adjoining(list(line_comments(source, "--")), source, "--")


def script_prose(source: str) -> Iterator[list[Line]]:
    """Comments that begin with a hash."""
    yield from adjoining(list(line_comments(source, "#")), source, "#")


def yaml_prose(source: str) -> Iterator[list[Line]]:
    """Comments and the values of `description`."""
    yield from script_prose(source)
    lines = source.splitlines()
    for index, line in enumerate(lines):
        if key := re.match(r"(\s*(?:- )?)(?:description|Description|AlarmDescription):\s*(.*)", line):
            value = [Line(index + 1, re.sub(r"^[>|][-+]?$|^['\"]|['\"]$|^!Sub ", "", key[2]))]
            for number, more in enumerate(lines[index + 1 :], index + 2):
                if more.strip() and len(more) - len(more.lstrip()) <= len(key[1]):
                    break
                value.append(Line(number, more.strip()))
            yield value


def line_comments(source: str, mark: str) -> Iterator[Line]:
    """The comments that `mark` begins; a mark inside quotes begins no comment."""
    for number, line in enumerate(source.splitlines(), 1):
        for begin in re.finditer(rf"(?:^|(?<=\s))({mark})+(?=\s|$)", line):
            before = line[: begin.start()]
            if before.count('"') % 2 == 0 and before.count("'") % 2 == 0:
                yield Line(number, line[begin.end() :])
                break


def numbered(text: str, first: int) -> list[Line]:
    """The lines of a text with their numbers, which begin at `first`."""
    return [Line(number, line) for number, line in enumerate(text.splitlines(), first)]


def adjoining(comments: list[Line], source: str, mark: str) -> Iterator[list[Line]]:
    """Comments in paragraphs: consecutive whole-line comments are one paragraph, each comment after code is another."""
    lines = source.splitlines()
    trailing = {line.number for line in comments if not lines[line.number - 1].lstrip().startswith(mark)}
    paragraph: list[Line] = []
    for line in comments:
        text = "" if PRAGMA.match(line.text.strip()) or not re.search(r"\w", line.text) else line.text
        follows = paragraph and paragraph[-1].number == line.number - 1
        if not follows or line.number in trailing or paragraph[-1].number in trailing:
            yield paragraph
            paragraph = []
        paragraph.append(Line(line.number, text))
    yield paragraph


READERS: dict[str, Callable[[str], Iterable[list[Line]]]] = {
    ".md": lambda source: [numbered(source, 1)],
    ".py": python_prose,
    ".sql": sql_prose,
    ".yml": yaml_prose,
    ".yaml": yaml_prose,
    ".sh": script_prose,
    ".toml": script_prose,
    ".in": script_prose,
    "Makefile": script_prose,
    "Dockerfile": script_prose,
}
"""End of a file's name -> the pieces of prose in it."""


# --- sentences out of prose ----------------------------------------------------------------------------------------


def without_code(lines: list[Line]) -> Iterator[Line]:
    """The lines outside fenced code and doctests; what is left out becomes empty."""
    fence = ""
    for number, line in lines:
        text = line
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
            text = ""
        elif fence or re.match(r"\s*>>> |\{%.*%\}$", line):
            text = ""
        yield Line(number, text)


CODE = r"(`+)(?!`).*?(?<!`)\1(?!`)"
MARKUP = {
    CODE: "CODE",
    r"<!--.*?-->": "",
    r"\]\([^)]*\)": "",
    r"\w+://[^\s)>]+": "URL",
    r"\*\*|!?\[|</?[a-zA-Z][^>]*>": "",
}
"""Inline marks of Markdown -> what is read instead; a code span and a URL are one word each."""


def plain(text: str) -> str:
    """The text without inline marks; line breaks in them stay, so that a sentence's line stays right."""
    for pattern, instead in MARKUP.items():
        text = re.sub(pattern, lambda mark, word=instead: word + "\n" * mark[0].count("\n"), text, flags=re.DOTALL)  # type: ignore[misc]
    return text


class Block(NamedTuple):
    """A piece of text; no sentence continues after its end."""

    line: int
    text: str
    title: bool
    """A heading or a table's cell: it may begin like a question."""


def blocks(lines: Iterable[Line]) -> Iterator[Block]:
    """Paragraphs, list items, headings, entries of a docstring's sections, and cells of tables."""
    paragraph: list[Line] = []
    indent = 0
    for line in lines:
        text = line.text.rstrip()
        bare = text.lstrip(" >")
        begins = LIST_ITEM.match(text) or SECTION_ENTRY.match(text) or len(text) - len(text.lstrip()) < indent
        if paragraph and (not bare or bare[0] in "|#" or begins):
            yield Block(paragraph[0].number, "\n".join(part.text for part in paragraph), title=False)
            paragraph = []
        if bare.startswith("#"):
            yield Block(line.number, bare.lstrip("# "), title=True)
        elif bare.startswith("|"):
            for cell in re.split(r"(?<!\\)\||<br>", re.sub(CODE, "CODE", bare.strip("|"))):
                yield Block(line.number, cell.strip(), title=True)
        elif bare:
            if not paragraph:
                indent = 0 if LIST_ITEM.match(text) else len(text) - len(text.lstrip())
                text = LIST_ITEM.sub("", text)
            paragraph.append(Line(line.number, text))
    if paragraph:
        yield Block(paragraph[0].number, "\n".join(part.text for part in paragraph), title=False)


def sentences(block: Block) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence of a block."""
    text = plain(block.text)
    begin = 0
    for stop in [*(end.end() for end in SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[begin:stop]
        if ABBREVIATION.search(sentence) or not re.search(r"\w", sentence):
            continue
        blank = len(sentence) - len(sentence.lstrip(" \n>"))
        yield block.line + text.count("\n", 0, begin + blank), " ".join(sentence[blank:].split())
        begin = stop


# --- rules -----------------------------------------------------------------------------------------------------------


def sentence_faults(sentence: str, title: bool) -> Iterator[str]:
    """The rules that a sentence breaks."""
    words = sum(1 for word in sentence.split() if re.search(r"\w", word))
    if words > MAX_WORDS:
        yield f"{words} words in a sentence, at most {MAX_WORDS}: {sentence[:60]} …"
    for pattern, instead in IDIOMS.items():
        for phrase in re.finditer(rf"\b(?:{pattern})", sentence, re.IGNORECASE):
            yield f"'{phrase[0]}': {instead}"
    if not title and not sentence.rstrip("\"')*_").endswith("?"):
        for pattern, instead in OPENINGS.items():
            if re.match(rf"[\"'(*_]*{pattern}", sentence):
                yield f"{instead}: {sentence[:60]}"


def wide_lines(lines: list[Line]) -> Iterator[Finding]:
    """Markdown lines that are too long although they are neither code, table nor a link's address."""
    for line in without_code(lines):
        text = re.sub(r"\]\([^)]*\)|\w+://[^\s)>]+", "", line.text)
        if len(text) > MAX_COLUMNS and not text.lstrip(" >").startswith("|"):
            yield Finding(line.number, f"{len(line.text)} columns, at most {MAX_COLUMNS}: wrap it")


def findings(name: str, source: str) -> list[Finding]:
    """The rules that the file breaks, by line; an empty list for a kind of file that is not read."""
    reader = next((reader for end, reader in READERS.items() if name.endswith(end)), None)
    if reader is None:
        return []
    faults = list(wide_lines(numbered(source, 1))) if name.endswith(".md") else []
    for piece in reader(source):
        for block in blocks(without_code(piece)):
            for line, sentence in sentences(block):
                faults += [Finding(line, what) for what in sentence_faults(sentence, block.title)]
    return sorted(faults)


def tracked() -> list[str]:
    """The repository's files."""
    return subprocess.run(["git", "ls-files"], capture_output=True, check=True, text=True).stdout.splitlines()


def main(names: list[str]) -> int:
    """Print the findings; 1 if there are any."""
    count = 0
    for name in names or tracked():
        if any(name.endswith(end) for end in READERS):
            for line, what in findings(name, Path(name).read_text()):
                sys.stdout.write(f"{name}:{line}: {what}\n")
                count += 1
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
