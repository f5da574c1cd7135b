-- The rights of the roles that work with a schema they do not own. Run it as the role that migrates,
-- after every migration; `durable-otp migrate --grant-runtime ROLE` does the same, with your names
-- in the place of `durable`, `durable_runtime`, `durable_producer` and `durable_reader`.

-- role: runtime
-- Nodes, and programs that operate: everything but changing the schema.
GRANT USAGE ON SCHEMA durable TO durable_runtime;
GRANT SELECT ON durable.schema_version TO durable_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    durable.workflow_executions, durable.step_executions, durable.fan_outs, durable.fan_out_items,
    durable.waits, durable.events, durable.once_results, durable.pending_inputs,
    durable.scheduled_workflows, durable.schedule_slots, durable.definitions, durable.nodes,
    durable.queue_managers, durable.queues, durable.queue_limits, durable.commands,
    durable.subscriptions, durable.dashboard_audit, durable.process_lives
    TO durable_runtime;
GRANT EXECUTE ON FUNCTION durable.open_moves(), durable.close_moves() TO durable_runtime;
GRANT EXECUTE ON FUNCTION
    durable.enqueue(text, jsonb, text, integer, timestamptz, text), durable.new_id(),
    durable.check_name(text, text, integer), durable.check_value(text, jsonb)
    TO durable_runtime;

-- role: producer
-- Programs that start executions, send events and answer inputs. They see how far an execution is,
-- and neither its input, context, errors and logs nor what it gave; and they claim nothing.
GRANT USAGE ON SCHEMA durable TO durable_producer;
GRANT SELECT (id, workflow, version, status, queue, idempotency_key, concurrency_key, scheduled_at,
              deadline_at, watched, inserted_at, started_at, completed_at),
      INSERT (id, workflow, version, status, queue, priority, input, idempotency_key,
              concurrency_key, concurrency_limit, scheduled_at, deadline_at, inserted_at,
              updated_at),
      UPDATE (status, idempotency_key, scheduled_at, updated_at, watched)
    ON durable.workflow_executions TO durable_producer;
GRANT SELECT, INSERT, UPDATE ON durable.definitions TO durable_producer;
GRANT SELECT (id, execution_id, path, visit, ordinal, kind, names, due_at, status, created_at),
      INSERT (id, execution_id, path, visit, ordinal, kind, created_at),
      UPDATE (status, answer, answered_at)
    ON durable.waits TO durable_producer;
GRANT SELECT (id, execution_id, name, payload, number, consumed_at),
      INSERT (id, execution_id, name, payload, sent_at),
      UPDATE (consumed_at, consumed_by)
    ON durable.events TO durable_producer;
GRANT SELECT (id, execution_id, wait_id, name, type, prompt, fields, choices, metadata, status,
              answer_id, created_at),
      UPDATE (status, response, answer_id, completed_at)
    ON durable.pending_inputs TO durable_producer;
GRANT SELECT ON durable.subscriptions TO durable_producer;
GRANT EXECUTE ON FUNCTION
    durable.enqueue(text, jsonb, text, integer, timestamptz, text), durable.new_id(),
    durable.check_name(text, text, integer), durable.check_value(text, jsonb)
    TO durable_producer;

-- role: reader
-- Programs that look: lists, results, histories. Together with producer: start and read the result.
GRANT USAGE ON SCHEMA durable TO durable_reader;
GRANT SELECT ON
    durable.schema_version,
    durable.workflow_executions, durable.step_executions, durable.fan_outs, durable.fan_out_items,
    durable.waits, durable.events, durable.once_results, durable.pending_inputs,
    durable.scheduled_workflows, durable.schedule_slots, durable.definitions, durable.nodes,
    durable.queue_managers, durable.queues, durable.queue_limits, durable.commands,
    durable.subscriptions, durable.dashboard_audit, durable.process_lives
    TO durable_reader;
