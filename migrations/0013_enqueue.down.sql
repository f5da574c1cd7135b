DROP FUNCTION durable.enqueue(text, jsonb, text, integer, timestamptz, text);
DROP FUNCTION durable.new_id();
DROP FUNCTION durable.check_value(text, jsonb);
DROP FUNCTION durable.check_name(text, text, integer);
