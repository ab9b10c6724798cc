"""Exit statuses that mean one thing each, whatever happens to a command."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

BAD_INPUT = 2
BROKEN = 70
NO_OUTPUT = 74
INTERRUPTED = 130
EXIT_STATUSES = (
    "2 a usage that is not allowed or input that cannot be read, 70 an error of this "
    "program, 74 output that cannot be written, 130 interrupted"
)


def say(text: str) -> None:
    """Writes a line to standard error, where there is one."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(text, file=sys.stderr)


def exit_status(command: Callable[[], int | None]) -> int:
    """Runs a command; its status, or that of what ended it.  Flushes its output."""
    if sys.stdout is None:
        say("error: standard output is closed")
        return NO_OUTPUT
    try:
        status = _status(command)
        sys.stdout.flush()
    except OSError as error:
        say(f"error: output cannot be written: {error}")
        # Python flushes once more at its end, and would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_OUTPUT
    return status


def _status(command: Callable[[], int | None]) -> int:
    try:
        return command() or 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        say(str(end.code))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except MemoryError:
        say("error: out of memory")
        return BROKEN
    except OSError:
        raise
    except Exception:
        say(traceback.format_exc())
        return BROKEN
