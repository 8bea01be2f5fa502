"""The tables of ``runs.sqlite``, as docs/ablations.md tells people who query it."""

from __future__ import annotations

VERSION = 1
"""Of the schema, kept as SQLite's ``user_version``."""

TABLES = """
CREATE TABLE about (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE arms (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE,
    changes TEXT NOT NULL,
    config TEXT NOT NULL,
    digests TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE items (
    id TEXT PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE,
    question TEXT NOT NULL,
    reference TEXT NOT NULL,
    task TEXT,
    cluster TEXT
) WITHOUT ROWID;

CREATE TABLE images (
    item TEXT NOT NULL REFERENCES items (id),
    position INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (item, position)
);

CREATE TABLE score_kinds (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    metric TEXT NOT NULL,
    measures TEXT NOT NULL,
    lower_is_better INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    began TEXT NOT NULL,
    engine TEXT NOT NULL,
    versions TEXT NOT NULL,
    machine TEXT NOT NULL
);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    arm TEXT NOT NULL REFERENCES arms (name),
    item TEXT NOT NULL REFERENCES items (id),
    seed INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    run_seed INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions (id),
    copy_of INTEGER REFERENCES runs (id),
    text TEXT,
    tokens TEXT NOT NULL,
    finish_reason TEXT,
    error TEXT,
    prompt_tokens INTEGER NOT NULL,
    image_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    load REAL NOT NULL,
    vision REAL NOT NULL,
    prefill REAL NOT NULL,
    decode REAL NOT NULL,
    wall REAL NOT NULL,
    UNIQUE (item, arm, seed, repeat)
);

CREATE TABLE scores (
    run INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL REFERENCES score_kinds (name),
    value REAL NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
"""
