-- The words of papers, for searching. Triggers keep them, so that no store has to think of it.

CREATE VIRTUAL TABLE papers_words USING fts5 (
    title, abstract, authors, arxiv_id, doi, content = 'papers', content_rowid = 'id'
);

CREATE TRIGGER papers_words_of_new AFTER INSERT ON papers BEGIN
    INSERT INTO papers_words (rowid, title, abstract, authors, arxiv_id, doi)
    VALUES (new.id, new.title, new.abstract, new.authors, new.arxiv_id, new.doi);
END;

CREATE TRIGGER papers_words_of_gone AFTER DELETE ON papers BEGIN
    INSERT INTO papers_words (papers_words, rowid, title, abstract, authors, arxiv_id, doi)
    VALUES ('delete', old.id, old.title, old.abstract, old.authors, old.arxiv_id, old.doi);
END;

CREATE TRIGGER papers_words_of_changed AFTER UPDATE OF title, abstract, authors, arxiv_id, doi ON papers
WHEN old.title <> new.title OR old.abstract <> new.abstract OR old.authors <> new.authors
    OR old.arxiv_id IS NOT new.arxiv_id OR old.doi IS NOT new.doi
BEGIN
    INSERT INTO papers_words (papers_words, rowid, title, abstract, authors, arxiv_id, doi)
    VALUES ('delete', old.id, old.title, old.abstract, old.authors, old.arxiv_id, old.doi);
    INSERT INTO papers_words (rowid, title, abstract, authors, arxiv_id, doi)
    VALUES (new.id, new.title, new.abstract, new.authors, new.arxiv_id, new.doi);
END;

INSERT INTO papers_words (papers_words) VALUES ('rebuild');
