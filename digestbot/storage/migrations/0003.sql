-- Who wants no note after a quiet week.

ALTER TABLE subscribers ADD COLUMN quiet_week INTEGER NOT NULL DEFAULT 1;
