# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Make the CMake files of the ROS 2 wheels in this virtual environment usable."""
import pathlib
import re
import sys
import sysconfig

import numpy

# The exported targets carry the paths of the machine that built the wheels; CMake refuses
# include directories that do not exist.
BUILD_PREFIX = r'/opt/python/cp3\d+-cp3\d+'
PLACES = {
    BUILD_PREFIX + r'/include/python3\.\d+': sysconfig.get_paths()['include'],
    BUILD_PREFIX + r'/lib/python3\.\d+/site-packages/numpy/_core/include': numpy.get_include(),
}


def main() -> int:
    """Replace the paths; the status is 1 if an unknown one is left."""
    for path in pathlib.Path(sys.prefix, 'share').rglob('*.cmake'):
        text = path.read_text(encoding='utf-8')
        fixed = text
        for pattern, place in PLACES.items():
            fixed = re.sub(pattern, lambda _, place=place: place, fixed)
        if '/opt/python/' in fixed:
            print(f'fix_wheels: unknown build path in {path}', file=sys.stderr)
            return 1
        if fixed != text:
            path.write_text(fixed, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
