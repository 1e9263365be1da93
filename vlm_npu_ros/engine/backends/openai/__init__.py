# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Chat completions of a server that speaks the OpenAI protocol."""

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.openai.opening import load
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings

BACKEND = Backend('openai', 'a server', load, OpenAISettings, remote=True)
