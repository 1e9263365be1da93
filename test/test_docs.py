# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Links between the pages, and from the code to them, lead somewhere; their example works."""

from __future__ import annotations

from pathlib import Path
import re

import numpy as np
import outside
import pytest
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
SOURCES = [
    path
    for folder in ('vlm_npu_ros', 'config', 'launch', 'srv', 'msg', 'action', 'tools')
    for path in (ROOT / folder).rglob('*')
    if path.suffix in ('.py', '.yaml', '.xml', '.srv', '.msg', '.action')
]


def anchors(page: Path) -> set[str]:
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}


def broken(page: Path) -> list[str]:
    links = re.findall(r'\]\(([^)\s]+)\)', page.read_text(encoding='utf-8'))
    wrong = []
    for link in links:
        if '://' in link:
            continue
        name, _, anchor = link.partition('#')
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(f'{page.name}: {link}')
    return wrong


def test_links_between_pages_resolve() -> None:
    assert len(PAGES) > 10
    assert [link for page in PAGES for link in broken(page)] == []


def test_pages_that_the_code_names_exist() -> None:
    named = {
        name for path in SOURCES
        for name in re.findall(r'docs/\w+\.\w+', path.read_text(encoding='utf-8'))
    }
    assert 'docs/board.md' in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_architecture_names_files_and_functions_that_exist() -> None:
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    tables, rknpu = page.split('Backend `rknpu`')
    package = ROOT / 'vlm_npu_ros'
    files = set(re.findall(r'`((?:engine|node|client|gateway|nav)/[\w/]+\.py)`', tables))
    files |= {f'engine/backends/rknpu/{name}' for name in re.findall(r'`(\w+\.py)`', rknpu)}
    assert [name for name in sorted(files) if not (package / name).is_file()] == []
    present = {
        str(path.relative_to(package))
        for folder in ('engine', 'engine/choices', 'engine/locating', 'engine/backends/rknpu',
                       'node', 'client', 'gateway')
        for path in (package / folder).glob('[a-z]*.py')
    }
    assert present - files == set()
    for name, function in re.findall(r'`([\w/]+\.py)` `([\w.]+)`', tables):
        source = (package / name).read_text(encoding='utf-8')
        for part in function.split('.'):
            assert re.search(rf'(def|class) {part}\b', source), f'{name}: {function}'


def test_backend_on_the_page_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / 'docs' / 'backends.md').read_text(encoding='utf-8')
    (code,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    outside.install(tmp_path, 'brightness', code)
    monkeypatch.syspath_prepend(str(tmp_path))
    engine = load_engine(EngineSettings('brightness'))
    for pixel, said in (250, 'It is bright'), (5, 'It is dark'):
        image = engine.encode(np.full((4, 4, 3), pixel, np.uint8))
        assert engine.answer(GenerationRequest('how is it?', (image,))) == said
    engine.close()
