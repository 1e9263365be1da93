# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Write down the names of one release of rclpy, for test/node/test_rclpy_surface.py.

    git clone https://github.com/ros2-gbp/rclpy-release && cd rclpy-release
    git checkout release/jazzy/rclpy && cd -
    python3 tools/rclpy_names.py rclpy-release > test/data/rclpy_names/jazzy.yaml

Nothing is imported: the names are those that the source files define. Of the C++ extension they
are listed without the class that they belong to.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
import re
import sys

import yaml

_IMPORTED = re.compile(r'rclpy(\.\w+)*')
_DEFINED = re.compile(r"""(?:\.(?:def|value)\w*\(|\(\s*m,|\(\s*module,)\s*"(\w+)""")
_TYPING = {'Optional', 'Union', 'Type', 'List', 'Sequence', 'None'}
_PLAIN_BASES = {'object', 'abc.ABC', 'typing.Generic', 'enum.Enum', 'enum.IntEnum'}
_DESCRIBES_OTHERS = {'BaseMessage', 'Protocol', 'TypedDict'}  # bases
Functions = ast.FunctionDef, ast.AsyncFunctionDef


class Module:
    """
    What a source file defines, as lines of the table.

    names: of the module, each with its parameters, or with what it stands for in another module.
    classes: members by qualified name; bases come first. stars: modules it takes everything of.
    """

    def __init__(self, name: str, tree: ast.Module, is_package: bool) -> None:
        self.name = name
        self._package = name if is_package else name.rpartition('.')[0]
        self._known: dict[str, str] = {}  # what a name in this file is, in full
        self.names: set[str] = set()
        self.classes: dict[str, list[str]] = {}
        self.stars: list[str] = []
        statements = list(_flat(tree.body))
        for statement in statements:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._import(statement)
            elif isinstance(statement, ast.ClassDef):
                self._known[statement.name] = f'{name}.{statement.name}'
        for statement in statements:
            self._define(statement)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        for alias in statement.names:
            if alias.name == '*' and isinstance(statement, ast.ImportFrom):
                self.stars.append(str(statement.module))
                continue
            source, bound = alias.name, alias.asname or alias.name.partition('.')[0]
            if isinstance(statement, ast.ImportFrom):
                parent = statement.module or ''
                if statement.level:
                    above = self._package.split('.')
                    above = above[:len(above) - statement.level + 1]
                    parent = '.'.join([*above, *filter(None, [parent])])
                source, bound = f'{parent}.{alias.name}', alias.asname or alias.name
            elif not alias.asname:
                source = bound
            self._known[bound] = source
            if _IMPORTED.fullmatch(source) and not bound.startswith('_'):
                self.names.add(f'{bound} = {source}')

    def _define(self, statement: ast.stmt) -> None:
        if isinstance(statement, Functions):
            self.names.add(self._function(statement, 0))
        elif isinstance(statement, ast.ClassDef):
            self.names.add(statement.name)
            bases = [self._full(ast.unparse(base)) for base in statement.bases]
            if _DESCRIBES_OTHERS & {base.rpartition('.')[2] for base in bases}:
                return
            members = sorted(_merged(self._members(statement)))
            self.classes[f'{self.name}.{statement.name}'] = [
                *(f'< {base}' for base in bases if base not in _PLAIN_BASES), *members
            ]
        else:
            self.names.update(_assigned(statement))

    def _members(self, node: ast.ClassDef) -> Iterator[str]:
        for statement in _flat(node.body):
            if isinstance(statement, Functions):
                marks = {ast.unparse(mark) for mark in statement.decorator_list}
                if any(mark == 'property' or mark.endswith('.setter') for mark in marks):
                    yield f'{statement.name}{self._returned(statement)}'
                else:
                    yield self._function(statement, 'staticmethod' not in marks)
                for inner in ast.walk(statement):
                    yield from _set_on_self(inner)
            elif isinstance(statement, ast.ClassDef):
                yield statement.name
            else:
                yield from _assigned(statement)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, bound: int) -> str:
        arguments = node.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][bound:]
        names += [a.arg for a in arguments.kwonlyargs]
        names += ['*'] * bool(arguments.vararg) + ['**'] * bool(arguments.kwarg)
        return f'{node.name}({" ".join(names)}){self._returned(node)}'

    def _returned(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        """Tell which class of rclpy a function returns, if it says so."""
        if not node.returns:
            return ''
        words = re.findall(r'[A-Za-z_][\w.]*', ast.unparse(node.returns))
        types = {self._full(word) for word in words if word not in _TYPING}
        types = {t for t in types if t.startswith('rclpy.')}
        return f' -> {types.pop()}' if len(types) == 1 else ''

    def _full(self, name: str) -> str:
        name = name.partition('[')[0]
        first, dot, rest = name.partition('.')
        return self._known.get(first, first) + dot + rest


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, and those in its conditions and attempts."""
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ('body', 'handlers', 'orelse', 'finalbody'):
                for inner in getattr(statement, part, ()):
                    handler = isinstance(inner, ast.ExceptHandler)
                    yield from _flat(inner.body if handler else [inner])
        else:
            yield statement


def _assigned(statement: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    for target in targets:
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(part, ast.Name):
                yield part.id


def _set_on_self(node: ast.AST) -> Iterator[str]:
    """Yield the attributes that an assignment gives to `self`."""
    if (
        isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name) and node.value.id == 'self'
    ):
        yield node.attr


def _merged(members: Iterable[str]) -> Iterator[str]:
    """Join the parameters of overloads."""
    parameters: dict[str, list[str]] = {}
    ends: dict[str, str] = {}
    plain: set[str] = set()
    for member in members:
        if member.startswith('__') and not member.startswith('__init__') and '__' in member[2:]:
            continue
        match = re.fullmatch(r'(\w+)(?:\((.*)\))?(.*)', member)
        assert match
        name, inside, end = match.groups()
        if inside is None:
            plain.add(name)
        else:
            have = parameters.setdefault(name, [])
            have += [part for part in inside.split() if part not in have]
        ends[name] = ends.get(name) or end
    for name, end in ends.items():
        inside = f'({" ".join(parameters[name])})' if name in parameters else ''
        yield name + inside + end


def modules(folder: Path) -> Iterator[Module]:
    """Yield the modules of the package rclpy in a folder."""
    for path in sorted(folder.joinpath('rclpy').rglob('*.py')):
        parts = path.relative_to(folder).with_suffix('').parts
        is_package = parts[-1] == '__init__'
        name = '.'.join(parts[:-1] if is_package else parts)
        yield Module(name, ast.parse(path.read_text(encoding='utf-8')), is_package)


def extension(folder: Path) -> set[str]:
    """Find the names that the C++ extension gives to Python."""
    names: set[str] = set()
    for path in folder.joinpath('src').rglob('*.cpp'):
        names.update(_DEFINED.findall(path.read_text(encoding='utf-8')))
    return names


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description='Write down the names of one release of rclpy.')
    parser.add_argument('folder', type=Path, help='the sources, with package.xml')
    folder = parser.parse_args().folder
    version = re.search('<version>(.*)</version>', folder.joinpath('package.xml').read_text())
    assert version
    table: dict[str, object] = {'version': version[1]}
    found = {module.name: module for module in modules(folder)}
    for module in found.values():
        for star in module.stars:
            names = (re.split(r'\W', name)[0] for name in found[star].names)
            module.names.update(f'{name} = {star}.{name}' for name in names if name[0] != '_')
        table[module.name] = sorted(module.names)
        table.update(module.classes)
    table['extension'] = sorted(extension(folder))
    print('# Made by tools/rclpy_names.py; the names are those of rclpy, Apache License 2.0.')
    yaml.safe_dump(table, sys.stdout, width=99, sort_keys=False, default_flow_style=None)
    return 0


if __name__ == '__main__':
    sys.exit(main())
