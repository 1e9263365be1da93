"""
Ask a running vlm node from a Python program.

    with VlmClient() as vlm:
        print(vlm.ask('is the path clear?').text)
"""

from vlm_npu_ros.client.answer import (
    Answer,
    AnswerFuture,
    AnswerStream,
    AskError,
    NodeUnavailableError,
    VlmClientError,
)
from vlm_npu_ros.client.messages import AskFields, Conversation
from vlm_npu_ros.client.vlm_client import NodeStatus, VlmClient

__all__ = [
    'Answer', 'AnswerFuture', 'AnswerStream', 'AskError', 'AskFields', 'Conversation',
    'NodeStatus', 'NodeUnavailableError', 'VlmClient', 'VlmClientError',
]
