-- Starting executions from plain SQL: a function with the rules of `Durable.start`, for programs in
-- any language, for triggers, and for whoever has a transaction of its own.

-- A name, if one is given, is 1 to so many printable characters, as the client sees it (characters
-- that Unicode has not assigned apart).
CREATE FUNCTION durable.check_name(what text, name text, longest integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF name IS NULL OR length(name) BETWEEN 1 AND longest AND name !~ concat(
        '[\u0001-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680',
        '\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ue000-\uf8ff\ufeff',
        '\ufff9-\ufffb\U000e0000-\U000e007f\U000f0000-\U0010ffff]')
    THEN
        RETURN;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format(
        '%s must be a text of 1 to %s printable characters, not %L.',
        what, longest, left(name, longest + 1));
END
$$;

-- What jsonb holds and a workflow cannot: the client refuses the same values. (jsonb itself refuses
-- NUL and lone surrogates.) The limit of bytes counts JSON without its optional blanks; it is the
-- default `max_payload`, since the database knows nobody's configuration.
CREATE FUNCTION durable.check_value(what text, value jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    most constant integer := 1048576;
    printed constant text := value::text;
    size integer := octet_length(printed);
BEGIN
    IF size > most THEN -- with a blank after every comma and colon
        SELECT size - coalesce(sum(greatest(0, CASE jsonb_typeof(part)
            WHEN 'array' THEN jsonb_array_length(part) - 1
            ELSE 2 * (SELECT count(*) FROM jsonb_object_keys(part)) - 1 END)), 0)
        INTO size
        FROM jsonb_path_query(value,
            'strict $.** ? (@.type() == "object" || @.type() == "array")') AS part;
    END IF;
    IF size > most THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = format(
            '%s cannot be stored: its JSON has more than the %s bytes a value may have.',
            what, to_char(most, 'FM9,999,999'));
    END IF;
    IF jsonb_path_exists(value,
        'strict $.**{200} ? (@.type() == "object" || @.type() == "array")')
    THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = format(
            '%s cannot be stored: it is nested deeper than 200 levels.', what);
    END IF;
    IF printed ~ '[0-9]{19}' AND jsonb_path_exists(value, 'strict $.** ? (@.type() == "number"
        && (@ > 9223372036854775807 || @ < -9223372036854775808))')
    THEN
        RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range', MESSAGE = format(
            '%s cannot be stored: it holds a number beyond 64 bits; store it as text.', what);
    END IF;
END
$$;

-- A UUID of version 7, as the clients make them: rows made later sort later.
CREATE FUNCTION durable.new_id() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    microseconds constant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000);
BEGIN
    RETURN concat(
        lpad(to_hex(microseconds / 1000), 12, '0'),
        '7', lpad(to_hex(microseconds % 1000 * 4096 / 1000), 3, '0'),
        right(gen_random_uuid()::text, 17))::uuid;
END
$$;

-- Start an execution of a workflow's newest published version in the caller's transaction, and return
-- its id. A key that is taken gives the id of the execution that has it, whatever its status or input.
CREATE FUNCTION durable.enqueue(
    workflow text,
    input jsonb DEFAULT NULL,
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    known durable.definitions;
    started uuid;
BEGIN
    SELECT * INTO known FROM durable.definitions d WHERE d.workflow = enqueue.workflow
    ORDER BY d.published_at DESC, d.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format(
            'No workflow %L is published in this schema; start a node that knows it.',
            left(enqueue.workflow, 200));
    END IF;
    PERFORM durable.check_name('queue', enqueue.queue, 100);
    PERFORM durable.check_name('idempotency_key', enqueue.idempotency_key, 400);
    PERFORM durable.check_value('input', enqueue.input);
    IF enqueue.scheduled_at NOT BETWEEN '0001-01-02 00:00Z' AND '9999-12-30 00:00Z' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format(
            'scheduled_at must be an instant of the years 1 to 9999, not %s.',
            enqueue.scheduled_at);
    END IF;
    LOOP
        INSERT INTO durable.workflow_executions AS e
            (id, workflow, version, queue, priority, input, idempotency_key, scheduled_at,
             deadline_at, inserted_at, updated_at)
        VALUES (durable.new_id(), known.workflow, known.version,
                coalesce(enqueue.queue, known.description ->> 'queue'),
                coalesce(enqueue.priority, (known.description ->> 'priority')::integer),
                nullif(enqueue.input, 'null'), enqueue.idempotency_key,
                coalesce(enqueue.scheduled_at, durable.now()),
                durable.now() + make_interval(
                    secs => (known.description ->> 'timeout')::double precision),
                durable.now(), durable.now())
        ON CONFLICT DO NOTHING
        RETURNING e.id INTO started;
        EXIT WHEN started IS NOT NULL;
        SELECT e.id INTO started FROM durable.workflow_executions e
        WHERE e.workflow = known.workflow AND e.idempotency_key = enqueue.idempotency_key;
        IF started IS NOT NULL THEN
            RETURN started;
        END IF;
    END LOOP;
    IF coalesce(enqueue.scheduled_at <= durable.now(), true) THEN
        PERFORM pg_notify('durable:queue',
                          coalesce(enqueue.queue, known.description ->> 'queue'));
    END IF;
    IF known.description ->> 'timeout' IS NOT NULL THEN
        PERFORM pg_notify('durable:timeout', '');
    END IF;
    RETURN started;
END
$$;
REVOKE ALL ON FUNCTION durable.enqueue(text, jsonb, text, integer, timestamptz, text),
    durable.new_id(), durable.check_name(text, text, integer), durable.check_value(text, jsonb)
    FROM PUBLIC;
