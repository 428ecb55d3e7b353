"""A run's one SQLite file: its schema, and how it is opened.

WAL with synchronous=FULL: what was committed survives a crash and a power cut, and readers never wait for the writer.
WAL needs memory that all who have the file open share, which file systems over a network do not give: there a run is
refused before anything of it is made. A file of an older schema is brought up to date when it is opened for writing.
"""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw

from diotima.errors import RunError

FILE = "run.db"
APPLICATION_ID = 0x44494F54  # "DIOT"
WAL_BYTES = 64 << 20  # to which a write-ahead log that grew behind a long reader is cut back

_LESSONS = """
CREATE TABLE problems (
    id INTEGER PRIMARY KEY,
    problem_id TEXT NOT NULL,
    hash TEXT NOT NULL,           -- SHA-256 of body
    body TEXT NOT NULL,           -- JSON, with steps and sibling
    UNIQUE (problem_id, hash)
) STRICT;
CREATE TABLE dialogues (
    id INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    problem_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    problem INTEGER NOT NULL REFERENCES problems,
    stop TEXT NOT NULL,
    UNIQUE (label, problem_id, seed)
) STRICT;
CREATE TABLE turns (
    dialogue INTEGER NOT NULL REFERENCES dialogues ON DELETE CASCADE,
    position INTEGER NOT NULL,
    speaker TEXT NOT NULL,
    text TEXT NOT NULL,
    thought TEXT NOT NULL,
    flags INTEGER NOT NULL,       -- 1 ends, 2 cut, 4 malformed
    shared INTEGER,               -- leading prompt ids that the speaker's previous context holds already
    prompt_ids BLOB,              -- the others, little-endian 32 bit
    reply_ids BLOB,               -- little-endian 32 bit
    logprobs BLOB,                -- little-endian doubles
    PRIMARY KEY (dialogue, position)
) STRICT;
CREATE TABLE scores (
    dialogue INTEGER NOT NULL REFERENCES dialogues ON DELETE CASCADE,
    name TEXT NOT NULL,
    value REAL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (dialogue, name),
    CHECK ((value IS NULL) = (state <> 'valid'))
) STRICT, WITHOUT ROWID;
CREATE TABLE metrics (
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,                   -- NULL is not-a-number
    PRIMARY KEY (name, step)
) STRICT, WITHOUT ROWID;
"""

# Money in millionths of a dollar, times in seconds since 1970. The raw answer comes last: a look at the books then does
# not read past it.
_LEDGER = """
CREATE TABLE messages (            -- every chat is a chain, so each text stands here once
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,     -- SHA-256 over the hash of the message before, role and body: see ledger.chat_hashes
    before INTEGER REFERENCES messages,   -- NULL: the first of its chat
    role TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,             -- SHA-256 of all that decides the answer
    attempt INTEGER NOT NULL,      -- from 1
    model TEXT NOT NULL,           -- backend/NAME without URL
    served TEXT NOT NULL,          -- fingerprint of what the server serves under that name
    sample INTEGER,                -- which draw: the sampling seed; NULL for one that is never reused
    chat INTEGER NOT NULL REFERENCES messages,   -- the chat's last message
    parameters TEXT NOT NULL,      -- canonical JSON of the request without its messages
    state TEXT NOT NULL,           -- sent, answered, failed, unknown or reused: see ledger.py
    reserved_cost INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    sent REAL NOT NULL,
    ended REAL,
    status INTEGER,                -- of HTTP; NULL if there was no response
    provider_id TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER,
    cached_tokens INTEGER,
    reply_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost INTEGER,                  -- NULL while sent or unknown
    reason TEXT NOT NULL DEFAULT '',   -- why it failed
    answer BLOB,                   -- the raw body, as it came
    UNIQUE (key, attempt)
) STRICT;
CREATE INDEX calls_without_answer ON calls (state) WHERE state IN ('sent', 'unknown');
CREATE INDEX calls_by_sample ON calls (sample) WHERE sample IS NOT NULL;
"""

_JUDGEMENTS = """
CREATE TABLE judgements (
    dialogue INTEGER NOT NULL REFERENCES dialogues ON DELETE CASCADE,
    rubric TEXT NOT NULL,
    rubric_fingerprint TEXT NOT NULL,
    judge TEXT NOT NULL,           -- without its address
    position INTEGER NOT NULL,     -- of the turn, -1: the whole dialogue
    sample INTEGER NOT NULL,
    against TEXT NOT NULL,         -- in a comparison the label of the other dialogue, else ''
    placed TEXT NOT NULL,          -- in a comparison which place this dialogue had: first or second, else ''
    state TEXT NOT NULL,
    labels TEXT NOT NULL,          -- JSON: criterion to what the judge said of it; {} unless valid
    reason TEXT NOT NULL,
    asks INTEGER NOT NULL,
    PRIMARY KEY (dialogue, rubric, rubric_fingerprint, judge, position, sample, against, placed),
    CHECK ((labels = '{}') = (state <> 'valid'))
) STRICT, WITHOUT ROWID;
"""

_STEPS = (_LESSONS, _LEDGER, _JUDGEMENTS)  # from each schema to the next
SCHEMA_VERSION = len(_STEPS)


def open_for_writing(folder: Path) -> apsw.Connection:
    """Open or make the run's database, in the newest schema. Raises RunError.

    The caller holds the folder's writer lock. Calls that were on their way when their process died become ``unknown``.
    """
    with explained(folder):
        if not (folder / FILE).exists():
            _refuse_without_wal(folder)
        db = apsw.Connection(str(folder / FILE))
        try:
            _configure(db)
            _refuse_newer(folder, db)
            if db.pragma("journal_mode", "wal") != "wal":
                raise _no_wal(folder)
            db.pragma("synchronous", "FULL")
            db.pragma("journal_size_limit", WAL_BYTES)
            version = db.pragma("user_version")
            with db:
                if version < SCHEMA_VERSION:
                    for step in _STEPS[version:]:
                        db.execute(step)
                    db.pragma("application_id", APPLICATION_ID)
                    db.pragma("user_version", SCHEMA_VERSION)
                db.execute("UPDATE calls SET state = 'unknown' WHERE state IN ('sent', 'unknown') AND state = 'sent'")
        except BaseException:
            db.close()
            raise
        return db


def open_for_reading(folder: Path) -> apsw.Connection:
    """Open the run's database without any right to write, also while another process writes it. Raises RunError."""
    path = folder / FILE
    if not path.is_file():
        raise RunError(f"{folder} is not a run: there is no {FILE} in it")
    # SQLite needs a writable folder to read a WAL database, unless it may assume that nobody writes.
    alone = not os.access(folder, os.W_OK) and not path.with_name(FILE + "-wal").exists()
    uri = f"file:{quote(str(path.resolve()))}?{'immutable=1' if alone else 'mode=ro'}"
    with explained(folder):
        db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            _configure(db)
            _refuse_newer(folder, db)
        except BaseException:
            db.close()
            raise
        return db


def is_blank(folder: Path, others: Collection[str] = ()) -> bool:
    """Whether a run was begun here and nothing came of it: no row, and no file but its own and ``others``."""
    own = {FILE, f"{FILE}-wal", f"{FILE}-shm", *others}
    if not (folder / FILE).is_file() or {path.name for path in folder.iterdir()} - own:
        return False
    with closing(open_for_reading(folder)) as db:
        filled = (name for name in ("dialogues", "metrics", "calls") if db.table_exists(None, name))
        return not any(db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in filled)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system say about a folder into one sentence of RunError."""
    try:
        yield
    except apsw.FullError:
        raise RunError(f"{folder}: the disk is full; all that was stored before is kept, the rest was not") from None
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, PermissionError):
        raise RunError(f"{folder}: cannot be written or opened; check its permissions, or choose another") from None
    except (apsw.NotADBError, apsw.CorruptError):
        raise RunError(f"{folder / FILE} is damaged or not a run's database") from None
    except (apsw.IOError, apsw.BusyError, apsw.SchemaChangeError, OSError) as error:
        raise RunError(
            f"{folder}: {getattr(error, 'strerror', None) or error}; what was stored before is kept"
        ) from None


@contextmanager
def all_or_nothing(db: apsw.Connection) -> Iterator[None]:
    """Inside an open transaction: undo this block's statements, and only these, if it does not come to its end."""
    db.execute("SAVEPOINT block")
    try:
        yield
    except BaseException:
        # On a full disk SQLite may have rolled the whole transaction back itself.
        if db.in_transaction:
            db.execute("ROLLBACK TO block; RELEASE block")
        raise
    db.execute("RELEASE block")


def _configure(db: apsw.Connection) -> None:
    db.set_busy_timeout(10_000)
    db.pragma("foreign_keys", True)
    db.pragma("trusted_schema", False)


def _refuse_without_wal(folder: Path) -> None:
    """Try with a database of no worth what the run will need: two connections that share a write-ahead log."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=folder) as name:
        writer = reader = None
        try:
            writer = apsw.Connection(str(Path(name) / FILE))
            works = writer.pragma("journal_mode", "wal") == "wal"
            if works:
                writer.execute("CREATE TABLE probe (value); INSERT INTO probe VALUES (1)")
                reader = apsw.Connection(str(Path(name) / FILE), flags=apsw.SQLITE_OPEN_READONLY)
                works = list(reader.execute("SELECT value FROM probe")) == [(1,)]
        except (apsw.CantOpenError, apsw.IOError, apsw.BusyError, apsw.LockedError, apsw.ProtocolError):
            works = False
        finally:
            for db in (reader, writer):
                if db is not None:
                    db.close()
    if not works:
        raise _no_wal(folder)


def _no_wal(folder: Path) -> RunError:
    return RunError(f"{folder}: its file system does not support SQLite's WAL mode; use a local disk")


def _refuse_newer(folder: Path, db: apsw.Connection) -> None:
    application, version = db.pragma("application_id"), db.pragma("user_version")
    if application not in (0, APPLICATION_ID):
        raise RunError(f"{folder / FILE} belongs to another program; choose another folder")
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{folder} was written by a newer diotima (schema {version}, this one knows {SCHEMA_VERSION}): "
            "update with pip install --upgrade diotima"
        )
