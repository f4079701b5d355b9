-- A digest's papers are a list of ids; why they were chosen lies beside it in half the bytes, and leaves by itself after a
-- season. How it is written stands in storage/packing.py; char(32) is 0.

ALTER TABLE outbox ADD COLUMN why TEXT;
ALTER TABLE outbox ADD COLUMN more INTEGER;

UPDATE outbox SET why = char(32 + json_array_length(papers, '$.papers')) || char(32 + json_array_length(papers, '$.why'))
    || char(32 + json_array_length(papers, '$.words'))
    || (SELECT group_concat(char(32 + json_extract(value, '$[1]')), '') FROM json_each(outbox.papers, '$.papers'))
    || (SELECT group_concat(char(32 + json_extract(value, '$[2]')), '') FROM json_each(outbox.papers, '$.papers'))
    || (SELECT group_concat(char(32 + json_array_length(one.value)) || (
            SELECT group_concat(char(32 + value + (key = 1)), '') FROM json_each(one.value)
        ), '') FROM json_each(outbox.papers, '$.why') AS one)
    || coalesce((SELECT group_concat(char(32 + length(value)), '') FROM json_each(outbox.papers, '$.words')), '')
    || coalesce((SELECT group_concat(value, '') FROM json_each(outbox.papers, '$.words')), '')
    WHERE json_array_length(papers, '$.papers') > 0 AND json_array_length(papers, '$.why') > 0;

UPDATE outbox SET more = json_extract(papers, '$.more'),
    papers = (SELECT json_group_array(json_extract(value, '$[0]')) FROM json_each(outbox.papers, '$.papers'))
    WHERE papers IS NOT NULL;
