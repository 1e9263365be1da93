# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A language model that llama.cpp's server runs in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vlm_npu_ros.engine.backends.openai.language_model import RemoteLanguageModel
from vlm_npu_ros.engine.backends.openai.models import ServerModel
from vlm_npu_ros.engine.backends.openai.server import Server
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.control_tags import user_text
from vlm_npu_ros.engine.types import GenerationRequest, ReadAhead, Turn


class LlamaCppLanguageModel(RemoteLanguageModel):
    """
    Asks the server of llama.cpp that is in this process.

    llama: that server, which ends when nothing refers to it any more.
    server: speaks to it.
    """

    def __init__(
        self, llama: object, server: Server, settings: OpenAISettings, model: ServerModel,
        reads_ahead: bool,
    ) -> None:
        super().__init__(server, settings, model, model.context)
        self.read_ahead = ReadAhead.wanted(reads_ahead)
        self._llama: object | None = llama

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        # Other servers see to it themselves, or do not.
        turns = tuple(Turn(user_text(t.question), user_text(t.answer)) for t in request.turns)
        return super()._body(replace(
            request, question=user_text(request.question), turns=turns,
            system_prompt=user_text(request.system_prompt),
        ))

    def close(self) -> None:
        super().close()
        self._llama = None
