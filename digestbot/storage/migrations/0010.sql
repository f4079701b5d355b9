-- A library is no drop: that readers have a paper in theirs is nobody else's business, and no sign of a trend.

UPDATE papers SET sightings = (
    SELECT COUNT(DISTINCT drop_id) FROM sightings JOIN drops ON drops.id = drop_id
    WHERE paper_id = papers.id AND state <> 'library'
) WHERE id IN (SELECT paper_id FROM sightings JOIN drops ON drops.id = drop_id WHERE state = 'library');
