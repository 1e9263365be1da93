# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Who else uses the shared memory by which Fast DDS delivers on one machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
import pwd

_SHARED_MEMORY = Path('/dev/shm')


def other_users(folder: Path = _SHARED_MEMORY) -> str:
    """
    Say which other users have ROS programs here, as the end of an error message; '' = none.

    Between users, nodes are discovered but nothing is delivered, because neither may write into
    the shared memory of the other.
    """
    owners = set()
    for path in folder.glob('fast*'):
        with contextlib.suppress(FileNotFoundError):  # its program has just ended
            owners.add(path.stat().st_uid)
    others = ', '.join(sorted(map(_name, owners - {os.geteuid()})))
    return others and (
        f'. ROS programs of another user ({others}) run here, and Fast DDS delivers nothing '
        'between users: run both as the same one, or see docs/board.md, "Containers"'
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container
        return str(user)
