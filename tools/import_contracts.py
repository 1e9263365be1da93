# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A contract for import-linter, see .importlinter."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class NoCircles(Contract):
    """
    No module imports itself, be it through others.

    The contract `acyclic_siblings` of import-linter asks for more: to it a package is one thing.
    """

    type_name = 'no_circles'

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find a circle."""
        imports = {module: graph.find_modules_directly_imported_by(module)
                   for module in graph.modules}
        try:
            TopologicalSorter(imports).prepare()
        except CycleError as error:
            return ContractCheck(kept=False, metadata={'circle': error.args[1]})
        return ContractCheck(kept=True)

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Show it."""
        output.print_error(' <- '.join(check.metadata['circle']))
