"""The exceptions that tell a user what is wrong, or why a case does not run."""


class UsageError(Exception):
    """Bad input, which ends the command with exit code 2.

    Args:
        what: The option, file or value that is wrong.
        got: What the user gave.
        expected: What would be right.
        fix: What the user can do.
    """

    def __init__(self, what: str, got: object, expected: str, fix: str) -> None:
        super().__init__(f"{what}: got {got!r}, expected {expected}. Fix: {fix}")


class Unsupported(Exception):
    """The framework or the machine cannot run a case by design; the text is the reason."""


def worded(error: BaseException) -> str:
    """Puts an error into one line, as a row's reason: its type, message and, if any, its file."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}"
    return f"{type(error).__name__}: {error}"
