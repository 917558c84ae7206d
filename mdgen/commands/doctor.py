"""What this machine can do."""

from __future__ import annotations

from mdgen.commands.options import command


@command
def doctor() -> None:
    """Print versions, machine and devices: what to paste into a question.

    Example: mdgen doctor
    """
    from mdgen.doctor import report_lines

    print("\n".join(report_lines()))
