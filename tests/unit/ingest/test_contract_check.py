"""Whether a producer's new schema breaks the contract: pairs of schemas, and the command."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from include.ingest.__main__ import main
from include.ingest.contract_check import SchemaError, differences, read
from include.ingest.message_contract import json_schema
from include.settings import PROJECT_ROOT

CONTRACT: dict[str, Any] = json.loads(json.dumps(json_schema()))
DROP: Any = object()
EXTRA = {"rank": {"type": "integer", "minimum": 1}, "venue": {"enum": ["A", "B"]}}


def schema(fields: dict[str, Any] | None = None, *, optional: set[str] = frozenset(), **top: Any) -> dict[str, Any]:  # type: ignore[assignment]
    """The contract with other rules for some fields, and other keywords at the top."""
    changed = deepcopy(CONTRACT) | top
    for name, rules in (fields or {}).items():
        if rules is DROP:
            del changed["properties"][name]
            changed["required"] = [field for field in changed["required"] if field != name]
        else:
            known = changed["properties"].get(name)
            changed["properties"][name] = known | rules if isinstance(known, dict) and rules else rules
    changed["required"] = [field for field in changed["required"] if field not in optional]
    return changed


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = {
    "a description": (schema(), schema({"price": {"description": "in dollars"}}, title="Q"), []),
    "a field more": (schema(), schema({"volume_24h": {"type": "number"}}), [("field_new", "volume_24h")]),
    "a renamed field": (
        schema(),
        schema({"name": DROP, "full_name": {"type": "string"}}),
        [("field_new", "full_name"), ("field_missing", "name")],
    ),
    "an optional field less": (schema(EXTRA), schema({"venue": EXTRA["venue"]}), [("field_dropped", "rank")]),
    "a required field that may be absent": (schema(), schema(optional={"name"}), [("field_optional", "name")]),
    "another type": (schema(), schema({"price": {"type": "string"}}), [("type_wider", "price")]),
    "null allowed": (schema(), schema({"price": {"type": ["number", "null"]}}), [("type_wider", "price")]),
    "whole numbers only": (schema(), schema({"price": {"type": "integer"}}), [("narrower", "price")]),
    "a price of zero": (
        schema(),
        schema({"price": {"type": "number", "minimum": 0, "maximum": 1e300}}) | {},
        [("range_wider", "price"), ("narrower", "price")],
    ),
    "a longer name": (schema(), schema({"name": {"maxLength": 500}}), [("length_wider", "name")]),
    "another form of time": (
        schema(),
        schema({"last_updated": {"pattern": "^[0-9]+$"}}),
        [("pattern_other", "last_updated")],
    ),
    "a value more": (schema(EXTRA), schema(EXTRA | {"venue": {"enum": ["A", "C"]}}), [("values_wider", "venue")]),
    "a list of values": (schema(), schema({"symbol": {"enum": ["BTC", "ETH"]}}), [("narrower", "symbol")]),
    "a reserved field": (schema(), schema({"_offset": {"type": "integer"}}), [("field_reserved", "_offset")]),
    "a field that the old schema has no room for": (
        schema(additionalProperties=False),
        schema({"rank": EXTRA["rank"]}, additionalProperties=False),
        [("field_unexpected", "rank")],
    ),
    "no further fields": (schema(), schema(additionalProperties=False), [("narrower", "")]),
    "further fields": (schema(additionalProperties=False), schema(), [("field_unexpected", "")]),
    "a keyword that is not compared": (
        schema(),
        schema({"price": {"multipleOf": 0.01}}, anyOf=[{"minProperties": 5}]),
        [("keyword_other", ""), ("keyword_other", "price")],
    ),
}
"""What changes -> the old schema, the new one, and (rule, field) of each difference."""
PAIRS["a price of zero"][1]["properties"]["price"].pop("exclusiveMinimum")
HARMLESS = {
    "a description", "a field more", "an optional field less", "whole numbers only", "a list of values",
    "no further fields",
}  # fmt: skip


@pytest.mark.parametrize("change", PAIRS)
def test_each_difference_has_its_rule(change: str) -> None:
    old, new, expected = PAIRS[change]
    found = differences(old, new)
    assert [(difference.rule, difference.field) for difference in found] == expected
    assert any(difference.breaks for difference in found) == (change not in HARMLESS)
    assert differences(old, old) == differences(new, new) == []


@pytest.mark.parametrize("change", PAIRS)
def test_the_command_ends_with_1_if_the_change_breaks(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, expected = PAIRS[change]
    files = tmp_path / "old.json", tmp_path / "new.json"
    for file, content in zip(files, (old, new), strict=True):
        file.write_text(json.dumps(content))
    status = main(["check-contract", *map(str, files)])
    printed = capsys.readouterr().out
    assert status == (0 if change in HARMLESS else 1)
    assert all(f"{field or 'message'}: {rule}: " in printed for rule, field in expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"{", "not a JSON object"), (b"[]", "not a JSON object"), (b'{"$ref": "#/$defs/Quote"}', "no `properties`")],
)
def test_a_file_that_is_no_schema_is_refused_by_name(text: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=says) as refused:
        read(text, "quote.json")
    assert str(refused.value).startswith("quote.json: ")
    (tmp_path / "new.json").write_bytes(text)
    published = PROJECT_ROOT / "docs/contract/quote-v1.schema.json"
    assert main(["check-contract", str(published), str(tmp_path / "new.json")]) == 2
    assert main(["check-contract", str(published), str(tmp_path / "absent.json")]) == 2
    assert main(["check-contract", str(published), str(published)]) == 0
