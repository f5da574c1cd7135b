"""``python -m durable_otp``: the command line."""

from durable_otp.cli.main import main

main()
