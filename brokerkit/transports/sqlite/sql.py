"""The statements, as SQL text.

Few steps, not few rows: the ``sqlite3`` module gives up and takes back the interpreter lock at every step of a
statement, and beside a busy event loop each return can take the whole switch interval (5 ms). So a batch is one
statement with many values, a set of ids travels as one JSON array, and a result of many rows comes back as one row.
"""

from __future__ import annotations

from functools import lru_cache

# -- messages ---------------------------------------------------------------------------------------------------

INSERT_MESSAGES = "INSERT INTO messages (source, lane, due, expires, at, id, body) VALUES"

_CLAIM_LANE = """
    SELECT * FROM (
        SELECT seq, source, lane, deliveries, starts, attempt, postponed, expires, dead IS NOT NULL AS buried, body
        FROM messages INDEXED BY ready
        WHERE owner IS NULL AND due IS NULL AND source = ? AND lane = ? ORDER BY at, seq LIMIT ?)"""
_CLAIM = """
SELECT
    (SELECT count(*) FROM owners WHERE id = ?),
    (SELECT min(first) FROM (
        SELECT (SELECT due FROM messages INDEXED BY delayed
                WHERE source = wanted.value AND due IS NOT NULL ORDER BY due LIMIT 1) AS first
        FROM json_each(?) AS wanted)),
    json_group_array(seq),
    json_group_array(json_array(
        seq, source, lane, deliveries, starts, attempt, postponed, expires, buried, length(body))),
    CAST(group_concat(body, '') AS BLOB)
FROM ("""


@lru_cache(maxsize=64)
def claim(lanes: tuple[int, ...]) -> str:
    """What is ready in so many lanes of each source, as one row; each source has a limit after those of its lanes."""
    union = "\n    UNION ALL"
    sources = ("\n    SELECT * FROM (" + union.join([_CLAIM_LANE] * count) + " LIMIT ?)" for count in lanes)
    return _CLAIM + union.join(sources) + ")"


TAKE = """
UPDATE messages SET owner = ?, deliveries = deliveries + 1
WHERE seq IN (SELECT value FROM json_each(?))"""

PROMOTE = """
UPDATE messages SET at = due, due = NULL WHERE seq IN (
    SELECT due_now.seq FROM json_each(?) AS wanted JOIN messages AS due_now INDEXED BY delayed
    ON due_now.source = wanted.value AND due_now.due <= ? AND due_now.due IS NOT NULL
    ORDER BY due_now.due LIMIT 1000)"""

# "+owner" keeps SQLite from walking all that the owner holds instead of looking up the few asked for.
HOLDS = """
SELECT json_group_array(seq) FROM messages
WHERE seq IN (SELECT value FROM json_each(?)) AND +owner = ?"""

ACK = "DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?))"

# All or nothing: an owner that has lost one delivery has lost all.
ACK_HELD = """
DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?1)) AND ?3 = (
    SELECT count(*) FROM messages WHERE seq IN (SELECT value FROM json_each(?1)) AND +owner = ?2)"""

REDELIVER = """
UPDATE messages SET owner = NULL, deliveries = 0, starts = 0, attempt = new.attempt, postponed = new.postponed,
    due = new.due, expires = new.expires
FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS attempt,
             json_extract(value, '$[2]') AS postponed, json_extract(value, '$[3]') AS due,
             json_extract(value, '$[4]') AS expires FROM json_each(?)) AS new
WHERE messages.seq = new.seq"""

BURY = """
UPDATE messages SET owner = NULL, source = new.source, lane = new.lane, starts = 0, expires = new.expires,
    at = new.died, dead = json_set(new.dead, '$.deliveries', deliveries), deliveries = 0
FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS source,
             json_extract(value, '$[2]') AS lane, json_extract(value, '$[3]') AS expires,
             json_extract(value, '$[4]') AS died, json_extract(value, '$[5]') AS dead FROM json_each(?)) AS new
WHERE messages.seq = new.seq"""

RELEASE = """
UPDATE messages SET owner = NULL, deliveries = max(deliveries - 1, 0), starts = max(starts - given.marked, 0)
FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS marked FROM json_each(?)) AS given
WHERE messages.seq = given.seq"""

UNMARK = """
UPDATE messages SET starts = max(starts - 1, 0)
WHERE seq IN (SELECT value FROM json_each(?)) AND +owner = ?"""
RELEASE_ALL = "UPDATE messages SET owner = NULL, deliveries = max(deliveries - 1, 0) WHERE owner = ?"

RECLAIM = "UPDATE messages SET owner = NULL WHERE owner IN (SELECT value FROM json_each(?))"

MARK_START = "UPDATE messages SET starts = starts + 1 WHERE seq IN (SELECT value FROM json_each(?))"

COPIES = "SELECT attempt, postponed, body, owner IS NOT NULL FROM messages WHERE id = ? AND dead IS NULL"

CANCEL = "DELETE FROM messages WHERE id = ? AND dead IS NULL AND owner IS NULL"

# -- dead letters -----------------------------------------------------------------------------------------------

# One lane of a dead-letter queue, from a place in line on, and the last one's place, which JSON would round.
# What has no story was put there by somebody else.
DEAD = """
SELECT json_group_array(json_array(seq, at, id, attempt, postponed, dead, length(body))),
    CAST(group_concat(body, '') AS BLOB), max(at)
FROM (SELECT seq, at, id, attempt, postponed, dead, body FROM messages INDEXED BY ready
    WHERE owner IS NULL AND due IS NULL AND source = ? AND lane = ? AND (at, seq) > (?, ?) AND seq <= ?
        AND (dead IS NULL OR json_extract(dead, '$.source') = ?) AND (expires IS NULL OR expires > ?)
        AND (? IS NULL OR coalesce(nullif(id, ''), 'row-' || seq) IN (SELECT value FROM json_each(?)))
    ORDER BY at, seq LIMIT ?)"""
NEWEST = "SELECT coalesce(max(seq), 0) FROM messages"
FREE_DEAD = """
SELECT json_group_array(seq) FROM messages
WHERE seq IN (SELECT value FROM json_each(?)) AND owner IS NULL AND +source = ?"""
PURGE = "DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?)) AND owner IS NULL AND +source = ?"

DROP_OLD_DEAD = """
DELETE FROM messages WHERE seq IN (
    SELECT seq FROM messages INDEXED BY ready
    WHERE owner IS NULL AND due IS NULL AND source = ? AND dead IS NOT NULL AND expires < ? LIMIT 500)"""

# -- counting ---------------------------------------------------------------------------------------------------

ADD_BOUND = """
INSERT INTO bounds (source, length, bytes)
SELECT ?1, count(*), total(size) FROM (
    SELECT length(body) AS size FROM messages WHERE source = ?1
    UNION ALL SELECT length(body) FROM log WHERE source = ?1)
WHERE true ON CONFLICT (source) DO NOTHING"""

COUNT_READY = """
SELECT lane, count(*) FROM messages INDEXED BY ready
WHERE owner IS NULL AND due IS NULL AND source = ? GROUP BY lane"""
COUNT_DELAYED = """
SELECT lane, count(*) FROM messages INDEXED BY delayed
WHERE due IS NOT NULL AND source = ? GROUP BY lane"""
COUNT_HELD = """
SELECT lane, count(*) FROM messages INDEXED BY held
WHERE owner IS NOT NULL AND source = ? GROUP BY lane"""
COUNT_DEAD = """
SELECT count(*) FROM (
    SELECT dead, expires FROM messages INDEXED BY ready WHERE owner IS NULL AND due IS NULL AND source = ?1
    UNION ALL SELECT dead, expires FROM messages INDEXED BY held WHERE owner IS NOT NULL AND source = ?1)
WHERE (dead IS NULL OR json_extract(dead, '$.source') = ?2) AND (expires IS NULL OR expires > ?3)"""
COUNT_CONSUMERS = """
SELECT count(DISTINCT member) FROM owners
WHERE until > ? AND active AND EXISTS (SELECT 1 FROM json_each(owners.sources) WHERE value = ?)"""
LOST = "SELECT lost FROM bounds WHERE source = ?"
ADD_LOST = "UPDATE bounds SET lost = lost + ? WHERE source = ?"

# -- topology ---------------------------------------------------------------------------------------------------

STATE = "SELECT (SELECT value FROM meta WHERE key = 'topology'), (SELECT max(id) FROM owners)"
FRAGMENTS = "SELECT body FROM fragments ORDER BY name"
PUT_FRAGMENT = "INSERT OR REPLACE INTO fragments (name, body) VALUES (?, ?)"
NEXT_TOPOLOGY = "UPDATE meta SET value = value + 1 WHERE key = 'topology'"
ADD_SOURCE = "INSERT INTO sources (key) VALUES (?) ON CONFLICT (key) DO NOTHING"
SOURCES = "SELECT key, id FROM sources"
DROP_FRAGMENT = "DELETE FROM fragments WHERE name = ?"
COUNT_LOG = "SELECT count(*) FROM log WHERE source = ?"
EMPTY_SOURCES = tuple(
    f"DELETE FROM {table} WHERE source IN (SELECT value FROM json_each(?))" for table in ("messages", "log", "bounds")
)
BODIES = "SELECT seq, body FROM messages WHERE source = ?"
SET_LANE = "UPDATE messages SET lane = ? WHERE seq IN (SELECT value FROM json_each(?))"

# -- logs -------------------------------------------------------------------------------------------------------

INSERT_LOG = "INSERT INTO log (source, at, id, body) VALUES"
REPLAY = """
INSERT INTO messages (source, lane, id, expires, at, body)
SELECT ?, 0, id, NULL, at, body FROM log WHERE source = ? AND at >= ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"""
REPLAYED = """
SELECT count(*), max(seq) FROM (
    SELECT seq FROM log WHERE source = ? AND at >= ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?)"""
LAST_ENTRY = "SELECT coalesce(max(seq), 0) FROM log WHERE source = ?"
BOUND = "SELECT length, bytes FROM bounds WHERE source = ?"
OLD_ENTRIES = """
DELETE FROM log WHERE seq IN (
    SELECT seq FROM log WHERE source = ? AND at < ? ORDER BY seq LIMIT ?)"""
FIRST_ENTRIES = "DELETE FROM log WHERE seq IN (SELECT seq FROM log WHERE source = ? ORDER BY seq LIMIT ?)"
ENTRY_SIZES = """
SELECT json_group_array(size) FROM (
    SELECT length(body) AS size FROM log WHERE source = ? ORDER BY seq LIMIT ?)"""
_UNREAD = """
    FROM messages INDEXED BY ready
    WHERE owner IS NULL AND due IS NULL AND source = ? AND deliveries = 0 AND attempt IS NULL"""
UNREAD = f"SELECT count(*), total(length(body)) {_UNREAD}"
OLD_BACKLOG = f"DELETE FROM messages WHERE seq IN (SELECT seq {_UNREAD} AND at < ? ORDER BY lane, at, seq LIMIT ?)"
FIRST_BACKLOG = f"DELETE FROM messages WHERE seq IN (SELECT seq {_UNREAD} ORDER BY lane, at, seq LIMIT ?)"
BACKLOG_SIZES = f"""
SELECT json_group_array(size) FROM (SELECT length(body) AS size {_UNREAD} ORDER BY lane, at, seq LIMIT ?)"""
DUE_ENTRIES = """
SELECT seq, body FROM messages INDEXED BY delayed
WHERE due IS NOT NULL AND source = ? AND due <= ? ORDER BY due, seq LIMIT 1000"""

# -- owners -----------------------------------------------------------------------------------------------------

ADD_OWNER = "INSERT INTO owners (member, until, socket, sources, inbox, signals) VALUES (?, ?, ?, ?, ?, ?)"
SET_ACTIVE = "UPDATE owners SET active = ? WHERE id = ?"
FIRST_CONSUMER = """
SELECT
    (SELECT min(id) FROM owners WHERE active AND EXISTS (SELECT 1 FROM json_each(sources) WHERE value = ?1)) = ?2
    AND NOT EXISTS (SELECT 1 FROM messages INDEXED BY held WHERE owner IS NOT NULL AND source = ?1 AND owner != ?2)"""
RENEW = "UPDATE owners SET until = ? WHERE member = ?"
OWN_IDS = "SELECT json_group_array(id) FROM owners WHERE member = ?"
PEERS = "SELECT id, member, until, socket, sources, inbox, signals FROM owners WHERE member != ?"
DEAD_OWNERS = """
SELECT json_group_array(id) FROM owners
WHERE member != ? AND (until < ? OR until > ? OR member IN (SELECT value FROM json_each(?)))"""
RECLAIMED_SOURCES = """
SELECT json_group_array(source) FROM (
    SELECT DISTINCT source FROM messages INDEXED BY held
    WHERE owner IS NOT NULL AND owner IN (SELECT value FROM json_each(?)))"""
DROP_OWNERS = "DELETE FROM owners WHERE id IN (SELECT value FROM json_each(?))"
DROP_REPLIES = "DELETE FROM replies WHERE owner IN (SELECT value FROM json_each(?))"
ORPHANS = "UPDATE messages SET owner = NULL WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM owners)"

# -- replies, signals, presences --------------------------------------------------------------------------------

INBOXES = "SELECT inbox, id FROM owners WHERE inbox IN (SELECT value FROM json_each(?))"
INSERT_REPLIES = "INSERT INTO replies (owner, body) VALUES"
REPLIES = """
SELECT json_group_array(length(body)), CAST(group_concat(body, '') AS BLOB), max(seq)
FROM (SELECT seq, body FROM replies WHERE owner = ? ORDER BY seq LIMIT 256)"""
TAKE_REPLIES = "DELETE FROM replies WHERE owner = ? AND seq <= ?"
ADD_SIGNAL = "INSERT INTO signals (at, body) VALUES (?, ?)"
OLD_SIGNALS = "DELETE FROM signals WHERE at < ?"
LAST_SIGNAL = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)"
SIGNALS = "SELECT seq, body FROM signals WHERE seq > ? ORDER BY seq LIMIT 1000"
ANNOUNCE = "INSERT OR REPLACE INTO presences (worker, until, body) VALUES (?, ?, ?)"
WITHDRAW = "DELETE FROM presences WHERE worker = ? OR until < ?"
PRESENT = "SELECT body FROM presences WHERE until > ? ORDER BY worker"

# -- records ----------------------------------------------------------------------------------------------------

PUT_RECORDS = "INSERT INTO records (id, name, queue, status, created, expires, labels, body) VALUES"
REPLACE_RECORDS = """ ON CONFLICT (id) DO UPDATE SET name = excluded.name, queue = excluded.queue,
    status = excluded.status, created = excluded.created, expires = excluded.expires, labels = excluded.labels,
    body = excluded.body"""
# What is not set costs no change of its indexes.
REFRESH_RECORDS = """ ON CONFLICT (id) DO UPDATE SET
    status = excluded.status, expires = excluded.expires, labels = excluded.labels, body = excluded.body"""
GET_RECORDS = """
SELECT json_group_array(length(body)), CAST(group_concat(body, '') AS BLOB)
FROM records WHERE id IN (SELECT value FROM json_each(?)) AND expires > ?"""
DELETE_RECORDS = "DELETE FROM records WHERE id IN (SELECT value FROM json_each(?))"
DROP_OLD_RECORDS = "DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE expires <= ? LIMIT ?)"
RECORDS_SPAN = "SELECT coalesce(max(rowid) - min(rowid) + 1, 0) FROM records"
COUNT_RECORDS = "SELECT count(*) FROM records"
DROP_SURPLUS_RECORDS = """
DELETE FROM records WHERE rowid IN (
    SELECT rowid FROM records WHERE status IN ('SUCCESS', 'FAILURE', 'CANCELLED', 'EXPIRED')
    ORDER BY created LIMIT ?)"""

MARKS_OVER = "DELETE FROM marks WHERE (kind, name) IN (SELECT kind, name FROM marks WHERE until <= ? LIMIT 100)"
LEASE = """
INSERT INTO marks (kind, name, value, until) VALUES ('lease', ?1, ?2, ?3)
ON CONFLICT DO UPDATE SET value = ?2, until = ?3 WHERE value = ?2 OR until <= ?4"""
ADD_ONCE = """
INSERT INTO marks (kind, name, value, until) VALUES ('once', ?1, 1, ?2)
ON CONFLICT DO UPDATE SET until = ?2 WHERE until <= ?3"""
COUNT = """
INSERT INTO marks (kind, name, value, until) VALUES ('counter', ?1, ?2, ?3)
ON CONFLICT DO UPDATE SET value = CASE WHEN until <= ?4 THEN 0 ELSE value END + ?2, until = ?3 RETURNING value"""
