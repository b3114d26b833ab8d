"""Whether a producer's new message schema breaks the contract: the rules of docs/message-contract.md. Pure.

A change breaks if a message that the new schema allows is one that the old schema, or a reader of it, does not expect.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import msgspec

Rule = Literal[
    "field_missing", "field_optional", "field_reserved", "field_unexpected", "type_wider", "range_wider",
    "length_wider", "pattern_other", "values_wider", "keyword_other", "field_new", "field_dropped", "narrower",
]  # fmt: skip
HARMLESS: tuple[Rule, ...] = ("field_new", "field_dropped", "narrower")
"""Every other rule breaks."""

_TYPES = {"null", "boolean", "integer", "number", "string", "array", "object"}
_SAYS_NOTHING = {
    "$schema", "$id", "$comment", "title", "description", "examples", "default", "format", "deprecated", "version",
}  # fmt: skip
"""Keywords that change no verdict on a message. `format` is an annotation in draft 2020-12."""
_COMPARED = {
    "type", "enum", "const", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength",
    "pattern",
}  # fmt: skip
_OF_MESSAGE = {"type", "properties", "required", "additionalProperties"}


class SchemaError(ValueError):
    """The text is no JSON Schema of a message; names the reason."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two schemas; `field` is '' for the message as a whole."""

    rule: Rule
    field: str
    text: str

    @property
    def breaks(self) -> bool:
        """Whether the change breaks."""
        return self.rule not in HARMLESS


@dataclass(frozen=True, slots=True)
class _Values:
    """What a schema allows for one field. `other` are the keywords that this check cannot compare."""

    types: frozenset[str]
    low: tuple[float, bool]
    """The bound, and whether it is excluded: the stricter bound is the larger tuple."""
    high: tuple[float, bool]
    """The bound, and whether it is allowed: the stricter bound is the smaller tuple."""
    shortest: float
    longest: float
    pattern: str | None
    listed: list[Any] | None
    other: dict[str, Any]

    @classmethod
    def of(cls, schema: Any) -> _Values:
        rules: dict[str, Any] = schema if isinstance(schema, dict) else {}  # `true` allows any value
        listed = rules.get("enum", [rules["const"]] if "const" in rules else None)
        types = rules.get("type", _TYPES if listed is None else {_type_of(value) for value in listed})
        numbers = [value for value in listed or () if isinstance(value, int | float)]
        lengths = [len(value) for value in listed or () if isinstance(value, str)]
        lows = (rules.get("minimum", -inf), False), (rules.get("exclusiveMinimum", -inf), True)
        highs = (rules.get("maximum", inf), True), (rules.get("exclusiveMaximum", inf), False)
        return cls(
            types=_with_integers({types} if isinstance(types, str) else set(types)),
            low=max(*lows, (min(numbers, default=-inf), False)),
            high=min(*highs, (max(numbers, default=inf), True)),
            shortest=max(rules.get("minLength", 0), min(lengths, default=0)),
            longest=min(rules.get("maxLength", inf), max(lengths, default=inf)),
            pattern=rules.get("pattern"),
            listed=listed,
            other={word: value for word, value in rules.items() if word not in _SAYS_NOTHING | _COMPARED},
        )

    def matches(self, pattern: str) -> bool:
        """Whether each allowed text has the pattern."""
        return self.pattern == pattern or (
            self.listed is not None
            and all(re.search(pattern, value) for value in self.listed if isinstance(value, str))
        )


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _with_integers(types: Collection[str]) -> frozenset[str]:
    """The types, and `integer` if `number` is one of them."""
    return frozenset({*types, "integer"} if "number" in types else types)


def read(text: bytes, name: str) -> dict[str, Any]:
    """The schema in a file.

    Raises:
        SchemaError: it is no JSON Schema of an object with `properties`; the text names the file.
    """
    try:
        schema = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SchemaError(f"{name}: not a JSON object ({error})") from error
    if not isinstance(schema.get("properties"), dict):
        raise SchemaError(
            f"{name}: no `properties` at the top; give the JSON Schema of the message's value with the fields in place "
            "(no $ref), as docs/contract/ has it"
        )
    return schema


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    """Each difference that says something about messages, those of the message first, then by field."""
    by_field = [*_removed(old, new), *_added(old, new), *_kept(old, new)]
    return [*_message(old, new), *sorted(by_field, key=lambda difference: difference.field)]


def _fields(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields that a message may have; a field with the schema `false` does not count."""
    fields: dict[str, Any] = schema["properties"]
    return {name: rules for name, rules in fields.items() if rules is not False}


def _message(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    keywords = (old.keys() | new.keys()) - _SAYS_NOTHING - _OF_MESSAGE
    for word in sorted(keywords):
        if old.get(word) != new.get(word):
            yield Difference("keyword_other", "", f"`{word}` differs, and this check cannot compare it")
    before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if before is False and after is not False:
        yield Difference("field_unexpected", "", "the new schema allows further fields, the old one does not")
    elif before != after:
        rule: Rule = "narrower" if after is False or before is True else "keyword_other"
        yield Difference(rule, "", "`additionalProperties` differs")


def _removed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for name in _fields(old).keys() - _fields(new).keys():
        if name in old.get("required", ()):
            yield Difference("field_missing", name, "every message has it by the old schema; the new one lacks it")
        else:
            yield Difference("field_dropped", name, "an optional field is gone: its readers get null")


def _added(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for name in _fields(new).keys() - _fields(old).keys():
        if name in old["properties"]:
            yield Difference("field_reserved", name, "the old schema refuses a message with this field")
        elif old.get("additionalProperties", True) is False:
            yield Difference("field_unexpected", name, "the old schema allows no further field")
        else:
            yield Difference("field_new", name, "bronze keeps it; the condition schema_drift names it")


def _kept(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for name, before in _fields(old).items():
        if name not in _fields(new):
            continue
        was_required, is_required = (name in schema.get("required", ()) for schema in (old, new))
        if was_required and not is_required:
            yield Difference("field_optional", name, "every message has it by the old schema; now it may be absent")
        elif is_required and not was_required:
            yield Difference("narrower", name, "every message has it now")
        for rule, text in _values(_Values.of(before), _Values.of(_fields(new)[name])):
            yield Difference(rule, name, text)


def _values(old: _Values, new: _Values) -> Iterator[tuple[Rule, str]]:
    """The differences of one field's values. Beside a new type the other rules would say nothing more."""
    if wider := new.types - old.types:
        yield "type_wider", f"{_names(new.types)} instead of {_names(old.types)}: {_names(wider)} is new"
        return
    if "integer" in new.types and (new.low < old.low or new.high > old.high):
        yield "range_wider", "a number outside the old bounds is allowed"
    if "string" in new.types and (new.shortest < old.shortest or new.longest > old.longest):
        yield "length_wider", "a text shorter or longer than before is allowed"
    if "string" in new.types and old.pattern is not None and not new.matches(old.pattern):
        yield "pattern_other", "texts without the old pattern are allowed, or may be"
    if old.listed is not None and (new.listed is None or any(value not in old.listed for value in new.listed)):
        yield "values_wider", "a value outside the old list is allowed"
    if new.other != old.other:
        words = ", ".join(f"`{word}`" for word in sorted(new.other.keys() | old.other.keys()))
        yield "keyword_other", f"{words} differ, and this check cannot compare them"
    if _is_narrower(old, new):
        yield "narrower", "fewer values than before are allowed"


def _is_narrower(old: _Values, new: _Values) -> bool:
    return (
        new.types < old.types
        or new.low > old.low
        or new.high < old.high
        or new.shortest > old.shortest
        or new.longest < old.longest
        or (old.pattern is None and new.pattern is not None)
        or (new.listed is not None and (old.listed is None or len(new.listed) < len(old.listed)))
    )


def _names(types: frozenset[str]) -> str:
    """Types for a person; `number` covers `integer`."""
    return " or ".join(sorted(types - {"integer"} if "number" in types else types)) or "no type"
