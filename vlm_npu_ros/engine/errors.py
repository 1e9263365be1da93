# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Errors of questions, frames and models, each with its ROS error code.

VlmError (9500)
 +-- NoFrameError (9501)
 +-- StaleFrameError (9502)
 +-- ImageError (9503)
 +-- RequestError (9504)
 |    +-- ContextError (9505)
 |    +-- NotSupportedError (9514)
 +-- BusyError (9506)
 +-- InactiveError (9507)
 +-- AnswerTimeoutError (9508)
 +-- CancelledError (9509)
 +-- EmptyAnswerError (9515)
 +-- AnswerFormError (9516)
 +-- BackendError
      +-- BackendCrashedError (9510)
      +-- BackendUnavailableError (9511)
      +-- ModelFileError (9512)
      +-- UnsupportedRuntimeError (9513)

`code` is the ROS error_code: msg/ErrorCode.msg has the same table.
"""

from __future__ import annotations


class VlmError(Exception):
    """
    Base of all; raised itself only for a fault of this package.

    what: what went wrong. remedy: what to do about it, as a sentence; '' = unknown.
    `str` joins both for people; programs read the fields instead of parsing the text.
    """

    code = 9500

    def __init__(self, what: str = '', remedy: str = '') -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return f'{self.what}. {self.remedy}' if self.remedy else self.what


def as_vlm_error(error: Exception, kind: type[VlmError] = VlmError) -> VlmError:
    """Return an error of ours as it is, and any other one as one of this kind."""
    return error if isinstance(error, VlmError) else kind(f'{type(error).__name__}: {error}')


class NoFrameError(VlmError):
    """The camera has delivered no frame, or none since the time asked for."""

    code = 9501


class StaleFrameError(VlmError):
    """The newest frame is older than the question allows."""

    code = 9502


class ImageError(VlmError):
    """An image is empty, truncated or in an unknown encoding."""

    code = 9503


class RequestError(VlmError):
    """A question or one of its options cannot be answered as it stands."""

    code = 9504


class ContextError(RequestError):
    """
    Question, image and answer do not fit into the model's context.

    size: tokens of the context, where a server tells them; 0 = unknown.
    """

    code = 9505
    size = 0


class NotSupportedError(RequestError):
    """The request is valid, but not possible with this runtime."""

    code = 9514


class BusyError(VlmError):
    """The queue is full, or a newer question took its place."""

    code = 9506


class InactiveError(VlmError):
    """The node or engine is not in a state that answers questions."""

    code = 9507


class AnswerTimeoutError(VlmError):
    """The answer was not complete in time."""

    code = 9508


class CancelledError(VlmError):
    """The client cancelled the question, or has disappeared."""

    code = 9509


class EmptyAnswerError(VlmError):
    """The model ended without an answer: it refused, or only thought."""

    code = 9515


class AnswerFormError(VlmError):
    """
    The answer has not the form that was asked for, such as JSON of a schema.

    text: what the model wrote.
    """

    code = 9516
    text = ''


class BackendError(VlmError):
    """Base of the errors of a model backend."""


class BackendCrashedError(BackendError):
    """The model runtime failed while it was working."""

    code = 9510


class BackendUnavailableError(BackendError):
    """The model runtime, its server or a library is not available."""

    code = 9511


class ModelFileError(BackendError):
    """A model file is missing, unreadable or does not match the others."""

    code = 9512


class UnsupportedRuntimeError(BackendError):
    """The runtime, driver or platform is not supported."""

    code = 9513
