"""A topology as YAML or TOML. What is read back is the same value; what has its default is left out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from brokerkit.operations.files.building import FROM_KEY, PRESENT, SECTIONS
from brokerkit.topology import Group, Retry, Topology
from brokerkit.topology.retry import unused_fields
from brokerkit.topology.units import Bytes, Delay, Seconds, duration_text, size_text

_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*( [A-Za-z0-9_.-]+)*|[0-9]+(ms|s|m|h|d|[KMGT]iB)")
_WORDS = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])
"""What YAML 1.1 or 1.2 takes for something else than a text."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(topology: Topology) -> str:
    """The topology as a YAML file."""
    return "".join(f"{line}\n" for line in _yaml_block(plain(topology), ""))


def to_toml(topology: Topology) -> str:
    """The topology as a TOML file."""
    data = plain(topology)
    lines = [f"{key} = {_quoted(data.pop(key))}" for key in ("name", "mode") if key in data]
    for section, held in data.items():
        for name, fields in held.items():
            lines += ["", f"[{section}.{_toml_key(name)}]", *_toml_pairs(fields)]
    return "".join(f"{line}\n" for line in lines)


def plain(topology: Topology) -> dict[str, Any]:
    """The topology as a file says it: durations and sizes as text, defaults left out."""
    data: dict[str, Any] = {"name": topology.name}
    if topology.mode != "own":
        data["mode"] = topology.mode
    for section in SECTIONS:
        held = {_key(each): _fields(each) for each in getattr(topology, section)}
        if held:
            data[section] = held
    return data


def _key(descriptor: Any) -> str:
    return str(descriptor.key if isinstance(descriptor, Group) else descriptor.name)


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    left_out = {*FROM_KEY.get(type(struct), ()), *(unused_fields(struct) if isinstance(struct, Retry) else ())}
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        # A retry policy says its kind, although it has a default: it decides what the other fields mean.
        wanted = field.required or field.name == "kind" or value != _default(field)
        if wanted and field.name not in left_out:
            found[field.name] = _value(value, field.type)
    return found


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _value(value: Any, wanted: Any) -> Any:
    alternatives = (wanted, *get_args(wanted))
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, tuple):
        return [_value(item, None) for item in value]
    if isinstance(value, float) and (Seconds in alternatives or Delay in alternatives):
        return duration_text(value)
    if isinstance(value, int) and Bytes in alternatives:
        return size_text(value)
    return value


def _yaml_block(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, held in value.items():
        name = f"{indent}{_yaml_text(key)}:"
        if isinstance(held, dict) and held:
            yield name
            yield from _yaml_block(held, f"{indent}  ")
        elif isinstance(held, list) and held and isinstance(held[0], dict):
            yield name
            yield from (f"{indent}  - {_yaml_flow(item)}" for item in held)
        else:
            yield f"{name} {_yaml_flow(held)}"


def _yaml_flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml_text(key)}: {_yaml_flow(held)}" for key, held in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml_flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, float) and "." not in repr(value):
        return repr(value).replace("e", ".0e")  # YAML 1.1 knows no 1e-9
    return _yaml_text(value) if isinstance(value, str) else _scalar(value)


def _yaml_text(text: str) -> str:
    return text if _SAFE.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _toml_pairs(fields: Mapping[str, Any]) -> Iterator[str]:
    for key, held in fields.items():
        if isinstance(held, list) and held and isinstance(held[0], dict):
            yield f"{_toml_key(key)} = ["
            yield from (f"    {_toml_value(item)}," for item in held)
            yield "]"
        else:
            yield f"{_toml_key(key)} = {_toml_value(held)}"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(key)} = {_toml_value(held)}" for key, held in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if value is None:
        return _toml_value(PRESENT)
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return _quoted(value) if isinstance(value, str) else _scalar(value)


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quoted(text: str) -> str:
    """In double quotes, with escapes that YAML and TOML share."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
