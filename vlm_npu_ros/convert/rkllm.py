# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Make a .rkllm file with rkllm-toolkit, as a job (JSON) with its calibration data describes it.

    python convert_llm.py job.json MODEL_DIR

Needs nothing but rkllm-toolkit and Python 3.9: this file is copied to other machines.
"""

from __future__ import annotations

import argparse
import hashlib
from importlib.metadata import PackageNotFoundError, version
import json
import os
import sys

MISSING = 3  # exit status: the toolkit is missing


def main() -> int:
    """Run the job; print a line of JSON about the file at the end."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('job', help='job.json')
    parser.add_argument('model', help='folder of the Hugging Face model')
    args = parser.parse_args()
    with open(args.job, encoding='utf-8') as file:
        job = json.load(file)
    model = os.path.abspath(args.model)
    check_model(model, job['config_sha256'])
    try:
        from rkllm.api import RKLLM
    except ImportError as error:
        print(f'error: rkllm-toolkit cannot be used: {error}', file=sys.stderr)
        return MISSING
    check_transformers(job['transformers'])
    # The toolkit leaves files in the current folder, and the calibration data has paths relative
    # to it.
    os.chdir(os.path.dirname(os.path.abspath(args.job)))
    llm = RKLLM()
    step('Loading the model', lambda: llm.load_huggingface(model=model, **job['load']))
    step('Building', lambda: llm.build(**job['build']))
    step('Writing the file', lambda: llm.export_rkllm('./' + job['output']))
    print(json.dumps({
        'file': os.path.abspath(job['output']),
        'bytes': os.path.getsize(job['output']),
        'toolkit': installed('rkllm-toolkit'),
    }))
    return 0


def check_model(model: str, expected: str) -> None:
    """Exit if the model is not the one that the job was made for."""
    with open(os.path.join(model, 'config.json'), 'rb') as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != expected:
        sys.exit(f'error: {model}/config.json is not of the model that this job was made for')


def check_transformers(expected: str) -> None:
    """Warn if the calibration data comes from another version, whose model may differ inside."""
    found = installed('transformers')
    if expected and found != expected:
        print(
            f'Warning: the calibration data was made with transformers {expected}, this is '
            f'{found or "without"}. Make it in this environment if the toolkit refuses it',
            file=sys.stderr,
        )


def installed(package: str) -> str:
    """Return the version of a package, '' if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ''


def step(name: str, run) -> None:  # type: ignore[no-untyped-def]  # for Python 3.9
    """Run a step of the toolkit, which returns 0 or prints what is wrong."""
    print(f'{name} ...', flush=True)
    code = run()
    if code != 0:
        sys.exit(f'error: {name} failed: rkllm-toolkit returned {code}, see what it printed above')


if __name__ == '__main__':
    sys.exit(main())
