"""The command line: ``durable-otp VERB``, one file per verb or noun.

It asks the database and shows what it hears. Only ``start`` and ``demo`` run a tree; no other verb
claims, runs or supervises anything.
"""
