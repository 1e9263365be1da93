# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path

import pytest
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import known_models, load_profile, ModelProfile
from vlm_npu_ros.engine.share import share_dir

DATA = Path(__file__).parents[1] / 'data'
PROFILE = {
    'name': 'mine', 'backend': 'onnx', 'folder': 'files', 'encoder': 'see.onnx',
    'language_model': 'talk.onnx', 'tokenizer': 'words.json', 'context': '512',
}

SHIPPED = [load_profile(name) for name in known_models()]
ON_NPU = [profile for profile in SHIPPED if profile.backend == 'rknpu']


def write(path: Path, **changes: str | None) -> str:
    """Write PROFILE with some values changed or, where None, left out; return the path."""
    values = {key: value for key, value in {**PROFILE, **changes}.items() if value is not None}
    path.write_text('\n'.join(f'{key}: {value}' for key, value in values.items()))
    return str(path)


def named(profile: ModelProfile) -> str:
    return profile.name


@pytest.mark.parametrize('name', known_models())
def test_shipped_profile_is_of_its_own_name(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize('profile', [p for p in SHIPPED if p.backend == 'onnx'], ids=named)
def test_onnx_profile_has_its_files(profile: ModelProfile) -> None:
    assert profile.folder
    assert profile.folder.is_relative_to(share_dir())
    for file in (profile.encoder, profile.language_model, profile.tokenizer,
                 profile.locator, profile.locator_tokenizer):
        assert (profile.folder / file).is_file()


def test_demo_is_known() -> None:
    assert 'demo' in known_models()


def test_folder_is_beside_a_profile_of_your_own(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / 'mine.yaml'))
    assert profile.folder == tmp_path / 'files'
    assert (profile.name, profile.encoder, profile.context) == ('mine', 'see.onnx', 512)


def test_absolute_folder_stays(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / 'mine.yaml', folder='/opt/models'))
    assert profile.folder == Path('/opt/models')


@pytest.mark.parametrize('name', ['', 'nothing', '/nothing.yaml', '.yaml', 'n' * 300, 'nul\0'])
def test_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ModelFileError, match='no model profile .*Choose one of .*demo') as caught:
        load_profile(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize('changes', [
    {'tokenizer': None},
    {'locator': 'where.onnx'},
    {'folder': None},
    {'contextt': '512'},
    {'folder': '3'},
    {'encoder': '5'},
    {'name': 'null'},
    {'tokenizer': '[words.json]'},
    {'name': '2024-99-99'},  # looks like a date
    {'context': 'many'},
    {'context': '-1'},
    {'context': '0'},
    {'context': '1.5'},
    {'context': 'true'},
])
def test_wrong_value_is_an_error_that_names_the_file(
    changes: dict[str, str | None], tmp_path: Path,
) -> None:
    path = write(tmp_path / 'mine.yaml', **changes)
    with pytest.raises(ModelFileError) as caught:
        load_profile(path)
    assert path in str(caught.value)


@pytest.mark.parametrize('data', [
    b'', b'just text', b'[1, 2]', b'a: [', b'{1: 2, folder: .}', b'\xff\xfe\xfd', b'\0' * 20,
    b'[' * 5000,
], ids=lambda data: repr(data[:20]))
def test_no_profile_is_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match='is not a valid model profile') as caught:
        load_profile(str(path))
    assert str(path) in str(caught.value)


# Nested fields, and what the backend rknpu needs.

NPU_PROFILE = """\
name: mine
backend: rknpu
files: mine
context: 512
image: {tokens: {448: 196}, outputs: 1, dim: 8, mean: [0, 0.5, 0.5], std: [1, 0.5, 0.5]}
tags: {start: '<s>', end: '</s>', content: '<c>'}
template: {system: '', prefix: '<u>', postfix: '<a>'}
stop: ['<e>']
min_runtime: '1.2.3'
published: {source: me, ram_gb: 2}
inferred: [image.dim]
"""


def write_npu_profile(path: Path, old: str = '', new: str = '') -> str:
    """Write NPU_PROFILE with one text replaced; return the path."""
    assert old in NPU_PROFILE
    path.write_text(NPU_PROFILE.replace(old, new) if old else NPU_PROFILE)
    return str(path)


def test_reads_nested_fields(tmp_path: Path) -> None:
    profile = load_profile(write_npu_profile(tmp_path / 'mine.yaml'))
    assert profile.image and profile.tags and profile.template and profile.published
    assert profile.image.tokens == {448: 196}
    assert profile.image.mean == (0.0, 0.5, 0.5)
    assert [type(value) for value in profile.image.mean] == [float] * 3
    assert (profile.tags.end, profile.template.prefix, profile.stop) == ('</s>', '<u>', ('<e>',))
    assert (profile.published.ram_gb, profile.published.decode_rate) == (2.0, None)
    assert profile.folder is None


@pytest.mark.parametrize('old', [
    "template: {system: '', prefix: '<u>', postfix: '<a>'}\n",
    "{system: '', prefix: '<u>', postfix: '<a>'}",
])
def test_template_may_be_left_to_the_model(old: str, tmp_path: Path) -> None:
    assert load_profile(write_npu_profile(tmp_path / 'mine.yaml', old)).template is None


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ('{448: 196}', '{}', 'image.tokens'),
    ('{448: 196}', '{448: many}', 'image.tokens must be a whole number'),
    ('{448: 196}', '{big: 196}', "image.tokens must be a whole number, not 'big'"),
    ('{448: 196}', '[448, 196]', 'image.tokens must be a mapping'),
    ('{448: 196}', '{448: 0}', 'above 0'),
    ('dim: 8', 'dim: 8.5', 'image.dim must be a whole number, not 8.5'),
    ('dim: 8, ', '', 'image.dim missing'),
    ('dim: 8', 'dim: 8, width: 8', 'image.width is not one of tokens, outputs, dim'),
    ('[0, 0.5, 0.5]', '[0.5, 0.5]', 'image.mean must have 3 entries, not 2'),
    ('[0, 0.5, 0.5]', '0.5', 'image.mean must be a list'),
    ('[1, 0.5, 0.5]', '[1, 0, 0.5]', 'image.std must be above 0'),
    ("start: '<s>'", 'start: 1', 'tags.start must be text'),
    ("start: '<s>', ", '', 'tags.start missing'),
    ("content: '<c>'", 'content: null', 'tags.content must be text'),
    ("prefix: '<u>'", 'prefix: [a]', 'template.prefix must be text'),
    ("['<e>']", '<e>', 'stop must be a list'),
    ("['<e>']", '[1]', 'stop must be text'),
    ('source: me, ', '', 'published.source missing'),
    ('ram_gb: 2', 'ram_gb: two', 'published.ram_gb must be a number'),
    ('ram_gb: 2', 'ram_gb: true', 'published.ram_gb must be a number'),
    ("'1.2.3'", '1.2', 'min_runtime must be text'),
    ("'1.2.3'", "'1.2.9'", 'min_runtime must be one of 1.1.0, .*1.3.0'),
    ('files: mine', "files: '['", 'files is not a regular expression'),
    ('files: mine\n', '', 'backend rknpu needs files'),
    ("tags: {start: '<s>', end: '</s>', content: '<c>'}\n", '', 'backend rknpu needs tags'),
    ("min_runtime: '1.2.3'\n", '', 'backend rknpu needs min_runtime'),
])
def test_wrong_nested_value_is_an_error_that_names_file_and_field(
    old: str, new: str, words: str, tmp_path: Path,
) -> None:
    path = write_npu_profile(tmp_path / 'mine.yaml', old, new)
    with pytest.raises(ModelFileError, match=words) as caught:
        load_profile(path)
    assert path in str(caught.value)


# What is shipped for the NPU.

FAMILIES: dict[str, tuple[Callable[[int], int], str]] = {
    'qwen3-vl': (lambda side: (side // 32) ** 2, '<|vision_start|> <|vision_end|> <|image_pad|>'),
    'qwen3.5': (lambda side: (side // 32) ** 2, '<|vision_start|> <|vision_end|> <|image_pad|>'),
    'qwen2': (lambda side: (side // 28) ** 2, '<|vision_start|> <|vision_end|> <|image_pad|>'),
    'internvl': (lambda side: (side // 28) ** 2, '<img> </img> <IMG_CONTEXT>'),
    'smolvlm2-2.2b': (
        lambda side: (side // 14 // 3) ** 2,
        '<fake_token_around_image><global-img> <fake_token_around_image> <image>',
    ),
    'smolvlm2': (
        lambda side: (side // 64) ** 2,
        '<fake_token_around_image><global-img> <fake_token_around_image> <image>',
    ),
    'gemma4': (lambda side: (side // 48) ** 2, '<|image> <image|> <|image|>'),
    'lfm2.5-vl': (lambda side: (side // 32) ** 2, '<|image_start|> <|image_end|> <image>'),
    'deepseek-ocr': (
        lambda side: side // 64 * (side // 64 + 1) + 1, '  <\uff5c\u2581pad\u2581\uff5c>'
    ),
    'minicpm-v': (lambda side: 64, '<image> </image> <unk>'),
}


@pytest.mark.parametrize('profile', ON_NPU, ids=named)
def test_tokens_and_tags_are_those_of_the_family(profile: ModelProfile) -> None:
    family = next(name for name in FAMILIES if profile.name.startswith(name))
    tokens, tags = FAMILIES[family]
    assert profile.image and profile.tags
    assert profile.image.tokens == {side: tokens(side) for side in profile.image.tokens}
    assert f'{profile.tags.start} {profile.tags.end} {profile.tags.content}' == tags


@pytest.mark.parametrize('profile', ON_NPU, ids=named)
def test_template_ends_turns_as_answers_end(profile: ModelProfile) -> None:
    assert profile.stop
    if profile.template is None:
        # Older runtimes leave the template to the caller.
        assert not profile.min_runtime.startswith('1.1')
    else:
        end = profile.template.postfix.split('\n')[0]
        assert end in profile.stop
        assert profile.template.prefix.startswith('<|im_start|>')
        assert profile.template.postfix.lower().rstrip('\n:').endswith('assistant')


@pytest.mark.parametrize('profile', ON_NPU, ids=named)
def test_npu_profile_is_complete(profile: ModelProfile) -> None:
    assert profile.title and profile.published
    assert profile.context % 32 == profile.max_context % 32 == 0
    assert profile.context <= profile.max_context
    for name in profile.inferred:
        value: object = profile
        for part in name.split('.'):
            value = getattr(value, part)
        assert value is not None, name


# Which model the files are.

PAIRS = [
    ('qwen3-vl-2b', 'qwen3-vl-2b-vision_rk3588.rknn', 'qwen3-vl-2b-instruct_w8a8_rk3588.rkllm'),
    ('qwen3-vl-2b', 'qwen3-vl-2b_vision_672_rk3588.rknn', 'Qwen3-VL-2B-Instruct_W8A8.rkllm'),
    ('qwen3-vl-4b', 'qwen3-vl-4b-vision_rk3588.rknn', 'qwen3-vl-4b-instruct_w8a8_rk3588.rkllm'),
    (
        'internvl3.5-1b', 'internvl3_5-1b_vision_rk3588.rknn',
        'internvl3_5-1b-instruct_w8a8_rk3588.rkllm',
    ),
    (
        'internvl3.5-2b', 'internvl3_5-2b_vision_rk3588.rknn',
        'internvl3_5-2b-instruct_w8a8_rk3588.rkllm',
    ),
    (
        'internvl3.5-4b', 'internvl3_5-4b_vision_rk3588.rknn',
        'internvl3_5-4b-instruct_w8a8_rk3588.rkllm',
    ),
    (
        'internvl3.5-8b', 'internvl3_5-8b_vision_rk3588.rknn',
        'internvl3_5-8b-instruct_w8a8_rk3588.rkllm',
    ),
    ('internvl3-1b', 'internvl3-1b_vision_fp16_rk3588.rknn', 'internvl3-1b_w8a8_rk3588.rkllm'),
    (
        'qwen2.5-vl-3b', 'qwen2.5-vl-3b_vision_rk3588.rknn',
        'qwen2.5-vl-3b-instruct_w8a8_rk3588.rkllm',
    ),
    ('qwen2.5-vl-3b', 'qwen2_5_vl_3b_vision_rk3588.rknn', 'Qwen2.5-VL-3B-Instruct.rkllm'),
    ('qwen2-vl-2b', 'Qwen2-VL-2B_vision_rk3588.rknn', 'Qwen2-VL-2B_llm_w8a8_rk3588.rkllm'),
    ('qwen2-vl-7b', 'Qwen2_VL_7B_vision_rk3588.rknn', 'Qwen2-VL-7B_llm_w8a8_rk3588.rkllm'),
    (
        'smolvlm2-256m', 'smolvlm2_256m_vision_fp16_rk3588.rknn',
        'smolvlm2-256m-video-instruct_w8a8_rk3588.rkllm',
    ),
    (
        'smolvlm2-500m', 'smolvlm2_500m_vision_fp16_rk3588.rknn',
        'smolvlm2_500m_llm_w8a8_rk3588.rkllm',
    ),
    (
        'smolvlm2-2.2b', 'smolvlm2-2.2b_vision_fp16_rk3588.rknn',
        'smolvlm2-2.2b-instruct_w8a8_rk3588.rkllm',
    ),
    ('qwen3.5-0.8b', 'qwen3.5-0.8b-vision_rk3588.rknn', 'qwen3.5-0.8b_w8a8_rk3588.rkllm'),
    ('qwen3.5-2b', 'Qwen3.5-2B_vision_RK3588.rknn', 'Qwen3.5-2B_RK3588_w8a8.rkllm'),
    ('qwen3.5-4b', 'qwen3.5-4b-vision_rk3588.rknn', 'qwen3.5-4b_w8a8_rk3588.rkllm'),
    ('gemma4-e2b', 'gemma4-e2b_vision_rk3588.rknn', 'gemma-4-E2B-it_W8A8_RK3588.rkllm'),
    ('lfm2.5-vl-450m', 'lfm2_5-vl-450m_vision.rknn', 'LFM2.5-VL-450M_w8a8_rk3588.rkllm'),
    ('deepseek-ocr', 'deepseekocr_vision_rk3588.rknn', 'deepseekocr_w8a8_rk3588.rkllm'),
    ('minicpm-v-2.6', 'MiniCPM-V-2_6_vision_rk3588.rknn', 'minicpm-v-2_6_w8a8_rk3588.rkllm'),
]
# Usual names that tell nothing.
GENERIC = (Path('vision_encoder.rknn'), Path('language_model_w8a8.rkllm'))


def described(profile: ModelProfile, size: int = 0, folded: bool = True) -> RknnFile:
    """Return what a file of the model says of itself; size 0: the first that is known."""
    image = profile.image
    assert image
    size = size or next(iter(image.tokens))
    return RknnFile(
        path=GENERIC[0], size=size, layout='nhwc', platform='rk3588', toolkit='2.3.2',
        mean=tuple(round(255 * v, 2) for v in image.mean) if folded else None,
        std=tuple(round(255 * v, 2) for v in image.std) if folded else None,
        outputs=((image.tokens_at(size) or 99, image.dim),) * image.outputs, custom_string='',
    )


def find(encoder: str | Path, language_model: str | Path, rknn: RknnFile | None = None) -> str:
    return find_model('auto', Path(encoder), Path(language_model), rknn).name


@pytest.mark.parametrize(('model', 'encoder', 'language_model'), PAIRS)
def test_usual_file_names_tell_the_model(model: str, encoder: str, language_model: str) -> None:
    assert find(encoder, language_model) == model
    assert find(encoder, 'language_model.rkllm') == model
    assert find('vision.rknn', f'/opt/models/{language_model.upper()}') == model


def test_every_npu_profile_has_usual_file_names() -> None:
    assert {model for model, *_ in PAIRS} == {profile.name for profile in ON_NPU}


@pytest.mark.parametrize('name', [
    'vision_encoder.rknn', 'qwen.rkllm', 'internvl3_5-14b.rkllm', 'qwen3-vl-32b.rkllm',
    'qwen2.5-vl-7b.rkllm', 'qwen3-4b.rkllm', 'deepseek-ocr-2.rkllm', 'minicpm-v-4.rkllm',
    'internvl2-1b.rkllm', 'qwen2.5-3b.rkllm',
])
def test_names_of_other_models_tell_nothing(name: str) -> None:
    with pytest.raises(ModelFileError, match='cannot be told') as caught:
        find(*GENERIC[:1], name)
    assert all(profile.name in str(caught.value) for profile in ON_NPU)


@pytest.mark.parametrize(
    ('profile', 'size'),
    [(profile, size) for profile in ON_NPU if profile.image for size in profile.image.tokens],
    ids=lambda value: getattr(value, 'name', str(value)),
)
def test_format_tells_the_model_where_names_do_not(profile: ModelProfile, size: int) -> None:
    assert find(*GENERIC, described(profile, size)) == profile.name


def test_files_of_476_pixels_that_are_normalised_outside_are_qwen_2_5_vl() -> None:
    rknn = described(load_profile('qwen2.5-vl-3b'), 476, folded=False)
    assert find(*GENERIC, rknn) == 'qwen2.5-vl-3b'


def test_files_called_qwen_may_be_minicpm() -> None:
    rknn = described(load_profile('minicpm-v-2.6'))
    assert find('vision_transformer.rknn', 'qwen.rkllm', rknn) == 'minicpm-v-2.6'


def test_format_of_two_models_is_an_error_that_names_them() -> None:
    rknn = described(load_profile('qwen2.5-vl-3b'), 448, folded=False)
    with pytest.raises(ModelFileError, match=r'encoder internvl3\.5-2b or qwen2\.5-vl-3b\. '):
        find(*GENERIC, rknn)


def test_size_that_is_not_known_needs_a_name() -> None:
    rknn = described(load_profile('qwen2-vl-2b'), 1008)
    assert find('qwen2-vl-2b.rknn', 'qwen2-vl-2b.rkllm', rknn) == 'qwen2-vl-2b'
    with pytest.raises(ModelFileError, match='encoder none that is known'):
        find(*GENERIC, rknn)


def test_side_that_is_not_a_multiple_of_a_token_is_an_error() -> None:
    gemma = load_profile('gemma4-e2b')
    assert gemma.image
    names = PAIRS[[model for model, *_ in PAIRS].index('gemma4-e2b')][1:]
    assert [gemma.image.tokens_at(side) for side in (480, 624, 448)] == [100, 169, None]
    right = replace(described(gemma, 480), size=624, outputs=((169, 1536),))
    assert find(*names, right) == 'gemma4-e2b'
    for size, tokens in ((448, 100), (624, 170)):
        wrong = replace(right, size=size, outputs=((tokens, 1536),))
        with pytest.raises(ModelFileError, match='by the shapes of the encoder none'):
            find(*names, wrong)
        with pytest.raises(ModelFileError, match='multiples of 48|is 170'):
            check_agreement(wrong, 'the file', gemma, 'rk3588', 0)


def test_files_of_two_models_are_an_error() -> None:
    with pytest.raises(ModelFileError, match='by their names it is none that is known'):
        find('qwen3-vl-2b.rknn', 'qwen3-vl-4b.rkllm', described(load_profile('qwen3-vl-2b')))


@pytest.mark.parametrize('wrong', [
    {'outputs': ((196, 2048),)},
    {'outputs': ((196, 2560),) * 4},
    {'outputs': ((195, 2048),) * 4},
    {'mean': (123.7, 116.3, 103.5)},
    {'std': (1.0, 1.0, 1.0)},
])
def test_format_that_contradicts_the_name_is_an_error(wrong: dict[str, object]) -> None:
    rknn = replace(described(load_profile('qwen3-vl-2b')), **wrong)
    with pytest.raises(ModelFileError, match='names it is qwen3-vl-2b, .* none that is known'):
        find('qwen3-vl-2b.rknn', 'qwen3-vl-2b.rkllm', rknn)


def test_file_that_names_its_model_is_believed() -> None:
    rknn = described(load_profile('qwen3-vl-2b'))
    rknn = replace(rknn, custom_string=json.dumps({'model': 'qwen3-vl-4b', 'more': 1}))
    assert find('qwen3-vl-2b.rknn', 'language_model.rkllm', rknn) == 'qwen3-vl-4b'


@pytest.mark.parametrize('text', ['', 'made by me', '[1]', '{"name": "qwen3-vl-4b"}', '{"model'])
def test_custom_string_of_others_says_nothing(text: str) -> None:
    rknn = replace(described(load_profile('qwen3-vl-2b')), custom_string=text)
    assert find(*GENERIC, rknn) == 'qwen3-vl-2b'


def test_file_that_names_no_known_npu_model_is_an_error() -> None:
    path = DATA / 'demo_encoder.rknn'
    with pytest.raises(ModelFileError, match="model 'demo', which is not known") as caught:
        find(path, 'demo.rkllm', RknnFile.read(path))
    assert str(path) in str(caught.value)


def test_given_name_counts_whatever_the_files_are_called() -> None:
    files = (Path('qwen3-vl-4b.rknn'), Path('qwen3-vl-4b.rkllm'))
    rknn = described(load_profile('qwen3-vl-4b'))
    assert find_model('qwen3-vl-2b', *files, rknn).name == 'qwen3-vl-2b'
    with pytest.raises(ModelFileError, match='no model profile'):
        find_model('unknown', *files, rknn)


def test_own_profile_is_given_by_its_path(tmp_path: Path) -> None:
    path = write_npu_profile(tmp_path / 'mine.yaml')
    assert find_model(path, *GENERIC).name == 'mine'
