-- What operators order single processes to do. A node's registrar takes its commands, and its root
-- carries out each only once, whatever is asked how often; so the statements may be repeated.

-- name: place_command
-- Only for a node that lives: nobody would answer.
INSERT INTO durable.commands
    (id, node_id, verb, target, pid, process_started_at, requested_at, deadline_at)
SELECT %(id)s::uuid, id, %(verb)s, %(target)s, %(pid)s::integer, %(started_at)s::timestamptz,
       durable.now(), durable.now() + make_interval(secs => %(seconds)s)
FROM durable.nodes
WHERE id = %(node_id)s AND seen_at > durable.now() - make_interval(secs => node_timeout)
ON CONFLICT (id) DO UPDATE SET node_id = excluded.node_id
RETURNING id::text, pg_notify('durable:command', node_id);

-- name: take_commands
-- What was taken before and is not answered is taken again: it may not have reached the root.
UPDATE durable.commands
SET status = 'accepted'
WHERE node_id = %(node_id)s
  AND (status = 'accepted' OR status = 'requested' AND deadline_at > durable.now())
RETURNING id::text, verb, target, pid, process_started_at AS started_at,
          extract(epoch FROM deadline_at - durable.now())::float8 AS seconds;

-- name: answer_command
UPDATE durable.commands
SET status = %(status)s, outcome = %(outcome)s, finished_at = durable.now()
WHERE id = %(id)s::uuid AND status = 'accepted';

-- name: command_answer
SELECT status, outcome FROM durable.commands WHERE id = %(id)s::uuid;

-- name: withdraw_command
-- Unless it was taken in the meantime: then it is carried out, whoever waits for the answer.
UPDATE durable.commands
SET status = 'expired', outcome = 'The node has not taken it in time.', finished_at = durable.now()
WHERE id = %(id)s::uuid AND status = 'requested'
RETURNING id::text;

-- name: answer_stop
-- The registrar's last words: everything else in its node has ended.
UPDATE durable.commands
SET status = 'done', outcome = 'The node has stopped.', finished_at = durable.now()
WHERE node_id = %(node_id)s AND status = 'accepted' AND verb = 'stop' AND target = 'root';
