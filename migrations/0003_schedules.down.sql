-- The index first, for its condition needs the column.
DROP INDEX durable.schedule_slots_open;
ALTER TABLE durable.schedule_slots DROP COLUMN outcome;
