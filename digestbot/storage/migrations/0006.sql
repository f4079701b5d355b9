-- Mails that ended badly, or are held: what status, metrics and the operator's page count.

CREATE INDEX outbox_unsent ON outbox (state) WHERE state IN ('bounced', 'failed', 'cancelled', 'held');
