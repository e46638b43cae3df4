"""Topologies in YAML and TOML: read strictly, every problem with its line and column; written; as JSON Schema.

``reading`` finds the files and puts them together, ``yaml_text`` and ``toml_text`` read one, ``building`` makes the
topology of it, ``writing`` is the way back, ``schema`` describes it to editors.
"""

from brokerkit.operations.files.document import Place, Problem
from brokerkit.operations.files.reading import Loaded, load, read
from brokerkit.operations.files.schema import json_schema
from brokerkit.operations.files.writing import to_toml, to_yaml

__all__ = ["Loaded", "Place", "Problem", "json_schema", "load", "read", "to_toml", "to_yaml"]
