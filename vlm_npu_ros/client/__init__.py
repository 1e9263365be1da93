# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Ask a running vlm node from a Python program.

    with VlmClient() as vlm:
        print(vlm.ask('is the path clear?').text)
"""

from typing import TYPE_CHECKING

from vlm_npu_ros.client.answer import (
    Answer,
    AnswerFuture,
    AnswerStream,
    AskError,
    NodeUnavailableError,
    Place,
    VlmClientError,
)
from vlm_npu_ros.client.fields import AskFields

__all__ = [
    'Answer', 'AnswerFuture', 'AnswerStream', 'AskError', 'AskFields', 'Conversation',
    'NodeStatus', 'NodeUnavailableError', 'Place', 'VlmClient', 'VlmClientError',
]

if TYPE_CHECKING:
    from vlm_npu_ros.client.vlm_client import Conversation, NodeStatus, VlmClient
else:
    def __getattr__(name):
        """Import what needs ROS on first use, so that `vlm-npu ask --help` works without it."""
        if name not in __all__:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        from vlm_npu_ros.client import vlm_client

        return getattr(vlm_client, name)
