"""What happens next: an execution goes from step to step, and each step is committed once.

The engine knows neither PostgreSQL nor processes. What it remembers goes through a `Journal`, what
it needs of the process around it through a `Host`; `executor.execute` is the whole story.
"""
