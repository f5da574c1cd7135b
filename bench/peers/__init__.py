"""Other engines under the same questions, each in processes and a Python of its own.

A file per engine says how it is set up, fed and served; ``driving`` measures them all alike;
``running`` is this suite's side. What is imported there must not need durable_otp.
"""
