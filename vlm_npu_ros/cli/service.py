# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu install-service: a systemd unit that starts the node with the machine."""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path
import shlex

from vlm_npu_ros.engine.errors import NotSupportedError
from vlm_npu_ros.launching.arguments import NODE, read, WEB

_UNIT = """\
[Unit]
Description=Answers questions about what the cameras see (vlm_npu_ros)
Wants=network-online.target
After=network-online.target

[Service]
User={user}
{environment}ExecStart=/bin/bash -c {command}
Restart=on-failure
RestartSec=5
# The node ends within 3 s.
KillMode=mixed
KillSignal=SIGINT
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
"""
_PASSED_ON = ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'RMW_IMPLEMENTATION')


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    service = commands.add_parser(
        'install-service',
        help='print a systemd unit that starts the node with the machine',
        description='Print a systemd unit that runs `ros2 launch vlm_npu_ros vlm.launch.py`; '
        'nothing is installed. Put it into /etc/systemd/system/vlm.service.',
    )
    service.set_defaults(run=run)
    service.add_argument(
        'arguments', nargs='*', metavar='NAME:=VALUE', type=_argument,
        help='of vlm.launch.py: backend:=rknpu image_topic:=/camera/image_raw',
    )
    service.add_argument(
        '--setup', type=_file, help='setup.bash of the workspace (default: the one sourced here)'
    )
    service.add_argument(
        '--user', default='', help='the one that runs it (default: the one that asks)'
    )


def _argument(text: str) -> tuple[str, str]:
    name, mark, value = text.partition(':=')
    if not mark:
        raise argparse.ArgumentTypeError(f'{text}: write NAME:=VALUE')
    known = {argument.name: argument for argument in (*NODE, *WEB)}
    if name not in known:
        raise argparse.ArgumentTypeError(f'{name} is not one of {", ".join(known)}')
    try:
        read([known[name]], {name: value})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, value


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'{text}: there is no such file')
    return Path(text).absolute()


def run(args: argparse.Namespace) -> int:
    """Print the unit."""
    launch = ['ros2', 'launch', 'vlm_npu_ros', 'vlm.launch.py']
    launch += [f'{name}:={value}' for name, value in args.arguments]
    setup = shlex.quote(str(args.setup or _sourced()))
    kept = [_quoted(f'{name}={os.environ[name]}') for name in _PASSED_ON if name in os.environ]
    print(_UNIT.format(
        user=args.user or _user(),
        environment=f'Environment={" ".join(kept)}\n' if kept else '',
        command=_quoted(f'source {setup} && exec {shlex.join(launch)}', of_command=True),
    ), end='')
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container may run as a number without a name
        raise NotSupportedError('This user has no name', 'Name one: --user NAME') from error


def _sourced() -> Path:
    """Return the setup.bash of the workspace or distribution that this package is in."""
    for prefix in filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(':')):
        # Each package of an isolated workspace has a prefix below the one of the workspace.
        for folder in (Path(prefix).parent, Path(prefix)):
            if (folder / 'setup.bash').is_file():
                return folder / 'setup.bash'
    raise NotSupportedError('No ROS workspace is sourced', 'Name one: --setup FILE.')


def _quoted(text: str, of_command: bool = False) -> str:
    """Write a word as systemd reads it back; it expands % everywhere and $ in commands."""
    for special, written in ('\\', '\\\\'), ('"', '\\"'), ('%', '%%'), ('\n', '\\n'):
        text = text.replace(special, written)
    return '"' + (text.replace('$', '$$') if of_command else text) + '"'
