"""The program: `antiphon`, or `python -m antiphon`."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    """Run the command line; the exit code."""
    try:
        from antiphon.cli.main import run as run_command
    except KeyboardInterrupt:  # what is imported takes a tenth of a second
        return 128 + signal.SIGINT
    return run_command()


if __name__ == "__main__":
    sys.exit(run())
