"""The chaos soak: two nodes work while everything around them breaks, and nothing may be lost.

``python -m bench.soak --seconds 60 --seed 7``. The seed decides what is started and what is broken
when; a report can be replayed with ``--replay FILE``.
"""
