-- The place of what waits need; nothing yet.
SELECT 1;
