"""One file per question; each is run as ``python -m bench.NAME`` and prints JSON lines."""
