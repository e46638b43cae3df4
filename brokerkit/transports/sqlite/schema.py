"""The tables, as SQL text.

One row of ``messages`` is one message in one queue or group, whatever its state: ready (no owner, not due later),
delayed (``due``), held (``owner``). ``at``, when it became or becomes available, is its place in line (``seq`` decides
between equals); it stays, so that what is handed back or promoted is not starved by younger messages. What a retry
changes (``attempt``) stands in columns beside the body, NULL meaning "as in the body", so that no outcome has to write
the body again.
"""

from __future__ import annotations

APPLICATION_ID = 0x424B4954
"""What marks a file as ours ("BKIT"), see https://www.sqlite.org/fileformat2.html#application_id."""
VERSION = 1
"""The schema's version, kept as ``user_version``."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE fragments (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    id TEXT NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    starts INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER,
    postponed INTEGER,
    due REAL,
    expires REAL,
    at REAL NOT NULL DEFAULT 0,
    owner INTEGER,
    dead TEXT,
    body BLOB NOT NULL
);
CREATE INDEX ready ON messages (source, lane, at, seq) WHERE owner IS NULL AND due IS NULL;
CREATE INDEX delayed ON messages (source, due, lane) WHERE due IS NOT NULL;
CREATE INDEX held ON messages (owner, source, lane) WHERE owner IS NOT NULL;
CREATE INDEX by_id ON messages (id);

CREATE TABLE bounds (
    source INTEGER PRIMARY KEY,
    length INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL,
    at REAL NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX log_order ON log (source, seq);

CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    member TEXT NOT NULL,
    until REAL NOT NULL,
    socket TEXT NOT NULL,
    sources TEXT NOT NULL,
    inbox TEXT,
    signals INTEGER NOT NULL,
    active INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX by_inbox ON owners (inbox) WHERE inbox IS NOT NULL;

CREATE TABLE replies (seq INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX reply_owner ON replies (owner);

CREATE TABLE signals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE presences (worker TEXT PRIMARY KEY, until REAL NOT NULL, body BLOB NOT NULL);

CREATE TABLE records (
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    labels TEXT,
    body BLOB NOT NULL
);
CREATE INDEX record_created ON records (created);
CREATE INDEX record_name ON records (name, created);
CREATE INDEX record_expires ON records (expires);

CREATE TABLE marks (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX mark_until ON marks (until);
"""

COUNTERS = """
CREATE TRIGGER IF NOT EXISTS message_enters AFTER INSERT ON messages BEGIN
    UPDATE bounds SET length = length + 1, bytes = bytes + length(NEW.body) WHERE source = NEW.source;
END;
CREATE TRIGGER IF NOT EXISTS message_leaves AFTER DELETE ON messages BEGIN
    UPDATE bounds SET length = length - 1, bytes = bytes - length(OLD.body) WHERE source = OLD.source;
END;
CREATE TRIGGER IF NOT EXISTS message_moves AFTER UPDATE OF source ON messages BEGIN
    UPDATE bounds SET length = length - 1, bytes = bytes - length(OLD.body) WHERE source = OLD.source;
    UPDATE bounds SET length = length + 1, bytes = bytes + length(NEW.body) WHERE source = NEW.source;
END;
CREATE TRIGGER IF NOT EXISTS entry_enters AFTER INSERT ON log BEGIN
    UPDATE bounds SET length = length + 1, bytes = bytes + length(NEW.body) WHERE source = NEW.source;
END;
CREATE TRIGGER IF NOT EXISTS entry_leaves AFTER DELETE ON log BEGIN
    UPDATE bounds SET length = length - 1, bytes = bytes - length(OLD.body) WHERE source = OLD.source;
END;
"""
"""What keeps ``bounds`` exact. Created with the first limited source: they cost every message a lookup."""


def statements(text: str) -> list[str]:
    """The single statements of a text; a trigger's inner ones stay together."""
    parts, current = [], ""
    for line in text.strip().splitlines():
        current += line + "\n"
        if line.rstrip().endswith(";") and not line.startswith(" "):
            parts.append(current.strip())
            current = ""
    return parts
