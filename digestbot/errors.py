"""What can go wrong in ways a user can mend. Every message names the file, line or setting and what to do."""


class DigestbotError(Exception):
    """The base of all errors shown to users without a traceback. `exit_code` follows CONTRACT.md's exit status."""

    exit_code = 1


class UsageError(DigestbotError):
    """Wrong use: unknown address, malformed option or file. Nothing was changed."""

    exit_code = 2


class SettingsError(UsageError):
    """One or more settings are wrong; `problems` holds one line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DropError(DigestbotError):
    """A drop cannot be read, or no further; the message is the reason given in its report.

    line, entry: where the trouble begins, 1-based; None where no place is known.
    """

    def __init__(self, message: str, *, line: int | None = None, entry: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.entry = entry


class StorageError(DigestbotError):
    """The database cannot be opened, is locked, or has a schema this version does not know."""


class TemplateError(UsageError):
    """A template of the operator's own does not render: a wrong setting. The message names the file and the line."""


class DeliveryStopped(DigestbotError):
    """Delivery stops for everybody (connect, TLS, AUTH or MAIL refused); queued entries stay queued."""


def line_of(error: UnicodeDecodeError) -> int:
    """The line, 1-based, with the byte that is not UTF-8; the whole of a file was to be decoded."""
    return error.object.count(b"\n", 0, error.start) + 1


def in_short(value: object) -> str:
    """A value as messages show it: on one line, and not at any length."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:59] + "…"
