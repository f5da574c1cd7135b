-- What the dashboard needs: who did what on its pages, and word of a tree that has changed.

CREATE TABLE durable.dashboard_audit (
    id      uuid PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    target  text NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}',
    outcome text NOT NULL
);
CREATE INDEX dashboard_audit_newest ON durable.dashboard_audit (at DESC, id DESC);

-- Told when a node comes, goes or publishes another tree: with "usage" when nothing but what its
-- processes use has changed, which only who looks at that wants to know. A beat alone tells nobody.
CREATE FUNCTION durable.tell_nodes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    measured text := '"(cpu_percent|rss_bytes)": [0-9.e+null-]+';
    only_measured boolean := false;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        only_measured := coalesce(regexp_replace(NEW.tree::text, measured, '', 'g'), '')
            = coalesce(regexp_replace(OLD.tree::text, measured, '', 'g'), '');
    END IF;
    PERFORM pg_notify('durable:nodes', CASE WHEN only_measured THEN 'usage' ELSE '' END);
    RETURN NULL;
END
$$;
CREATE TRIGGER nodes_changed AFTER UPDATE ON durable.nodes
    FOR EACH ROW WHEN (OLD.tree IS DISTINCT FROM NEW.tree) EXECUTE FUNCTION durable.tell_nodes();
-- By row: an INSERT that becomes an UPDATE, as each beat does, fires a statement's trigger as well.
CREATE TRIGGER nodes_came_or_went AFTER INSERT OR DELETE ON durable.nodes
    FOR EACH ROW EXECUTE FUNCTION durable.tell_nodes();
