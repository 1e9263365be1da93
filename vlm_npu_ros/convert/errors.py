# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a conversion ends in, with the exit code of the command.

ConversionError (1)
 +-- UsageError (2)
 +-- ToolkitMissingError (3)
 +-- CheckFailedError (4)
"""

from __future__ import annotations

from vlm_npu_ros.engine.errors import VlmError


class ConversionError(VlmError):
    """A stage failed, or a file is not what it must be."""

    exit_code = 1


class UsageError(ConversionError):
    """The arguments do not fit together, or the model does not have what they ask for."""

    exit_code = 2


class ToolkitMissingError(ConversionError):
    """A library that the stage needs is not installed where it runs, or in another version."""

    exit_code = 3


class CheckFailedError(ConversionError):
    """What was made does not do what the original does, or not what the profile says."""

    exit_code = 4
