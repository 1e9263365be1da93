# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Synthetic scenes: what the demo model was trained on and what the demo shows."""
