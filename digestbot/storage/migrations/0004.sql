-- Mails that came back and were acted on: whoever reads a Maildir again and again acts on each of them once.

CREATE TABLE mails_acted_on (
    digest TEXT PRIMARY KEY,  -- SHA-256 of the mail's beginning
    at INTEGER NOT NULL
);
