"""The command line: ``brokerkit demo | worker | queue | dlq | task | topology | doctor``.

One command group per file. Exit codes are in ``errors.ExitCode``; what is wrong is one line on stderr that says what to
do next.
"""

from brokerkit.cli.program import commands, main

__all__ = ["commands", "main"]
