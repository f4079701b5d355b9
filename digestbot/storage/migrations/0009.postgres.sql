-- A digest's papers are a list of ids; why they were chosen lies beside it in half the bytes, and leaves by itself after a
-- season. How it is written stands in storage/packing.py; chr(32) is 0.

ALTER TABLE outbox ADD COLUMN why TEXT;
ALTER TABLE outbox ADD COLUMN more BIGINT;

UPDATE outbox SET why = (
    SELECT chr(32 + jsonb_array_length(packed -> 'papers')) || chr(32 + jsonb_array_length(packed -> 'why'))
        || chr(32 + jsonb_array_length(packed -> 'words'))
        || (SELECT string_agg(chr(32 + (value ->> 1)::integer), '' ORDER BY place)
            FROM jsonb_array_elements(packed -> 'papers') WITH ORDINALITY AS shown (value, place))
        || (SELECT string_agg(chr(32 + (value ->> 2)::integer), '' ORDER BY place)
            FROM jsonb_array_elements(packed -> 'papers') WITH ORDINALITY AS shown (value, place))
        || (SELECT string_agg(chr(32 + jsonb_array_length(value)) || (
                SELECT string_agg(chr(32 + number::integer + CASE at WHEN 2 THEN 1 ELSE 0 END), '' ORDER BY at)
                FROM jsonb_array_elements_text(value) WITH ORDINALITY AS numbers (number, at)
            ), '' ORDER BY place) FROM jsonb_array_elements(packed -> 'why') WITH ORDINALITY AS one (value, place))
        || coalesce((SELECT string_agg(chr(32 + length(word)), '' ORDER BY place)
            FROM jsonb_array_elements_text(packed -> 'words') WITH ORDINALITY AS spelt (word, place)), '')
        || coalesce((SELECT string_agg(word, '' ORDER BY place)
            FROM jsonb_array_elements_text(packed -> 'words') WITH ORDINALITY AS spelt (word, place)), '')
    FROM (SELECT papers::jsonb AS packed) AS of_one)
    WHERE jsonb_array_length(papers::jsonb -> 'papers') > 0 AND jsonb_array_length(papers::jsonb -> 'why') > 0;

UPDATE outbox SET more = (papers::jsonb ->> 'more')::bigint,
    papers = (SELECT '[' || coalesce(string_agg(value ->> 0, ',' ORDER BY place), '') || ']'
        FROM jsonb_array_elements(papers::jsonb -> 'papers') WITH ORDINALITY AS shown (value, place))
    WHERE papers IS NOT NULL;
