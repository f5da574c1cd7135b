-- The channels. A notification is latency, never correctness: behind every wait there is a poll.

-- name: listen_queue
LISTEN "durable:queue";

-- name: listen_cancel
LISTEN "durable:cancel";

-- name: listen_command
LISTEN "durable:command";

-- name: listen_sleep
LISTEN "durable:sleep";

-- name: listen_schedule
LISTEN "durable:schedule";
-- name: listen_timeout
LISTEN "durable:timeout";

-- name: listen_done
LISTEN "durable:done";

-- name: listen_moves
LISTEN "durable:moves";

-- name: lock_subscriptions
-- Held while somebody comes or goes, so that the last one's going does not undo another's coming.
SELECT pg_advisory_xact_lock(hashtext('durable:subscribed'));

-- name: open_moves
-- From here on every move is notified. A function, for it is done with the schema owner's rights.
SELECT durable.open_moves();

-- name: keep_subscription
INSERT INTO durable.subscriptions (id, alive_until)
VALUES (%(id)s::uuid, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until;

-- name: end_subscription
-- Those that were never ended, because their process was killed, go with it.
DELETE FROM durable.subscriptions WHERE id = %(id)s::uuid OR alive_until < clock_timestamp();

-- name: subscriptions_left
SELECT count(*) AS count FROM durable.subscriptions;

-- name: close_moves
SELECT durable.close_moves();

-- name: listen_nodes
LISTEN "durable:nodes";
