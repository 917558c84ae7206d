"""Errors a user can act on. Their text is one line: what was found, where, and what to do about it."""


class MdgenError(Exception):
    """Wrong use, bad data, a bad configuration or a bad checkpoint: exit code 2."""

    exit_code = 2


class MachineError(MdgenError):
    """The machine gave out (memory, disk, non-finite numbers); the last good state is saved: exit code 4."""

    exit_code = 4
