"""The message as a contract: JSON Schema and Open Data Contract Standard, made of the types that validate messages.

`make generate` writes both to docs/contract/. Pure: no file is read or written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import yaml

from include.ingest.quote import Quote
from include.landing.codec import RESERVED_FIELDS
from include.settings import KafkaSettings

Json = dict[str, object]
"""A JSON object."""

VERSION = "1.0.0"
"""The contract's version. A change that breaks producers (docs/message-contract.md) raises the first number, and the
names of the files with it; any other change raises the second."""
MAJOR = VERSION.partition(".")[0]
ID = f"urn:crypto-lakehouse:quote:{MAJOR}"
TITLE = "Quote"
PURPOSE = "One quote of one coin, as a producer sends it to the topic. Further fields are allowed and kept in bronze."

BEYOND_SCHEMA = (
    "The value is a JSON object in UTF-8; nothing is in front of it: no byte order mark, no schema registry's frame.",
    "The value has at most CONSUMER_MAX_MESSAGE_BYTES bytes, and nesting stays below 1,000 levels.",
    "`id` is written as digits only: 1, not 1.0 or 1e0.",
    "No field of the contract is in the object twice, not even with a name written by escapes.",
    "Escapes in text are whole characters: no half of a surrogate pair such as \\ud800.",
    "`price` is above 0 after rounding to a double.",
    "`last_updated` is a day of the calendar, and before the year 10000 after rounding to the microsecond.",
)
"""What the consumer checks and JSON Schema cannot say. tests/unit/ingest/test_message_contract.py has an example of
each."""


def json_schema() -> Json:
    """The JSON Schema (draft 2020-12) of a message's value."""
    quote = _quote_schema()
    properties = cast("Json", quote["properties"])
    cast("Json", properties["last_updated"]).pop("format")  # `date-time` refuses the blank and an offset without colon
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": TITLE,
        "description": PURPOSE,
        "$comment": "The consumer also checks: " + " ".join(BEYOND_SCHEMA),
        "version": VERSION,
        "type": "object",
        "required": quote["required"],
        "properties": properties | dict.fromkeys(RESERVED_FIELDS, False),
        "additionalProperties": True,
    }


def _quote_schema() -> Json:
    """What msgspec says about the type that it validates with."""
    _, components = msgspec.json.schema_components([Quote])
    return cast("Json", components["Quote"])


_OPTIONS = {
    "minimum": "minimum", "maximum": "maximum", "exclusiveMinimum": "exclusiveMinimum", "minLength": "minLength",
    "maxLength": "maxLength", "pattern": "pattern",
}  # fmt: skip
"""Keyword of JSON Schema -> option of a logical type in ODCS."""


def data_contract() -> Json:
    """The contract of the topic in the Open Data Contract Standard, version 3.1."""
    schema = json_schema()
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": ID,
        "name": "Quotes of coins",
        "version": VERSION,
        "status": "active",
        "domain": "market data",
        "description": {
            "purpose": PURPOSE,
            "usage": "Send JSON to the topic. The consumer lands each valid message once; any other is a dead letter.",
            "limitations": " ".join(BEYOND_SCHEMA),
        },
        "schema": [
            {
                "name": "quote",
                "physicalName": str(KafkaSettings.model_fields["topic"].default),
                "physicalType": "topic",
                "logicalType": "object",
                "description": PURPOSE,
                "properties": [
                    _property(name, cast("dict[str, Any]", rules), name in cast("list[str]", schema["required"]))
                    for name, rules in cast("Json", schema["properties"]).items()
                    if rules is not False
                ],
                "customProperties": [
                    {"property": "additionalFields", "value": "allowed"},
                    {"property": "reservedFields", "value": list(RESERVED_FIELDS)},
                    {"property": "jsonSchema", "value": schema_file()},
                ],
            }
        ],
    }


def _property(name: str, rules: dict[str, Any], required: bool) -> Json:
    return {
        "name": name,
        "logicalType": rules["type"],
        "physicalType": f"JSON {rules['type']}",
        "required": required,
        "description": rules["description"],
        "logicalTypeOptions": {option: rules[word] for word, option in _OPTIONS.items() if word in rules},
        "examples": rules["examples"],
    }


def schema_file() -> str:
    """Name of the JSON Schema's file in docs/contract/."""
    return f"quote-v{MAJOR}.schema.json"


def schema_lines() -> Iterator[str]:
    """The lines of the JSON Schema's file."""
    yield from json.dumps(json_schema(), indent=2, ensure_ascii=False).splitlines()


def contract_lines() -> Iterator[str]:
    """The lines of the data contract's file, YAML."""
    text = yaml.safe_dump(data_contract(), sort_keys=False, width=110, allow_unicode=True)
    yield "# Written by make generate from include/ingest/message_contract.py"
    yield from text.splitlines()
