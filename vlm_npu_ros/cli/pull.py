# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu pull: fetch a model from Hugging Face, or from a mirror of it."""

from __future__ import annotations

import argparse
from pathlib import Path, PurePosixPath

from vlm_npu_ros.cli.screen import ChatScreen
from vlm_npu_ros.engine.registry import names
from vlm_npu_ros.pull.hub import RemoteFile, Repository
from vlm_npu_ros.pull.pulling import pull, Wish

_EPILOG = """\
NAME is one of those that `vlm-npu models` lists, hf:OWNER/REPO for a repository on Hugging Face,
or hf:OWNER/REPO:Q8_0 for one of several weights in it. The files go to
~/.local/share/vlm-npu/models ($VLM_NPU_MODELS), with their hashes, which are compared at each
load. Give the same name to --model, or to the node's parameter `model`.

An interrupted pull goes on where it was. HF_TOKEN (or `hf auth login`) opens private and gated
repositories, HF_ENDPOINT names a mirror. Nothing is sent but the names of the files.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = commands.add_parser(
        'pull',
        help='fetch a model from Hugging Face',
        description='Fetch the files of a model that this machine can run, and check them.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('name', metavar='NAME', help='of the catalogue, or hf:OWNER/REPO')
    add('--for', dest='chip', default='', metavar='CHIP', help='for another machine: rk3588')
    add('--backend', default='', choices=names(), help='that shall run it')
    add('--encoder', default='', metavar='PATH', help='vision encoder in the repository')
    add('--language-model', default='', metavar='PATH', help='language model in the repository')
    add('--profile', default='', metavar='NAME', help='model profile, if it is not found: a name '
        'or a .yaml, which is copied')
    add('--force', action='store_true', help='pull it, too, if this machine cannot run it')
    add('--quiet', action='store_true', help='print errors only')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch it."""
    wish = Wish(
        args.name, args.chip.lower(), args.backend, args.encoder, args.language_model,
        args.profile, args.force,
    )

    screen = ChatScreen(args.quiet)

    def transfer(repository: Repository, file: RemoteFile, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        with screen.transferred(PurePosixPath(file.path).name, have, file.size) as more:
            repository.fetch(file, part, more)

    print(pull(wish, screen.note, transfer).folder)
    return 0
