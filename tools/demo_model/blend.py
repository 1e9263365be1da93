# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Average two exported language models, weight by weight.

    python tools/demo_model/blend.py FIRST SECOND SHARE OUTPUT     (SHARE of the second one)

Runs that began at the same weights can be averaged, and a little of the weights before a second
stage brings back what that stage cost (Wortsman et al., arXiv 2203.05482 and 2109.01903). Rows of
words that only the first one knows stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def main() -> None:
    """Read both, write the blend."""
    parser = argparse.ArgumentParser(description='Average two exported language models.')
    parser.add_argument('first', type=Path)
    parser.add_argument('second', type=Path)
    parser.add_argument('share', type=float, help='of the second one, 0 to 1')
    parser.add_argument('output', type=Path)
    args = parser.parse_args()
    model, other = onnx.load(args.first), onnx.load(args.second)
    for ours, theirs in zip(model.graph.initializer, other.graph.initializer, strict=True):
        first, second = numpy_helper.to_array(ours), numpy_helper.to_array(theirs)
        if first.dtype == np.float32:
            ours.CopyFrom(numpy_helper.from_array(blend(first, second, args.share), ours.name))
    onnx.save(model, args.output)


def blend(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Average two weights; `second` may be shorter along any axis."""
    result = first.copy()
    common = tuple(slice(length) for length in second.shape)
    result[common] = (1 - share) * first[common] + share * second
    return result


if __name__ == '__main__':
    main()
