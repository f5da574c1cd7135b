"""The processes: what each one of the tree is, and what it does.

`tree` says which there are; `queue_manager` and `worker` move executions; the siblings
(`stale_job_recovery`, `zombie_recovery`, `sleep_waker`, `pruner`, `registrar`) each do one small
thing again and again; `runtime` embeds the whole tree in a host process.
"""
