# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Reads which names of rclpy a module uses, and looks them up in the table of a distribution."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
import re
from typing import NamedTuple, TypeAlias

import yaml

TABLES = Path(__file__).parents[1] / 'test' / 'data' / 'rclpy_names'  # made by rclpy_names.py
Function: TypeAlias = 'ast.FunctionDef | ast.AsyncFunctionDef'


class Member(NamedTuple):
    """
    A name in a module or class.

    parameters: None for what is not called. returns, alias: a class of rclpy, and what the name
    stands for; '' if that is not known.
    """

    name: str
    parameters: frozenset[str] | None
    returns: str
    alias: str

    @classmethod
    def of(cls, entry: str) -> Member:
        """Read `name(parameter parameter) -> class`, or `name = alias`."""
        match = re.fullmatch(r'(\w+)(?:\((.*)\))?(?: -> (\S+))?(?: = (\S+))?', entry)
        assert match, entry
        name, parameters, returns, alias = match.groups()
        taken = None if parameters is None else frozenset(parameters.split())
        return cls(name, taken, returns or '', alias or '')


class Table:
    """
    The names of rclpy in one distribution.

    by_name: members of all classes, as the class of an object is not always known.
    """

    def __init__(self, distribution: str) -> None:
        entries = yaml.load((TABLES / f'{distribution}.yaml').read_text(), yaml.CSafeLoader)
        self.version: str = entries.pop('version')
        self._bases = {
            owner: [e[2:] for e in those if e.startswith('< ')] for owner, those in entries.items()
        }
        self._members = {
            owner: {m.name: m for m in (Member.of(e) for e in those if not e.startswith('< '))}
            for owner, those in entries.items()
        }
        self.by_name: dict[str, list[Member]] = {}
        for owner, members in self._members.items():
            if owner == 'extension' or self.is_class(owner):
                for member in members.values():
                    self.by_name.setdefault(member.name, []).append(member)

    def has(self, owner: str) -> bool:
        """Tell whether it lists the names of a module or class."""
        return owner in self._members

    def is_class(self, name: str) -> bool:
        """Tell whether this is a class, with its module's name."""
        return self.has(name) and name.rpartition('.')[2][0].isupper()

    def is_whole(self, owner: str) -> bool:
        """Tell whether all names of a module or class are listed: no foreign class is its base."""
        return self.has(owner) and all(map(self.is_whole, self._bases[owner]))

    def find(self, owner: str, name: str) -> Member | None:
        """Look a name up in a module, or in a class and its bases; it may be mangled."""
        members = self._members.get(owner, {})
        unmangled = name.removeprefix('_' + owner.rpartition('.')[2])
        if member := members.get(name) or members.get(unmangled):
            return member
        inherited = (self.find(base, name) for base in self._bases.get(owner, ()))
        return next(filter(None, inherited), None)

    def resolve(self, path: str) -> str:
        """Follow a dotted path to the place that defines it; '' if there is none."""
        if self.has(path):
            return path
        owner, _, name = path.rpartition('.')
        owner = self.resolve(owner) if owner else ''
        member = self.find(owner, name) if owner else None
        if member and member.alias:
            return self.resolve(member.alias) or path
        return f'{owner}.{name}' if member else ''

    def function(self, name: str) -> Member | None:
        """Look up what is called by this name: of a class, how it is made."""
        if self.is_class(name):
            return self.find(name, '__init__')
        owner, _, name = name.rpartition('.')
        return self.find(owner, name)


@cache
def table(distribution: str) -> Table:
    """Read a table, once."""
    return Table(distribution)


Scope = dict[str, str]  # names of ours, and what they are: modules, functions, classes or objects


class Reader(ast.NodeVisitor):
    """
    Looks up what one module uses.

    What an expression is follows from imports, annotations and assignments, like in a type checker
    but far simpler. Where that tells nothing, an attribute counts as one of rclpy if a class of
    rclpy has such a name in any distribution and nothing in `ours` has.

    ours: names that the package defines. known: members of rclpy's classes in any distribution.
    missing: what the distribution lacks. private: names that begin with an underscore.
    """

    def __init__(self, table: Table, ours: set[str], known: set[str]) -> None:
        self.missing: list[str] = []
        self.private: set[str] = set()
        self._table, self._ours, self._known = table, ours, known
        self._scopes: list[Scope] = [{}]
        self._attributes: list[Scope] = []  # of self, by class
        self._bases: list[list[str]] = []  # in rclpy, by class

    # --- imports ---

    def visit_Import(self, node: ast.Import) -> None:
        """Look up modules."""
        for alias in node.names:
            self._bring(alias.asname or alias.name.partition('.')[0], alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Look up names in a module."""
        for alias in node.names:
            self._bring(alias.asname or alias.name, f'{node.module}.{alias.name}', node)

    def visit_Try(self, node: ast.Try) -> None:
        """Of an import and what stands in for it, one must be there."""
        handler = next((h for h in node.handlers if 'ImportError' in ast.dump(h)), None)
        if not handler:
            return self.generic_visit(node)
        before = self.missing
        for body in (handler.body, node.body):  # the first choice last: its names stay
            self.missing = []
            for statement in body:
                self.visit(statement)
            if body is handler.body:
                has_other = not self.missing and any(map(_is_import, body))
        self.missing = before if has_other else before + self.missing
        return None

    def _bring(self, name: str, path: str, node: ast.AST) -> None:
        if path.partition('.')[0] != 'rclpy':
            return
        if '._' in path or path.startswith('rclpy.impl'):
            self.private.add(path)
        target = self._table.resolve(path)
        if target:
            self._scopes[-1][name] = 'rclpy' if name == 'rclpy' else target
        else:
            self._miss(path, node)

    def _miss(self, name: str, node: ast.AST) -> None:
        self.missing.append(f'line {node.lineno}: {name}')  # type: ignore[attr-defined]

    # --- what things are ---

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Note what `self` has before any of it is used; a base's private names are its own."""
        bases = [name for base in node.bases if self._table.is_class(name := self._is(base))]
        self._bases.append(bases)
        self._attributes.append({})
        methods = [n for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        names = {method.name for method in methods}
        for method in methods:
            self._scopes.append(self._parameters(method))
            for statement in ast.walk(method):
                self._assign(statement)
                if isinstance(statement, ast.Attribute) and _is_self(statement.value):
                    names.update({statement.attr} if _is_stored(statement) else ())
            self._scopes.pop()
        for name in names:
            for base in bases:
                self._use(self._table.find(base, name))
        self.generic_visit(node)
        self._bases.pop()
        self._attributes.pop()

    def _function(self, node: Function) -> None:
        self._scopes.append({**self._scopes[-1], **self._parameters(node)})
        self.generic_visit(node)
        self._scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815

    def _parameters(self, node: Function) -> Scope:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        return {a.arg: self._annotated(a.annotation) for a in arguments}

    def _annotated(self, annotation: ast.expr | None) -> str:
        if isinstance(annotation, ast.BinOp):  # X | None
            annotation = annotation.left
        name = self._is(annotation) if annotation else ''
        return name if self._table.is_class(name) else ''

    def visit_Assign(self, node: ast.Assign) -> None:
        """Note what a name is from now on."""
        self.generic_visit(node)
        self._assign(node)

    def _assign(self, node: ast.AST) -> None:
        for target, value in _assignments(node):
            kind = self._annotated(getattr(node, 'annotation', None)) or self._is(value)
            if isinstance(target, ast.Name):
                self._scopes[-1][target.id] = kind
            elif isinstance(target, ast.Attribute) and _is_self(target.value) and kind:
                self._attributes[-1][target.attr] = kind

    def _is(self, node: ast.expr | None) -> str:
        """Tell what an expression is; '' if that is not known, or not of rclpy."""
        if isinstance(node, ast.Name):
            return self._scopes[-1].get(node.id) or self._scopes[0].get(node.id, '')
        if isinstance(node, ast.Await):
            return self._is(node.value)
        if isinstance(node, ast.Call):
            name = self._is(node.func)
            function = self._table.function(name)
            made = function.returns if function else ''
            return name if self._table.is_class(name) else self._table.resolve(made)
        if isinstance(node, ast.Attribute):
            if _is_self(node.value) and self._attributes and node.attr in self._attributes[-1]:
                return self._attributes[-1][node.attr]
            for owner in self._owners(node.value):
                if member := self._table.find(owner, node.attr):
                    if member.parameters is None and member.returns:  # a property
                        return self._table.resolve(member.returns)
                    return self._table.resolve(f'{owner}.{node.attr}')
        return ''

    def _owners(self, node: ast.expr) -> list[str]:
        """Tell which modules or classes an expression takes its attributes from."""
        if self._bases and (_is_self(node) or ast.unparse(node) == 'super()'):
            return self._bases[-1]
        name = self._is(node)
        return [name] if self._table.has(name) else []

    # --- what is used ---

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Look an attribute up in its owners, or among those of all classes."""
        self.generic_visit(node)
        name, owners = node.attr, self._owners(node.value)
        found = [member for owner in owners if (member := self._table.find(owner, name))]
        if found:
            self._use(found[0])
        elif name in self._ours:
            pass
        elif owners and not _is_self(node.value) and all(map(self._table.is_whole, owners)):
            self._miss(f'{owners[0]}.{name}', node)
        elif name in self._table.by_name:
            self._use(self._table.by_name[name][0])
        elif name in self._known:
            self._miss(f'.{name}', node)

    def visit_Call(self, node: ast.Call) -> None:
        """Look up the keywords of a call, and names in getattr and its kin."""
        self.generic_visit(node)
        taken = self._taken(node.func)
        for keyword in node.keywords:
            if keyword.arg and taken and not {'**', keyword.arg} & taken:
                self._miss(f'{ast.unparse(node.func)}({keyword.arg}=)', keyword)
        if ast.unparse(node.func) in ('getattr', 'setattr', 'hasattr', 'delattr'):
            name = ast.literal_eval(node.args[1]) if isinstance(node.args[1], ast.Constant) else ''
            if name not in self._ours:
                self._use(next(iter(self._table.by_name.get(name, ())), None))

    def _taken(self, function: ast.expr) -> frozenset[str]:
        """Tell the parameters of a function, or of all that have its name; none if unknown."""
        name = self._is(function)
        if name:
            member = self._table.function(name)
            return member.parameters or frozenset() if member else frozenset()
        if isinstance(function, ast.Attribute) and function.attr not in self._ours:
            members = self._table.by_name.get(function.attr, ())
            return frozenset().union(*(m.parameters or {'**'} for m in members))
        return frozenset()

    def _use(self, member: Member | None) -> None:
        if member and member.name.startswith('_') and not member.name.endswith('__'):
            self.private.add(member.name)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == 'self'


def _is_stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Yield targets and values of an assignment."""
    targets = getattr(node, 'targets', []) if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    for target in targets:
        value = node.value  # type: ignore[attr-defined]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from zip(target.elts, value.elts, strict=False)
        else:
            yield target, value


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of functions, classes and attributes that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and _is_stored(node):
            yield node.attr
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
