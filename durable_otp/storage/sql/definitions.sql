-- The definitions that nodes and clients know, so that others can start them by name.

-- name: publish_definitions
-- A definition that changed under the same name and version replaces the published one. Of several
-- published together the last given is the newest, as it was registered last.
INSERT INTO durable.definitions (workflow, version, fingerprint, description, published_at)
SELECT given.workflow, given.version, given.fingerprint, given.description::jsonb,
       durable.now() + given.number * interval '1 microsecond'
FROM unnest(%(workflows)s::text[], %(versions)s::text[], %(fingerprints)s::text[],
            %(descriptions)s::text[])
     WITH ORDINALITY AS given (workflow, version, fingerprint, description, number)
ORDER BY given.workflow, given.version
ON CONFLICT (workflow, version) DO UPDATE
SET fingerprint = excluded.fingerprint, description = excluded.description,
    published_at = excluded.published_at
WHERE definitions.fingerprint <> excluded.fingerprint
RETURNING workflow, version;

-- name: published_definition
-- The version of a name that was published last.
SELECT workflow, version, description
FROM durable.definitions
WHERE workflow = %(workflow)s
ORDER BY published_at DESC, version DESC
LIMIT 1;
