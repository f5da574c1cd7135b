-- The place of what families need; nothing yet.
SELECT 1;
