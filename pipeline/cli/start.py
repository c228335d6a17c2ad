"""The start of the command: a signal ends it quietly from here on, also while it imports.

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

#: Commands that run until they are stopped: that is their success, also before they have begun.
_UNTIL_STOPPED = (["run"], ["watch"], ["serve"], ["console"], ["alerts", "tail"])
#: Unless this option limits them.
_LIMIT = "--count"

#: Seconds until an interrupt is repeated that came where Python cannot raise it.
_REPEAT_SECONDS = 0.05


class Stopped(BaseException):
    """A signal came while nothing ran yet that would have to end in order."""


def main() -> None:
    """Run ``mistwatch``: guard its imports, then the command, then the end of the process.

    SIGINT is handled also where it was ignored: a shell starts its background jobs so, and ``kill -INT`` is meant for
    them.
    """
    signal.signal(signal.SIGINT, _end_at_once)
    until_stopped = _runs_until_stopped(sys.argv[1:])
    if until_stopped:
        for number in ending_signals():
            signal.signal(number, end_unstarted)  # until the command has handlers of its own
    from pipeline.cli.main import main as run
    from pipeline.cli.output import escape_unencodable
    from pipeline.logs import redact_tracebacks

    escape_unencodable()
    redact_tracebacks()
    interrupts = _Interrupts()
    sys.unraisablehook = interrupts.on_unraisable
    if not until_stopped:
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


def ending_signals() -> "list[signal.Signals]":
    """Return the signals that ask a command to end: SIGTERM, Ctrl-C, and a closed terminal unless ``nohup`` is used.

    A shell starts its background jobs with Ctrl-C ignored. They listen all the same: ``kill -INT`` is meant for them.
    """
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


def end_unstarted(_number: int, _frame: FrameType | None) -> None:
    """The handler of a command that runs until it is stopped, before it has begun: end the process with success."""
    os._exit(0)


def _runs_until_stopped(arguments: list[str]) -> bool:
    limited = any(argument.split("=")[0] == _LIMIT for argument in arguments)
    return not limited and any(arguments[: len(command)] == command for command in _UNTIL_STOPPED)


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
        """Repeat an interrupt that came in a finalizer or a callback of a weak reference; report anything else.

        A command that is ended by :class:`Stopped` also looks whether the signal came.
        """
        if problem.exc_type is Stopped:
            return
        if problem.exc_type is not KeyboardInterrupt:
            self._report(problem)
            return
        import threading

        main_thread = threading.main_thread().ident
        assert main_thread is not None
        repeat = threading.Timer(_REPEAT_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT))
        repeat.daemon = True
        repeat.start()
