-- Embeddings of what topics say, by a hash of it; so a topic that somebody still has is embedded once.

CREATE TABLE text_vectors (
    model TEXT NOT NULL,
    digest TEXT NOT NULL,     -- SHA-256 of the text
    used_at INTEGER NOT NULL, -- to a week
    vector BLOB NOT NULL,     -- float16
    PRIMARY KEY (model, digest)
) WITHOUT ROWID;
