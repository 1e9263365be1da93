# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Questions to an engine in the process."""

from __future__ import annotations

import asyncio
from typing import Any

from served import scripted
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.gateway.source import Question


def test_fields_that_a_node_would_refuse_are_refused() -> None:
    source = scripted(['Yes, it is.'])

    async def asked(fields: Any) -> Answer:
        items = [item async for item in source.ask(Question('is it red?', fields))]
        answer = items[-1]
        assert isinstance(answer, Answer)
        return answer

    async def ask_all() -> None:
        for fields, words in (
            ({'choices': ['red']}, 'needs 2 to 64 choices'),
            ({'choices': ['red', 'Red']}, "'Red' is given twice"),
            ({'choices': ['red', '?']}, 'must have a letter'),
            ({'yes_no': True, 'number': True}, 'yes_no and number are both given'),
            ({'number': True, 'minimum': 5.0, 'maximum': 1.0}, 'are no range'),
            ({'yes_no': True, 'min_confidence': 7.0}, 'min_confidence must be from 0 to 1'),
            ({'camera': 'front'}, 'camera is for cameras'),
        ):
            answer = await asked(fields)
            assert not answer.ok and words in answer.error, fields
        assert (await asked({'yes_no': True, 'json_schema': ''})).choice == 'yes'
        await source.close()

    asyncio.run(ask_all())
