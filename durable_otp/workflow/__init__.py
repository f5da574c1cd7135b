"""What a workflow is: pure definitions, values and decisions; no database and no process."""
