# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import pickle
import re

from vlm_npu_ros.engine import errors
from vlm_npu_ros.engine.errors import BackendError, VlmError

ERROR_CODE_MSG = Path(__file__).parents[2] / 'msg' / 'ErrorCode.msg'

CONSTANTS = {
    'UNKNOWN': errors.VlmError,
    'NO_FRAME': errors.NoFrameError,
    'STALE_FRAME': errors.StaleFrameError,
    'BAD_IMAGE': errors.ImageError,
    'BAD_REQUEST': errors.RequestError,
    'CONTEXT_EXCEEDED': errors.ContextError,
    'BUSY': errors.BusyError,
    'INACTIVE': errors.InactiveError,
    'TIMEOUT': errors.AnswerTimeoutError,
    'CANCELLED': errors.CancelledError,
    'BACKEND_CRASHED': errors.BackendCrashedError,
    'BACKEND_UNAVAILABLE': errors.BackendUnavailableError,
    'MODEL_FILES': errors.ModelFileError,
    'UNSUPPORTED_RUNTIME': errors.UnsupportedRuntimeError,
    'NOT_SUPPORTED': errors.NotSupportedError,
    'EMPTY_ANSWER': errors.EmptyAnswerError,
    'BAD_ANSWER': errors.AnswerFormError,
}


def tree(root: type[VlmError], depth: int = 0) -> Iterator[tuple[int, type[VlmError]]]:
    yield depth, root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # those of the converter are no errors of the node
            yield from tree(child, depth + 1)


def error_types() -> list[type[VlmError]]:
    return [error for _, error in tree(VlmError)]


def test_message_constants_are_the_codes_of_the_errors() -> None:
    constants = re.findall(r'^uint16 (\w+)=(\d+)', ERROR_CODE_MSG.read_text(), re.MULTILINE)
    assert {name: int(code) for name, code in constants} == {
        'NONE': 0, **{name: error.code for name, error in CONSTANTS.items()},
    }


def test_every_error_has_a_code_of_its_own() -> None:
    # BackendError is never raised itself.
    concrete = [error for error in error_types() if error is not BackendError]
    assert all('code' in vars(error) for error in concrete)
    assert len({error.code for error in concrete}) == len(concrete)
    assert set(concrete) == set(CONSTANTS.values())


def test_docstring_draws_the_tree() -> None:
    line = re.compile(r'^([ |]*)(?:\+-- )?(\w+Error)(?: \((\d+)\))?$', re.MULTILINE)
    lines = line.findall(errors.__doc__)
    drawn = {(len(indent) // 5 + bool(indent), name, code) for indent, name, code in lines}
    assert drawn == {
        (depth, error.__name__, str(error.code) if 'code' in vars(error) else '')
        for depth, error in tree(VlmError)
    }
    assert len(lines) == len(drawn)


def test_errors_say_what_went_wrong_and_what_to_do() -> None:
    for error in error_types():
        assert error.__doc__
        assert str(error('The ball is blocked')) == 'The ball is blocked'
        assert error('The ball is blocked').remedy == ''
        assert str(error('The ball is blocked', 'Kick it')) == 'The ball is blocked. Kick it'


def test_copies_keep_both_parts() -> None:
    for kind in error_types():
        error = kind('The ball is blocked', 'Kick it')
        for copy in (pickle.loads(pickle.dumps(error)), type(error)(*error.args)):
            assert type(copy) is kind
            assert (copy.what, copy.remedy) == ('The ball is blocked', 'Kick it')
