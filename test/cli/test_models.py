# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The vlm-npu models command, and that docs/models.md says the same."""

from __future__ import annotations

import json
from pathlib import Path
import re

import pytest
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.cli.models import HEADER, row
from vlm_npu_ros.engine.models import known_models, load_profile

PROFILES = [load_profile(name) for name in known_models()]
PAGE = Path(__file__).parents[2] / 'docs' / 'models.md'


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(['models']) == 0
    return capsys.readouterr().out


def one_line(text: str) -> str:
    return ' '.join(text.split())


def test_first_column_is_the_names(printed: str) -> None:
    table = printed[:printed.index('\n\n')].splitlines()
    assert [line.split()[0] for line in table] == [HEADER[0], *known_models()]


def test_table_is_aligned_plain_text_of_100_columns(printed: str) -> None:
    assert max(map(len, printed.splitlines())) <= 100
    assert len({len(line) for line in printed[:printed.index('\n\n')].splitlines()}) == 1
    assert printed.isascii()


def test_row_is_what_the_profile_says() -> None:
    assert row(load_profile('qwen3-vl-2b')) == (
        'qwen3-vl-2b', 'rknpu', '448:196 640:400 672:441 896:784', '3.1', '2.08', '302', '11.5',
        '31.9', '1.2.3',
    )


def test_inferred_figures_are_marked() -> None:
    assert row(load_profile('qwen2-vl-7b'))[3:8] == ('8.7', '~3.3', '~77', '3.7', '123.7')
    assert row(load_profile('qwen2-vl-7b'))[8].startswith('~')


def test_what_is_not_known_is_a_dash() -> None:
    assert row(load_profile('demo')) == ('demo', 'onnx', *'-------')


def test_sources_are_named(printed: str) -> None:
    text = one_line(printed)
    for profile in PROFILES:
        if profile.published:
            assert re.search(rf'{re.escape(profile.name)}[:,] ', text)
            assert profile.published.source in text


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['models', '--json']) == 0
    models = {model['name']: model for model in json.loads(capsys.readouterr().out)}
    assert sorted(models) == known_models()
    model, profile = models['deepseek-ocr'], load_profile('deepseek-ocr')
    assert model['image']['tokens'] == {'448': 57, '1024': 273}
    assert model['tags']['content'] == profile.tags.content
    assert model['published']['encode_seconds'] == 2.09
    assert models['internvl3.5-1b']['inferred'] == list(load_profile('internvl3.5-1b').inferred)
    assert models['demo']['folder'] == str(load_profile('demo').folder)


def test_page_has_the_figures_of_the_profiles() -> None:
    lines = [line for line in PAGE.read_text(encoding='utf-8').splitlines() if line[:1] == '|']
    cells = [tuple(c.strip() for c in line.strip('|').split('|')) for line in lines]
    on_npu = [row(profile) for profile in PROFILES if profile.backend == 'rknpu']
    start = cells.index((HEADER[0], *HEADER[2:]))
    assert cells[start + 2:start + 2 + len(on_npu)] == [(r[0], *r[2:]) for r in on_npu]


def test_page_has_the_sources_of_the_profiles() -> None:
    text = one_line(PAGE.read_text(encoding='utf-8'))
    for profile in PROFILES:
        if profile.published:
            assert re.search(
                rf'- [^:]*{re.escape(profile.name)}\b[^:]*: {re.escape(profile.published.source)}',
                text,
            )


def test_profile_on_the_page_loads(tmp_path: Path) -> None:
    (example,) = re.findall(r'```yaml\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL)
    path = tmp_path / 'my_model.yaml'
    path.write_text(example, encoding='utf-8')
    profile, near = load_profile(str(path)), load_profile('qwen3-vl-2b')
    assert profile.name == 'my-model'
    assert (profile.image.dim, profile.tags, profile.template) == (
        near.image.dim, near.tags, near.template,
    )
