"""What is remembered: the only package that speaks SQL.

An *operation* is a generator that yields `Statement`s and receives their rows; it decides nothing
about connections. `Database` and `AsyncDatabase` run operations. The SQL itself lives in
`sql/*.sql`, one file per table, every statement under a name.
"""
