-- What lets a role that may not create anything do all the work: see grants.sql.

-- The first subscriber makes the table that turns the notification of moves on (0007), and the last
-- one drops it. Both are done with the rights of the schema's owner, by whoever is granted to.
CREATE FUNCTION durable.open_moves() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE TABLE IF NOT EXISTS durable.subscribed ();
END
$$;
CREATE FUNCTION durable.close_moves() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DROP TABLE IF EXISTS durable.subscribed;
END
$$;
REVOKE ALL ON FUNCTION durable.open_moves(), durable.close_moves() FROM PUBLIC;
