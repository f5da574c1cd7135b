-- The channels. A notification is latency, never correctness: behind every wait there is a poll.

-- name: listen_queue
LISTEN "durable:queue";

-- name: listen_cancel
LISTEN "durable:cancel";

-- name: listen_command
LISTEN "durable:command";

-- name: listen_sleep
LISTEN "durable:sleep";

-- name: listen_timeout
LISTEN "durable:timeout";

-- name: listen_done
LISTEN "durable:done";
