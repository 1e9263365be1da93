# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Tests of conversions; those that need the real toolkits run only where they are asked for."""

from __future__ import annotations

import os

# See test-convert and test-convert-families in the Makefile.
collect_ignore = [] if os.environ.get('VLM_NPU_ROS_REAL_TOOLKITS') else ['real']
