# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Every name of rclpy that is used exists in each distribution; private ones are listed here."""

from __future__ import annotations

import ast
from functools import cache
import importlib
from pathlib import Path
import pkgutil

import pytest
from rclpy_usage import defined, Reader, table

DISTRIBUTIONS = ('humble', 'jazzy', 'kilted', 'lyrical')
WINGS = ('client', 'nav', 'node')
PACKAGE = Path(__file__).parents[2] / 'vlm_npu_ros'

# At most two, each with the reason and with what happens where it is missing.
PRIVATE = {
    '__change_state': (
        'before 8.0 it raises where a transition is not possible, and no response is sent; '
        'where it is missing, rclpy refuses such a transition itself'
    ),
    '_state_machine': (
        'tells the state and which transitions are possible, and is to be let go of; all four '
        'distributions have it, there is no public way'
    ),
}
# What the reader must find, by distribution: one line of a module and what is missing or private.
PLANTED = {
    'import rclpy.event_handler': ({'humble'}, set()),
    'from rclpy.qos_event import PublisherEventCallbacks': ({'lyrical'}, set()),
    'node.get_logger().warn("")': ({'lyrical'}, set()),
    'foreign.get_logger().warn("")': ({'lyrical'}, set()),
    'node.create_timer(1, print, autostart=False)': ({'humble'}, set()),
    'foreign.create_timer(1, print, autostart=False)': ({'humble'}, set()),
    'node.create_timer(1, print).time_till_next_call()': (set(DISTRIBUTIONS), set()),
    'rclpy.spin_for_ever(node)': (set(DISTRIBUTIONS), set()),
    'rclpy.qos.ReliabilityPolicy.TCP': (set(DISTRIBUTIONS), set()),
    'node._clock': (set(), {'_clock'}),
    'foreign._default_callback_group': (set(), {'_default_callback_group'}),
    'getattr(foreign, "_default_callback_group")': (set(), {'_default_callback_group'}),
    'Ours()': (set(), set()),
}
MODULE = """
import rclpy
from rclpy.node import Node

class Ours(Node):
    def __init__(self):
        self.client = self.create_client(int, 'ask', qos_profile=10)

def use(node: Node, foreign):
    node.create_timer(1, callback=print).cancel()
    {line}
"""


@cache
def trees() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding='utf-8'))
        for path in sorted(PACKAGE.rglob('*.py'))
    }


@cache
def ours() -> set[str]:
    return {name for tree in trees().values() for name in defined(tree)}


def read(distribution: str, tree: ast.Module, ours: set[str]) -> Reader:
    known = {name for each in DISTRIBUTIONS for name in table(each).by_name}
    reader = Reader(table(distribution), ours, known)
    reader.visit(tree)
    return reader


def test_modules_are_imported() -> None:
    for wing in WINGS:
        package = importlib.import_module(f'vlm_npu_ros.{wing}')
        for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
            importlib.import_module(module.name)


@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_names_exist_and_private_ones_are_listed(distribution: str) -> None:
    missing, private = [], set()
    for path, tree in trees().items():
        if path.startswith(WINGS):
            reader = read(distribution, tree, ours())
            missing += [f'{path}, {name}' for name in reader.missing]
            private |= reader.private
    assert not missing, f'rclpy {table(distribution).version} lacks ' + '\n'.join(missing)
    assert private == set(PRIVATE)
    assert len(PRIVATE) <= 2


def test_reader_finds_what_is_wrong() -> None:
    for line, (lacking, private) in PLANTED.items():
        readers = {d: read(d, ast.parse(MODULE.format(line=line)), {'client'})
                   for d in DISTRIBUTIONS}
        assert {d for d, reader in readers.items() if reader.missing} == lacking, line
        assert set.union(*(reader.private for reader in readers.values())) == private, line


def test_an_import_may_have_a_stand_in() -> None:
    text = """
try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:
    from rclpy.{} import PublisherEventCallbacks
"""
    for stand_in, lacking in ('qos_event', set()), ('qos', {'humble'}):
        tree = ast.parse(text.format(stand_in))
        assert {d for d in DISTRIBUTIONS if read(d, tree, set()).missing} == lacking
