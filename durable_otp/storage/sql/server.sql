-- What the server itself allows.

-- name: connection_limit
-- What is left for ordinary roles when superusers have kept their share.
SELECT current_setting('max_connections')::integer
       - current_setting('superuser_reserved_connections')::integer AS connections;
