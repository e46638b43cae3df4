"""What a file may say, as JSON Schema 2020-12, for editors and for checks without brokerkit.

It takes what ``reading`` takes, but for what no schema can say: that names which are spoken of are declared, that
several fields agree, and where an include leads.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from brokerkit.operations.files.building import FROM_KEY, PRESENT, SECTIONS
from brokerkit.topology import Binding, DeadLetter, Mode, RabbitMQOptions, RedisOptions, Retry
from brokerkit.topology.log import START
from brokerkit.topology.names import NAME_PATTERN, RESERVED
from brokerkit.topology.units import DURATION, LONGER_THAN_NOTHING, SIZE
from brokerkit.topology.values import KEY_BYTES

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_FREE = "".join(f"(?!{prefix.replace('.', '[.]')})" for prefix in RESERVED)
_NAME = f"{_FREE}{NAME_PATTERN}"
_WITHOUT_AT = _NAME.replace("@", "")
_KEYS = {"exchanges": _NAME, "queues": _NAME, "logs": _WITHOUT_AT, "groups": f"[^@]*@{_WITHOUT_AT}"}
_TOP = {
    "name": "The app that these belong to. Default: the file's name.",
    "mode": "Who declares what says nothing of it: own creates what is missing, verify compares, trust does not look.",
    "includes": "Files beside this one, or below it, whose declarations are added.",
    "exchanges": "Exchanges by name.",
    "queues": "Queues by name.",
    "logs": "Logs by name.",
    "groups": "Groups by log@group.",
    "overlays": "What each environment has otherwise, as changes or as the name of a file that has them.",
}
_WITH_TEXTS = {DURATION, LONGER_THAN_NOTHING, SIZE}
_DESCRIBED: tuple[type[msgspec.Struct], ...] = (
    *SECTIONS.values(),
    Binding,
    DeadLetter,
    Retry,
    RabbitMQOptions,
    RedisOptions,
)


def json_schema() -> Schema:
    """The schema of a topology's file."""
    _, definitions = msgspec.json.schema_components(SECTIONS.values(), ref_template="#/$defs/{name}")
    for kind in _DESCRIBED:
        _describe(definitions[kind.__name__], kind)
    _narrow(definitions)
    for schema in _schemas(definitions):
        if schema.get("pattern") in _WITH_TEXTS:
            schema["type"] = [schema["type"], "string"]
    mode = {"enum": sorted(get_args(Mode))}
    changes = {"name": _text(_NAME), "mode": mode, **_sections()}
    definitions["Changes"] = _closed(changes)
    top: Schema = {
        "name": _text(_NAME),
        "mode": {**mode},
        "includes": {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}},
        **_sections(),
        "overlays": {
            "type": ["object", "null"],
            "additionalProperties": {
                "anyOf": [{"$ref": "#/$defs/Changes"}, {"type": "string", "minLength": 1}, {"type": "null"}]
            },
        },
    }
    for name, words in _TOP.items():
        top[name]["description"] = words
    return {"$schema": DIALECT, "title": "A topology of brokerkit", **_closed(top), "$defs": definitions}


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _sections() -> Schema:
    """Each section: descriptors by name, or nothing where all has its default."""
    return {
        section: {
            "type": ["object", "null"],
            "propertyNames": {"pattern": f"^{_KEYS[section]}$"},
            "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"}, {"type": "null"}]},
        }
        for section, kind in SECTIONS.items()
    }


def _describe(schema: Schema, kind: type[msgspec.Struct]) -> None:
    """Take the words of the struct's docstring, and leave out the fields that the key stands for."""
    text = inspect.cleandoc(kind.__doc__ or "")
    schema["description"] = text.partition("\n")[0]
    for name in FROM_KEY.get(kind, ()):
        del schema["properties"][name]
    schema["required"] = [name for name in schema["required"] if name not in FROM_KEY.get(kind, ())]
    for name, words in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text.partition("\nArgs:\n")[2], re.MULTILINE):
        if name in schema["properties"]:
            schema["properties"][name]["description"] = " ".join(words.replace("``", "").split())


def _narrow(definitions: Schema) -> None:
    """What the types of the fields do not say."""
    properties = {name: schema["properties"] for name, schema in definitions.items()}
    properties["Binding"]["headers"]["anyOf"][0]["additionalProperties"] = {
        "anyOf": [{"type": ["string", "number", "boolean", "null"]}, {"const": PRESENT}]
    }
    properties["Binding"]["key"]["maxLength"] = KEY_BYTES
    properties["DeadLetter"]["name"]["anyOf"][0]["pattern"] = f"^{_WITHOUT_AT}$"
    properties["Group"]["start"]["pattern"] = START
    properties["RedisOptions"]["hash_tag"]["anyOf"][0]["pattern"] = "^[^{}]+$"
    for field in ("retry_on", "give_up_on"):
        properties["Retry"][field]["items"]["pattern"] = r"^\S+$"
    for kind in ("Exchange", "Log"):
        only_queues = {"properties": {"native_priority": {"const": False}}}
        properties[kind]["rabbitmq"] = {**properties[kind]["rabbitmq"], "allOf": [only_queues]}
    strict, given = {"properties": {"strict": {"const": True}}}, {"properties": {"weights": {"type": "array"}}}
    definitions["Queue"]["not"] = {"allOf": [strict, given], "required": ["strict", "weights"]}
    definitions["Log"].update(
        {
            "if": {"properties": {"hold_for_groups": {"const": True}}, "required": ["hold_for_groups"]},
            "then": {
                "anyOf": [
                    {"required": [limit], "properties": {limit: {"not": {"type": "null"}}}}
                    for limit in ("max_bytes", "max_length")
                ]
            },
        }
    )


def _schemas(value: Any) -> Iterator[Schema]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for inside in value if isinstance(value, list) else ():
        yield from _schemas(inside)
