"""ros2 vlm and its verbs, the same as the commands of vlm-npu."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ros2cli.command import add_subparsers_on_demand, CommandExtension
from ros2cli.plugin_system import PLUGIN_SYSTEM_VERSION, satisfies_version
from vlm_npu_ros.cli import ask, models
from vlm_npu_ros.client import VlmClient


class VlmCommand(CommandExtension):
    """Ask a vision-language model what a camera sees."""

    def add_arguments(
        self,
        parser: argparse.ArgumentParser,
        cli_name: str,
        *,
        argv: Sequence[str] | None = None,
    ) -> None:
        """Add a subcommand for each verb."""
        self._parser = parser
        add_subparsers_on_demand(
            parser, cli_name, '_verb', 'vlm_npu_ros.verb', required=False, argv=argv
        )

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Run the verb and return its exit code."""
        if not hasattr(args, '_verb'):
            self._parser.print_help()
            return 0
        return int(args._verb.main(args=args))


class VerbExtension:
    """Base of the verbs, which the entry points `vlm_npu_ros.verb` name."""

    NAME = None
    EXTENSION_POINT_VERSION = '0.1'

    def __init__(self) -> None:
        satisfies_version(PLUGIN_SYSTEM_VERSION, '^0.1')

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Add the options that `main` reads."""

    def main(self, *, args: argparse.Namespace) -> int:
        """Run the verb and return its exit code."""
        raise NotImplementedError


class AskVerb(VerbExtension):
    """Ask a running vlm node about what its camera sees."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Add the options of `vlm-npu ask`."""
        parser.epilog = ask.EPILOG
        ask.add_arguments(parser)

    def main(self, *, args: argparse.Namespace) -> int:
        """Ask and return the exit code."""
        return ask.run(args)


class StatusVerb(VerbExtension):
    """Show the state of the node; the exit code is 0 if it takes questions, else 3."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Add the options that name the node."""
        ask.add_node_arguments(parser)

    def main(self, *, args: argparse.Namespace) -> int:
        """Print the state and return the exit code."""
        with VlmClient(args.node, args.namespace) as client:
            status = client.status(args.wait)
        print(f'{status.node}: {status.state or "not there"}')
        return 0 if status.ready else ask.NO_NODE


class ModelsVerb(VerbExtension):
    """List the models that have a profile."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Add the option `--json`."""
        parser.add_argument('--json', action='store_true', help='print JSON')

    def main(self, *, args: argparse.Namespace) -> int:
        """Print the models and return 0."""
        return models.run(args)
