# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Ask a running node what its camera sees, and branch on a second answer."""

from vlm_npu_ros.client import AskError, VlmClient

with VlmClient() as vlm:
    vlm.wait_until_ready()
    with vlm.stream('what do you see?') as pieces:
        for piece in pieces:
            print(piece, end='', flush=True)
    print(f'\n({pieces.answer.age:.1f} s ago)')
    try:
        answer = vlm.ask('is the path clear?', yes_no=True, max_age=1.0, timeout=20.0)
    except AskError as error:  # no frame, too old, no answer in time: the robot stays
        print(f'stop: {error}')
    else:
        # It may be unclear, too.
        print('drive' if answer.choice == 'yes' else 'stop', f'({answer.choice})')
