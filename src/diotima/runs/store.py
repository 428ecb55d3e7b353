"""A run's one SQLite file: its schema, and how it is opened.

WAL with synchronous=FULL: what was committed survives a crash and a power cut, and readers never wait for the writer.
Everything about opening stands here, so that a later table (the ledger of calls to endpoints) is one more statement in
the schema and one more version.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw

from diotima.errors import RunError

FILE = "run.db"
APPLICATION_ID = 0x44494F54  # "DIOT"
SCHEMA_VERSION = 1

SCHEMA = """
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


def open_for_writing(folder: Path) -> apsw.Connection:
    """Open or make the run's database. The caller holds the folder's writer lock. Raises RunError."""
    with explained(folder):
        db = apsw.Connection(str(folder / FILE))
        try:
            _configure(db)
            _refuse_newer(folder, db)
            if db.pragma("journal_mode", "wal") != "wal":
                raise RunError(f"{folder}: its file system does not support SQLite's WAL mode; use a local disk")
            db.pragma("synchronous", "FULL")
            if db.pragma("user_version") == 0:
                with db:
                    db.execute(SCHEMA)
                    db.pragma("application_id", APPLICATION_ID)
                    db.pragma("user_version", SCHEMA_VERSION)
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


def _refuse_newer(folder: Path, db: apsw.Connection) -> None:
    application, version = db.pragma("application_id"), db.pragma("user_version")
    if application not in (0, APPLICATION_ID):
        raise RunError(f"{folder / FILE} belongs to another program; choose another folder")
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{folder} was written by a newer diotima (schema {version}, this one knows {SCHEMA_VERSION}): "
            "update with pip install --upgrade diotima"
        )
