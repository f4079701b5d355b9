-- Subscribers are counted by status from an index. Of lower(status), so that no other question takes it for its own: who is
-- due is found by the index of instants.

CREATE INDEX subscribers_by_status ON subscribers (lower(status));
