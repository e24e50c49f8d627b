"""Errors a user can mend."""


class UsageError(Exception):
    """Bad input: says what, what was got, what was expected, and the fix (exit code 2)."""

    def __init__(self, what: str, got: object, expected: str, fix: str) -> None:
        super().__init__(f"{what}: got {got!r}, expected {expected}. Fix: {fix}")


class Unsupported(Exception):
    """A cell that this framework or machine cannot run by design; the text is the reason."""
