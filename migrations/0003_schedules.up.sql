-- The place of what schedules need; nothing yet.
SELECT 1;
