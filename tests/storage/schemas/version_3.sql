-- A database of version 3 with one key, as `sqlite3 camomile.db .dump` would tell it; written once, never changed.
CREATE TABLE keys (
        key BLOB PRIMARY KEY NOT NULL,
        size INTEGER,                     -- of the value, NULL without one
        registers BLOB NOT NULL,          -- packed, see rows.py
        classic_until INTEGER NOT NULL,   -- times in ms, 0 for never
        published INTEGER NOT NULL,
        due INTEGER NOT NULL,
        renew INTEGER NOT NULL,
        evictable INTEGER NOT NULL,
        brought_by BLOB NOT NULL,         -- 8 bytes for each register, or none at all, see rows.py
        value BLOB                        -- a short one; a longer one is in contents
    ) WITHOUT ROWID;
CREATE INDEX keys_due ON keys (due, key) WHERE due > 0;
CREATE INDEX keys_renew ON keys (renew, key) WHERE renew > 0;
CREATE INDEX keys_evictable ON keys (due = 0, due, key) WHERE evictable = 1;
CREATE TABLE contents (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL);
CREATE TABLE counters (id INTEGER PRIMARY KEY CHECK (id = 1), keys INTEGER, stored_values INTEGER, bytes INTEGER);
INSERT INTO counters VALUES (1, 0, 0, 0);
CREATE TABLE accounts (account BLOB PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX accounts_largest ON accounts (substr(account, 1, 1), bytes);
CREATE TABLE contacts (position INTEGER PRIMARY KEY, id BLOB NOT NULL, endpoint BLOB NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 1130450287;
PRAGMA user_version = 3;
INSERT INTO keys VALUES (x'0000000000000000000000000000000000000000000000000000000000000001', 5, x'', 1700000000000, 0, 7, 0, 0, x'', x'68656c6c6f');
UPDATE counters SET keys = 1, stored_values = 1, bytes = 261;
INSERT INTO notes VALUES ('uptime', 42);
