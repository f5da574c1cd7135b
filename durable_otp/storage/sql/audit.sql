-- Who did what on the dashboard's pages.

-- name: dashboard_audit
-- Somebody did something on a page, or tried to.
INSERT INTO durable.dashboard_audit (id, at, actor, action, target, detail, outcome)
VALUES (%(id)s::uuid, durable.now(), %(actor)s, %(action)s, %(target)s, %(detail)s::jsonb,
        %(outcome)s)
ON CONFLICT (id) DO NOTHING;

-- name: dashboard_audited
SELECT id::text, at, actor, action, target, detail, outcome
FROM durable.dashboard_audit
WHERE (%(after)s::uuid IS NULL OR (at, id) < (
    SELECT a.at, a.id FROM durable.dashboard_audit a WHERE a.id = %(after)s::uuid))
ORDER BY at DESC, id DESC
LIMIT %(limit)s;
