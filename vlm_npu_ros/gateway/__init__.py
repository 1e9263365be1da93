# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A small HTTP server: a page, chat completions, MCP and metrics, for people and programs."""
