DROP FUNCTION durable.open_moves();
DROP FUNCTION durable.close_moves();
