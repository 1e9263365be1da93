# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Each block of code of the pages is run by a test, or says above it why not.

    <!-- run by test/test_examples.py -->      <!-- not run: a board is needed -->

What is not run is at least read: by Python, YAML, and the parsers of the commands.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path
import re
import shlex
import textwrap

from vlm_npu_ros import action, srv
from vlm_npu_ros.cli.main import add_commands
from vlm_npu_ros.launching import arguments
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
INDEX = ROOT / 'docs' / 'index.md'  # the list of the others
PAGES.remove(INDEX)
BLOCK = re.compile(r'(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LAUNCH = {
    'demo': (*arguments.NODE, *arguments.CAMERA, *arguments.WEB),
    'vlm': (*arguments.NODE, *arguments.WEB),
    'nav2': arguments.NODE,
    'fleet': arguments.FLEET,
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield where each block of a language is, and what it holds."""
    for page in PAGES:
        for _, found, code in BLOCK.findall(page.read_text(encoding='utf-8')):
            if found == language:
                yield f'{page.name}: {code.splitlines()[0]}', textwrap.dedent(code)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield where each command of a shell block is, and its words."""
    for where, code in blocks('sh'):
        # Comments go first: to the lexer the end of their line is a part of them.
        code = re.sub(r'(?:^|[ \t])#.*$', '', code, flags=re.MULTILINE).replace('\\\n', ' ')
        lexer = shlex.shlex(code, posix=True, punctuation_chars='&|;\n')
        lexer.commenters = ''
        lexer.whitespace = ' \t'
        lexer.whitespace_split = True
        words: list[str] = []
        for word in (*lexer, '\n'):
            if word.strip('&|;\n'):
                words.append(word)
            elif words:
                yield f'{where} ... {words}', words
                words = []


def test_each_block_is_run_or_says_why_not() -> None:
    wrong = []
    for page in PAGES:
        for mark, _, code in BLOCK.findall(page.read_text(encoding='utf-8')):
            runner = re.fullmatch(r'run by ([\w./]+)', mark)
            if not (runner and (ROOT / runner[1]).is_file()) and not mark.startswith('not run: '):
                wrong.append(f'{page.name}: {code.splitlines()[0]}')
    assert wrong == []


def test_python_and_yaml_can_be_read() -> None:
    for where, code in blocks('python'):
        assert ast.parse(code), where
    for where, code in blocks('yaml'):
        assert yaml.safe_load(code), where


def arguments_of(words: list[str]) -> list[str] | None:
    """Return the arguments of vlm-npu, under whichever name it is called."""
    if words[0] == 'vlm-npu':
        return words[1:]
    if words[:2] == ['ros2', 'vlm']:
        return words[2:]
    return words[3:] if words[:4] == ['ros2', 'run', 'vlm_npu_ros', 'ask'] else None


def test_commands_of_this_package_are_valid() -> None:
    parser = argparse.ArgumentParser()
    add_commands(parser, 'vlm-npu')
    checked = 0
    for where, words in commands():
        ours = arguments_of(words)
        if ours is None or '--help' in ours:
            continue
        try:
            parser.parse_args(ours)
        except SystemExit:
            raise AssertionError(where) from None
        checked += 1
    assert checked > 10


def test_make_targets_and_launch_arguments_exist() -> None:
    targets = set(re.findall(r'^([a-z0-9-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    for where, words in commands():
        if words[0] == 'make':
            assert {word for word in words[1:] if '=' not in word} <= targets, where
        if words[:3] == ['ros2', 'launch', 'vlm_npu_ros']:
            known = {argument.name: argument for argument in LAUNCH[words[3].partition('.')[0]]}
            for name, _, text in (word.partition(':=') for word in words[4:]):
                assert name in known, where
                assert known[name].kind is Path or known[name].read(text) is not None, where


def test_requests_have_the_fields_of_their_types() -> None:
    checked = 0
    for where, words in commands():
        if words[:3] not in (['ros2', 'service', 'call'], ['ros2', 'action', 'send_goal']):
            continue
        words = [word for word in words[3:] if not word.startswith('--')]
        package, kind, name = words[1].split('/')
        if package != 'vlm_npu_ros':
            continue
        interface = getattr({'srv': srv, 'action': action}[kind], name)
        message = interface.Request if kind == 'srv' else interface.Goal
        assert set(yaml.safe_load(words[2])) <= set(message.get_fields_and_field_types()), where
        checked += 1
    assert checked > 5


def test_each_page_is_in_the_site() -> None:
    listed = INDEX.read_text(encoding='utf-8').splitlines()
    assert [page.name for page in PAGES[1:] if page.stem not in listed] == []
