"""``python -m tests.bench``: measure, print a table, keep the figures as JSON.

The exit code says whether it ran, not whether it was fast: rates belong to a machine and to what else it does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import drain, footprint, latency, publish, stores
from tests.bench.brokers import TRANSPORTS, absent, family
from tests.bench.figures import Figure, Measure, Options
from tests.bench.report import as_json, heading, surroundings, table

MEASURES: dict[str, Measure] = {
    "drain": drain.measure,
    "publish": publish.measure,
    "latency": latency.measure,
    "idle": footprint.measure_idle,
    "memory": footprint.measure_memory,
}
ONCE: dict[str, Measure] = {"stores": stores.measure, "import": footprint.measure_import}
"""What does not depend on a transport."""


def main(arguments: list[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    with TemporaryDirectory(prefix="brokerkit-bench-", dir=chosen.directory) as directory:
        _keep_bytecode(Path(directory, "bytecode"))
        options = Options(directory=directory, quick=chosen.quick, repeat=chosen.repeat or (1 if chosen.quick else 3))
        around = surroundings(options)
        figures = list(_measured(_present(chosen.transport), chosen.only, options))
    print(heading(around), table(figures), sep="\n\n")
    if chosen.json is not None:
        chosen.json.write_bytes(as_json(around, figures))


def _keep_bytecode(place: Path) -> None:
    """Let the measured processes load bytecode, as installed programs do, whatever this environment says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(place)


def _present(chosen: str) -> list[str]:
    """The transports to measure; one that is not here is left out when it was not asked for by name."""
    transports = [each for each in TRANSPORTS if chosen in ("all", family(each))]
    missing = {each: why for each in transports if (why := absent(each))}
    for transport, why in missing.items():
        print(f"{transport}: not measured: {why}", file=sys.stderr)
    if len(missing) == len(transports):
        sys.exit(1)
    return [each for each in transports if each not in missing]


def _measured(transports: list[str], only: str | None, options: Options) -> Iterator[Figure]:
    for transport in transports:
        for name, measure in MEASURES.items():
            if only in (None, name):
                print(f"{transport}: {name} ...", file=sys.stderr, flush=True)
                yield from measure(transport, options)
    for name, measure in ONCE.items():
        if only in (None, name):
            print(f"{name} ...", file=sys.stderr, flush=True)
            yield from measure("", options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure brokerkit.")
    parser.add_argument("--transport", choices=(*dict.fromkeys(map(family, TRANSPORTS)), "all"), default="all")
    parser.add_argument("--only", choices=(*MEASURES, *ONCE), help="one theme instead of all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures here")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions of each rate; default 3, quick 1")
    parser.add_argument("--directory", metavar="DIR", help="where databases are made; default: for temporary files")
    return parser


if __name__ == "__main__":
    main()
