# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Choices: how they are asked for, and which one an answer decides for."""
