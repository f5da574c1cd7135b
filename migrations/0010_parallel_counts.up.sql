-- A function says itself whether several processes may call it; one that does not say keeps every
-- statement in which it occurs to one process, counts of millions of rows too.
ALTER FUNCTION durable.now() PARALLEL SAFE;
