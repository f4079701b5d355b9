-- The words of papers, for searching; signs divide words. The server keeps the column.

ALTER TABLE papers ADD COLUMN words tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, translate(
    title || ' ' || left(abstract, 100000) || ' ' || left(authors, 100000) || ' ' || coalesce(arxiv_id, '') || ' '
    || coalesce(doi, ''), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                '))) STORED;

CREATE INDEX papers_by_words ON papers USING gin (words);
