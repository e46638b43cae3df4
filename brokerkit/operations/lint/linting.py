"""Linting a topology, with or without the app or the file it comes from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from brokerkit.app import App
from brokerkit.dialect import Dialect
from brokerkit.operations.files import Loaded, Place, read
from brokerkit.operations.files.document import place_of
from brokerkit.operations.lint.abilities import ability_findings
from brokerkit.operations.lint.ignoring import Ignore, ignores_in, is_ignored, unknown_codes
from brokerkit.operations.lint.portable import portable_findings
from brokerkit.operations.lint.rules import Severity, rules
from brokerkit.operations.lint.work import Work, work_of
from brokerkit.topology import Finding, ObjectPath, Topology, problems


class Found(msgspec.Struct, frozen=True):
    """A finding, where it stands, and whom it concerns.

    Args:
        finding: The finding.
        place: Where it stands; None for what no file says.
        brokers: The brokers it is true for; none: for all.
        environments: The overlays it is true for; none: for the topology without one.
    """

    finding: Finding
    place: Place | None = None
    brokers: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        return rules()[self.finding.rule].severity


class Subject(msgspec.Struct, frozen=True):
    """What is linted.

    Args:
        topology: The topology.
        work: What an app does with it. Default unknown.
        places: Where everything of it stands. Default nowhere.
        ignores: What its files opt out of. Default nothing.
    """

    topology: Topology
    work: tuple[Work, ...] = ()
    places: Mapping[ObjectPath, Place] = {}
    ignores: tuple[Ignore, ...] = ()


def lint_app(app: App, dialects: Sequence[Dialect] = ()) -> list[Found]:
    """All that is found in an app, with its tasks and subscribers; what its file says, where it stands.

    Args:
        app: The app; it need not be open.
        dialects: As for ``lint``.
    """
    loaded = read(app.topology_file, app.topology_env) if app.topology_file is not None else None
    if loaded is not None and loaded.problems:
        return [Found(problem.finding, problem.place) for problem in loaded.problems]
    # Without the sections themselves: what the app declares in Python stands in none of them.
    places = {path: place for path, place in loaded.places.items() if len(path) > 1} if loaded is not None else {}
    topology = app.collected()
    work = () if problems(topology) else tuple(work_of(app, topology))
    ignores = tuple(_ignores(loaded)) if loaded is not None else ()
    return lint(Subject(topology, work, places, ignores), dialects)


def lint(subject: Subject, dialects: Sequence[Dialect] = ()) -> list[Found]:
    """All that is found, errors of the topology itself alone if there are any.

    Args:
        subject: What to lint.
        dialects: The brokers it is for. Default none: only what holds for all.
    """
    places = subject.places
    if wrong := problems(subject.topology):
        return [Found(finding, place_of(places, finding.path)) for finding in wrong]
    brokers: dict[tuple[Finding, Place | None], list[str]] = {}
    for finding, broker in _findings(subject, dialects):
        if rules()[finding.rule].severity == "error" or not is_ignored(finding, places, list(subject.ignores)):
            brokers.setdefault((finding, place_of(places, finding.path)), []).append(broker)
    return [
        Found(finding, place, () if "" in names else tuple(dict.fromkeys(names)))
        for (finding, place), names in brokers.items()
    ]


def _findings(subject: Subject, dialects: Sequence[Dialect]) -> Iterator[tuple[Finding, str]]:
    """Each finding with the broker it is true for; of one rule at one path a broker's own word counts once."""
    topology, work = subject.topology, subject.work
    general = {(found.rule, found.path): found for found in portable_findings(topology, work)}
    yield from ((finding, "") for finding in general.values())
    for dialect in dialects:
        capabilities = dialect.capabilities
        known = dict(general)
        for finding in [*dialect.findings(topology), *ability_findings(topology, work, capabilities)]:
            if known.setdefault((finding.rule, finding.path), finding) is finding:
                yield finding, capabilities.name


def lint_file(
    file: str | os.PathLike[str], dialects: Sequence[Dialect] = (), environments: Sequence[str | None] | None = None
) -> list[Found]:
    """All that is found in a file.

    Args:
        file: A YAML or TOML file.
        dialects: As for ``lint``.
        environments: The overlays to apply in turn; None is the file as it is. Default: that, and all there are.
    """
    first = read(file, None)
    chosen = (None, *first.environments) if environments is None else environments
    merged: dict[tuple[Finding, Place | None], tuple[set[str], set[str]]] = {}
    for env in chosen:
        for found in _of_loaded(first if env is None else read(file, env), dialects):
            brokers, envs = merged.setdefault((found.finding, found.place), (set(), set()))
            brokers.update(found.brokers or ("",))
            envs.add(env or "")
    made = [
        Found(finding, place, _named(brokers), _named(envs)) for (finding, place), (brokers, envs) in merged.items()
    ]
    return sorted(made, key=lambda found: (found.place or Place(""), found.finding.rule, str(found.finding)))


def _named(names: Iterable[str]) -> tuple[str, ...]:
    """The names; none where it is true without one."""
    found = set(names)
    return () if "" in found else tuple(sorted(found))


def _of_loaded(loaded: Loaded, dialects: Sequence[Dialect]) -> Iterator[Found]:
    ignores = _ignores(loaded)
    yield from (Found(finding, place) for finding, place in unknown_codes(ignores))
    if loaded.problems:
        yield from (Found(problem.finding, problem.place) for problem in loaded.problems)
        return
    for slip in loaded.suspicious:
        if not is_ignored(slip.finding, loaded.places, ignores):
            yield Found(slip.finding, slip.place)
    yield from lint(Subject(loaded.topology, (), loaded.places, tuple(ignores)), dialects)


def _ignores(loaded: Loaded) -> list[Ignore]:
    return [ignore for file, text in loaded.texts.items() for ignore in ignores_in(file, text)]
