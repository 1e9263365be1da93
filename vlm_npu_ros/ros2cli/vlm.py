# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""ros2 vlm, which has the commands of vlm-npu."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ros2cli.command import CommandExtension


class VlmCommand(CommandExtension):
    """Ask a vision-language model what a camera sees, and look after its models."""

    def add_arguments(
        self,
        parser: argparse.ArgumentParser,
        cli_name: str,
        *,
        argv: Sequence[str] | None = None,
    ) -> None:
        """Add the commands."""
        # Not above: `ros2 -h` imports this module, too.
        from vlm_npu_ros.cli.main import add_commands

        self._parser = parser
        add_commands(parser, cli_name, required=False)

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""
        from vlm_npu_ros.cli.main import run

        if not hasattr(args, 'run'):
            self._parser.print_help()
            return 0
        return run(args)
