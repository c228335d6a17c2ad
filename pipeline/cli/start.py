"""The start of the command: Ctrl-C ends it quietly from here on, also while it imports.

This module imports as little as possible, so that the handler is set within milliseconds. Importing the command takes
ten times as long as starting Python.
"""

try:
    import os
    import signal
    import sys
    from types import FrameType
except KeyboardInterrupt:
    raise SystemExit(130) from None

#: Exit status of a command that Ctrl-C has ended: 128 plus the signal's number, as in a shell.
INTERRUPTED = 130

#: Seconds until an interrupt is repeated that came where Python cannot raise it.
_REPEAT_SECONDS = 0.05


def main() -> None:
    """Run ``mistwatch``: guard its imports, then the command, then the end of the process.

    SIGINT is handled also where it was ignored: a shell starts its background jobs so, and ``kill -INT`` is meant for
    them.
    """
    signal.signal(signal.SIGINT, _end_at_once)
    from pipeline.cli.main import main as run
    from pipeline.cli.output import escape_unencodable

    escape_unencodable()
    interrupts = _Interrupts()
    sys.unraisablehook = interrupts.on_unraisable
    signal.signal(signal.SIGINT, interrupts.handle)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:
        if not interrupts.came:
            raise  # a bug
        sys.exit(INTERRUPTED)  # an extension module that was interrupted as it loaded raises an error of its own
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the result is out; do not report how far the cleanup got


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """End the process while it has neither output nor anything to clean up."""
    os._exit(INTERRUPTED)


class _Interrupts:
    """Raises KeyboardInterrupt in the main thread, as Python itself, and again where it had been swallowed.

    Attributes:
        came: whether there was one.
    """

    def __init__(self) -> None:
        self.came = False
        self._report = sys.unraisablehook

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """The signal's handler."""
        self.came = True
        raise KeyboardInterrupt

    def on_unraisable(self, problem: "sys.UnraisableHookArgs") -> None:
        """Repeat an interrupt that came in a finalizer or a callback of a weak reference; report anything else."""
        if problem.exc_type is not KeyboardInterrupt:
            self._report(problem)
            return
        import threading

        main_thread = threading.main_thread().ident
        assert main_thread is not None
        repeat = threading.Timer(_REPEAT_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT))
        repeat.daemon = True
        repeat.start()
