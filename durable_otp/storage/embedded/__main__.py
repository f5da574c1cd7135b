"""The reaper as a program, run with a directory, its lock and the seconds to linger."""

import sys
from pathlib import Path

from durable_otp.storage.embedded.reaper import main

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
