-- The index of words merges its parts when there are 64 of a size, not with every drop: else a drop costs the more, the
-- more there were before it. A search looks into twice as many parts, for a millisecond.

INSERT INTO papers_words (papers_words, rank) VALUES ('automerge', 0);
INSERT INTO papers_words (papers_words, rank) VALUES ('crisismerge', 64);
