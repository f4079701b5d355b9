-- Mails that rest, by state: what status, metrics and the operator's page count.

CREATE INDEX outbox_at_rest ON outbox (state) WHERE state IN ('sent', 'bounced', 'failed', 'cancelled', 'held');
