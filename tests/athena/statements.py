"""Translates dbt-athena's statements where Athena's SQL differs from Trino's.

Queries, INSERT, MERGE and DELETE are equal in both and pass unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.athena.trino_client import Answer, Trino

IDENTIFIER = r'(?:`[^`]+`|"[^"]+"|\w+)'
NAME = rf"((?:{IDENTIFIER}\.){{0,2}}{IDENTIFIER})"
COMMENTS = re.compile(r"^(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)

HIVE_TYPES = {"varchar": "string", "integer": "int", "real": "float", "varbinary": "binary"}


class UnsupportedStatementError(ValueError):
    """A statement of Athena's that this translation does not know."""


@dataclass(frozen=True, slots=True)
class Table:
    """Glue database and table."""

    database: str
    name: str

    @property
    def trino(self) -> str:
        """Trino's name of the table. The Iceberg catalog redirects Hive tables to the Hive catalog."""
        return f'awsdatacatalog."{self.database}"."{self.name}"'


@dataclass(frozen=True, slots=True)
class Outcome:
    """`kind` and `sub_kind` are Athena's StatementType and SubstatementType."""

    kind: str
    sub_kind: str
    answer: Answer


def table_of(name: str, database: str | None) -> Table:
    """The table with this name, which has one to three parts."""
    parts = [part.strip('`"').lower() for part in re.findall(IDENTIFIER, name)][-2:]
    return Table(*parts) if len(parts) == 2 else Table(database or "default", parts[0])


def end_of_parentheses(text: str, start: int) -> int:
    """Index after the parenthesis that closes the parenthesis at `start`. Parentheses in quotes do not count."""
    depth, quote = 0, ""
    for index in range(start, len(text)):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0:
                return index + 1
    raise UnsupportedStatementError(f"unbalanced parentheses: {text[start : start + 80]}")


def split_commas(text: str) -> Iterator[str]:
    """Parts between commas outside of quotes and brackets."""
    depth, quote, part = 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == "," and depth == 0:
            yield part.strip()
            part = ""
            continue
        else:
            depth += {"(": 1, "[": 1, "<": 1, ")": -1, "]": -1, ">": -1}.get(character, 0)
        part += character
    if part.strip():
        yield part.strip()


def properties(text: str) -> dict[str, str]:
    """`a = b, 'c' = d` as a dict; values keep their quotes."""
    pairs = (part.split("=", 1) for part in split_commas(text))
    return {key.strip().strip("'\""): value.strip() for key, value in pairs}


def hive_type(trino_type: str) -> str:
    """Glue's name for a type of Trino."""
    plain = re.sub(r"timestamp\(\d\)", "timestamp", re.sub(r"varchar\(\d+\)", "varchar", trino_type))
    return re.sub(r"\b(varchar|integer|real|varbinary)\b", lambda match: HIVE_TYPES[match[1]], plain)


@dataclass(frozen=True, slots=True)
class Athena:
    """Runs Athena's statements on Trino and Glue."""

    trino: Trino
    glue: Any

    def run(self, sql: str, database: str | None) -> Outcome:
        """Translate and run one statement.

        Raises:
            UnsupportedStatementError: the statement is not known here.
            TrinoError: Trino refused it.
        """
        comments = COMMENTS.match(sql)
        body = sql[comments.end() if comments else 0 :].strip().rstrip(";").rstrip()
        for pattern, handler in (
            (rf"create\s+(?:schema|database)\s+(?:if\s+not\s+exists\s+)?({IDENTIFIER})", self._create_database),
            (rf"create\s+external\s+table\s+{NAME}\s*(?=\()", self._create_external_table),
            (rf"create\s+table\s+{NAME}\s+with\s*(?=\()", self._create_table_as),
            (rf"create\s+(?:or\s+replace\s+)?view\s+{NAME}", self._create_view),
            (rf"alter\s+(?:table|view)\s+{NAME}\s+", self._alter),
            (rf"drop\s+table\s+(?:if\s+exists\s+)?{NAME}", self._drop_table),
            (rf"optimize\s+{NAME}", self._optimize),
            (rf"vacuum\s+{NAME}", self._vacuum),
        ):
            if match := re.match(pattern, body, re.IGNORECASE):
                return handler(match, body, database)
        return self._pass_on(body, database)

    def _pass_on(self, body: str, database: str | None) -> Outcome:
        first = body.split(None, 1)[0].lower().strip("(")
        answer = self.trino.run(body, database)
        if first in {"show", "describe"}:
            return Outcome("UTILITY", first.upper(), answer)
        if first in {"drop", "create"}:
            return Outcome("DDL", first.upper(), answer)
        return Outcome("DML", (answer.update_type or "SELECT").upper(), answer)

    def _create_database(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        name = match[1].strip('`"')
        if not any(known["Name"] == name for known in self.glue.get_databases()["DatabaseList"]):
            self.glue.create_database(DatabaseInput={"Name": name})
        return Outcome("DDL", "CREATE_DATABASE", Answer())

    def _create_external_table(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        end = end_of_parentheses(body, match.end())
        table, clauses = table_of(match[1], database), body[end:]
        columns = []
        for column in split_commas(body[match.end() + 1 : end - 1]):
            name, kind = column.split(None, 1)
            columns.append({"Name": name.strip("`"), "Type": HIVE_TYPES.get(kind, kind)})
        serde = re.search(r"row\s+format\s+serde\s+'([^']+)'", clauses, re.IGNORECASE)
        location = re.search(r"location\s+'([^']+)'", clauses, re.IGNORECASE)
        parameters = {"EXTERNAL": "TRUE"}
        if clause := re.search(r"tblproperties\s*(?=\()", clauses, re.IGNORECASE):
            inner = clauses[clause.end() + 1 : end_of_parentheses(clauses, clause.end()) - 1]
            parameters |= {name: value.strip("'") for name, value in properties(inner).items()}
        assert location is not None
        storage = {
            "Columns": columns,
            "Location": location[1],
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": serde[1] if serde else "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        }
        self.glue.create_table(
            DatabaseName=table.database,
            TableInput={
                "Name": table.name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": parameters,
                "PartitionKeys": [],
                "StorageDescriptor": storage,
            },
        )
        return Outcome("DDL", "CREATE_TABLE", Answer())

    def _create_table_as(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        end = end_of_parentheses(body, match.end())
        options = properties(body[match.end() + 1 : end - 1])
        table = table_of(match[1], database)
        catalog = "awsdatacatalog" if options.pop("table_type", "").strip("'") == "iceberg" else "hive"
        options.pop("is_external", None)
        for name in [name for name in options if name.startswith(("vacuum_", "optimize_"))]:
            del options[name]  # only Athena knows these options
        options["format"] = options.get("format", "'parquet'").upper()
        with_clause = ", ".join(f"{name} = {value}" for name, value in options.items())
        target = f'{catalog}."{table.database}"."{table.name}"'
        answer = self.trino.run(f"create table {target} with ({with_clause}) {body[end:]}", database)
        return Outcome("DDL", "CREATE_TABLE_AS_SELECT", answer)

    def _create_view(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        self.trino.run(body.replace("`", '"'), database)
        table = table_of(match[1], database)
        described = self.trino.run(f"describe {table.trino}").rows
        columns = [{"Name": row[0], "Type": hive_type(row[1])} for row in described]

        def describe(entry: dict[str, Any]) -> None:  # Athena gives Glue the columns of a view; Trino does not
            storage = entry.setdefault("StorageDescriptor", {})
            storage |= {"Columns": columns, "SerdeInfo": storage.get("SerdeInfo", {}), "Location": ""}

        self._change_in_glue(table, describe)
        return Outcome("DDL", "CREATE_VIEW", Answer())

    def _alter(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        table, rest = table_of(match[1], database), body[match.end() :]
        if clause := re.match(r"set\s+tblproperties\s*(?=\()", rest, re.IGNORECASE):
            inner = rest[clause.end() + 1 : end_of_parentheses(rest, clause.end()) - 1]
            parameters = {name: value.strip("'") for name, value in properties(inner).items()}
            self._change_in_glue(table, lambda entry: entry.setdefault("Parameters", {}).update(parameters))
        elif clause := re.match(rf"rename\s+to\s+{NAME}", rest, re.IGNORECASE):
            self.trino.run(f"alter table {table.trino} rename to {table_of(clause[1], database).trino}")
        elif clause := re.match(r"add\s+columns\s*(?=\()", rest, re.IGNORECASE):
            inner = rest[clause.end() + 1 : end_of_parentheses(rest, clause.end()) - 1]
            for column in split_commas(inner):
                name, kind = column.split(None, 1)
                trino_kind = {"string": "varchar", "int": "integer", "timestamp": "timestamp(6)"}.get(kind, kind)
                self.trino.run(f'alter table {table.trino} add column "{name.strip("`")}" {trino_kind}')
        else:
            raise UnsupportedStatementError(f"ALTER TABLE … {rest[:80]}")
        return Outcome("DDL", "ALTER_TABLE", Answer())

    def _drop_table(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        self.trino.run(f"drop table if exists {table_of(match[1], database).trino}")
        return Outcome("DDL", "DROP_TABLE", Answer())

    def _optimize(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        self.trino.run(f"alter table {table_of(match[1], database).trino} execute optimize")
        return Outcome("DDL", "OPTIMIZE", Answer())

    def _vacuum(self, match: re.Match[str], body: str, database: str | None) -> Outcome:
        table = table_of(match[1], database)
        self.trino.run(f"alter table {table.trino} execute expire_snapshots(retention_threshold => '0s')")
        self.trino.run(f"alter table {table.trino} execute remove_orphan_files(retention_threshold => '0s')")
        return Outcome("DDL", "VACUUM", Answer())

    def _change_in_glue(self, table: Table, change: Any) -> None:
        entry = self.glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]
        change(entry)
        writable = (
            "Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys",
            "ViewOriginalText", "ViewExpandedText", "TableType", "Parameters",
        )  # fmt: skip
        self.glue.update_table(
            DatabaseName=table.database, TableInput={name: entry[name] for name in writable if name in entry}
        )
