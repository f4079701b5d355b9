-- Times are whole seconds since 1970 (UTC), dates 'YYYY-MM-DD', packed columns JSON text.

CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- Drops and the catalogue ------------------------------------------------------------------------------------------

CREATE TABLE drops (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    format TEXT,
    sha256 TEXT,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,            -- reading, done, rejected, held, withdrawn, library
    backfill INTEGER NOT NULL DEFAULT 0,
    new INTEGER NOT NULL DEFAULT 0,
    known INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL DEFAULT 0,
    rejected TEXT NOT NULL DEFAULT '[]',  -- [{"line" or "entry", "reason"}]
    held TEXT                       -- why it waits
);

CREATE TABLE papers (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    abstract TEXT NOT NULL,
    authors TEXT NOT NULL,          -- JSON list
    author_count INTEGER,
    published TEXT,
    categories TEXT NOT NULL,       -- JSON list
    url TEXT,
    code_url TEXT,
    arxiv_id TEXT,
    arxiv_version INTEGER,
    doi TEXT,
    upvotes INTEGER,
    comments INTEGER,
    first_seen INTEGER,             -- null: known only from a library
    mailable INTEGER NOT NULL,      -- 0: from a backfill
    sightings INTEGER NOT NULL
);
CREATE INDEX papers_by_first_seen ON papers (first_seen);

CREATE TABLE aliases (              -- 'doi:...', 'arxiv:...', 'title:...'; one title may name several papers
    alias TEXT NOT NULL,
    paper_id INTEGER NOT NULL,
    PRIMARY KEY (alias, paper_id)
) WITHOUT ROWID;
CREATE INDEX aliases_by_paper ON aliases (paper_id);

CREATE TABLE merges (old_id INTEGER PRIMARY KEY, paper_id INTEGER NOT NULL);  -- a merged paper's id lives on
CREATE INDEX merges_by_paper ON merges (paper_id);

CREATE TABLE versions (             -- all different things ever said of a paper, counts aside
    paper_id INTEGER NOT NULL,
    version INTEGER NOT NULL,       -- a hash of the record
    record TEXT NOT NULL,           -- JSON: the fields that differ from the paper's; '{}' mostly
    PRIMARY KEY (paper_id, version)
) WITHOUT ROWID;

CREATE TABLE sightings (            -- which drop said what of which paper
    drop_id INTEGER NOT NULL,
    paper_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    upvotes INTEGER,
    comments INTEGER,
    PRIMARY KEY (drop_id, paper_id, version)
) WITHOUT ROWID;
CREATE INDEX sightings_by_paper ON sightings (paper_id);

CREATE TABLE vectors (              -- float16, one per (model, paper)
    model TEXT NOT NULL,
    paper_id INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (model, paper_id)
) WITHOUT ROWID;

CREATE TABLE models (name TEXT PRIMARY KEY, fitted_at INTEGER NOT NULL, data BLOB NOT NULL);

-- Subscribers ------------------------------------------------------------------------------------------------------

CREATE TABLE subscribers (
    id INTEGER PRIMARY KEY,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE, -- without case
    name TEXT,
    status TEXT NOT NULL,
    timezone TEXT NOT NULL,
    send_at TEXT NOT NULL,
    days TEXT NOT NULL,             -- 'mon,tue'
    paused_until TEXT,
    max_papers INTEGER NOT NULL,
    min_score REAL NOT NULL,
    trending_share REAL NOT NULL,
    topics TEXT NOT NULL,           -- JSON list, CONTRACT.md's form
    created_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    next_due_at INTEGER             -- null: nothing is due until something changes
);
CREATE INDEX subscribers_due ON subscribers (next_due_at) WHERE status = 'confirmed' AND next_due_at IS NOT NULL;

CREATE TABLE consents (subscriber_id INTEGER NOT NULL, at INTEGER NOT NULL, how TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX consents_by_subscriber ON consents (subscriber_id);

CREATE TABLE votes (
    subscriber_id INTEGER NOT NULL,
    paper_id INTEGER NOT NULL,
    opinion TEXT NOT NULL,          -- more, less, save, library
    at INTEGER NOT NULL,
    PRIMARY KEY (subscriber_id, paper_id, opinion)
) WITHOUT ROWID;
CREATE INDEX votes_by_paper ON votes (paper_id);

CREATE TABLE suppressions (
    email_key TEXT PRIMARY KEY,     -- the address without case, or a salted hash of a deleted one
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- The ledger -------------------------------------------------------------------------------------------------------

CREATE TABLE slots (                -- how each due slot ended: one row per (subscriber, slot), for ever
    subscriber_id INTEGER NOT NULL,
    slot TEXT NOT NULL,
    outcome TEXT NOT NULL,          -- composed, empty, late, paused, skipped
    at INTEGER NOT NULL,
    cause TEXT,
    best_score REAL,
    PRIMARY KEY (subscriber_id, slot)
) WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subscriber_id INTEGER,          -- null: to the operator
    slot TEXT,                      -- of digests only
    state TEXT NOT NULL,
    message_id TEXT NOT NULL,
    composed_at INTEGER NOT NULL,   -- the mail's Date
    due_at INTEGER NOT NULL,
    papers TEXT,                    -- of digests: JSON, as storage/outbox.py packs it
    payload TEXT,                   -- of the other kinds: JSON object for the template
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    owner TEXT,                     -- who holds it (owner.py); null: nobody
    lease_until INTEGER,            -- real time, whatever --now says
    reply TEXT,                     -- what the server said last
    finished_at INTEGER
);
CREATE UNIQUE INDEX outbox_by_slot ON outbox (subscriber_id, slot) WHERE slot IS NOT NULL;
CREATE INDEX outbox_others ON outbox (subscriber_id) WHERE slot IS NULL;  -- small: sign-ups, welcomes, goodbyes
CREATE INDEX outbox_waiting ON outbox (due_at, id, next_attempt_at)
    WHERE state IN ('queued', 'deferred', 'in_doubt') AND owner IS NULL;
CREATE INDEX outbox_claimed ON outbox (owner) WHERE owner IS NOT NULL;
CREATE INDEX outbox_cancelled ON outbox (finished_at) WHERE state = 'cancelled';

CREATE TABLE handovers (at INTEGER PRIMARY KEY, count INTEGER NOT NULL);  -- messages by second, for the daily limit

CREATE TABLE bounces (              -- evidence, shown by `subscribers show`
    subscriber_id INTEGER NOT NULL,
    slot TEXT,
    at INTEGER NOT NULL,
    class TEXT NOT NULL,
    status TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX bounces_by_subscriber ON bounces (subscriber_id, at);

-- Operation --------------------------------------------------------------------------------------------------------

CREATE TABLE runs (id INTEGER PRIMARY KEY, started_at INTEGER NOT NULL, finished_at INTEGER, report TEXT);
CREATE TABLE alarms (kind TEXT PRIMARY KEY, since INTEGER NOT NULL, detail TEXT NOT NULL, told_at INTEGER);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);  -- single values: breaker, source marks, salts
