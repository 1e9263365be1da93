from __future__ import annotations

from pathlib import Path

import pytest
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import known_models, load_profile
from vlm_npu_ros.engine.share import share_dir

PROFILE = {
    'name': 'mine', 'backend': 'onnx', 'folder': 'files', 'encoder': 'see.onnx',
    'language_model': 'talk.onnx', 'tokenizer': 'words.json', 'context': '512',
}


def write(path: Path, **changes: str | None) -> str:
    """Write PROFILE with some values changed or, where None, left out; return the path."""
    values = {key: value for key, value in {**PROFILE, **changes}.items() if value is not None}
    path.write_text('\n'.join(f'{key}: {value}' for key, value in values.items()))
    return str(path)


@pytest.mark.parametrize('name', known_models())
def test_shipped_profile_is_of_its_own_name_and_has_its_files(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.folder.is_relative_to(share_dir())
    for file in (profile.encoder, profile.language_model, profile.tokenizer):
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
    with pytest.raises(ModelFileError, match='no model profile .* known are .*demo') as caught:
        load_profile(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize('changes', [
    {'tokenizer': None},
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
    with pytest.raises(ModelFileError, match='is no model profile') as caught:
        load_profile(str(path))
    assert str(path) in str(caught.value)
