"""Model profiles: which files a model consists of, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
import os
from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir
import yaml


@dataclass(frozen=True)
class ModelProfile:
    """What config/models/<name>.yaml says; the fields of the file have these names."""

    name: str
    backend: str
    folder: Path
    encoder: str
    language_model: str
    tokenizer: str
    context: int  # tokens


def known_models() -> list[str]:
    """Return the names of the profiles that are shipped, sorted."""
    return sorted(p.stem for p in (share_dir() / 'config' / 'models').glob('*.yaml'))


def load_profile(model: str) -> ModelProfile:
    """
    Return a profile by its name, or by the path of a .yaml file.

    A relative `folder` of a shipped profile is in the package's share folder, one of a file of
    your own beside that file. Raises ModelFileError naming the file and what is wrong with it.
    """
    if model.endswith('.yaml'):
        path, base = Path(model), Path(model).parent
    else:
        path, base = share_dir() / 'config' / 'models' / f'{model}.yaml', share_dir()
    if not os.path.isfile(path):  # unlike Path.is_file, never an error
        raise ModelFileError(
            f'There is no model profile {model!r}: known are {", ".join(known_models())}, '
            'or give the path of a .yaml file'
        )
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
        profile = ModelProfile(**{**values, 'folder': base / values['folder']})
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError) as error:
        wanted = ', '.join(f.name for f in fields(ModelProfile))
        raise ModelFileError(f'{path} is no model profile ({wanted}): {error}') from error
    for field in fields(ModelProfile):
        if field.type == 'str' and not isinstance(values[field.name], str):
            raise ModelFileError(f'{path}: {field.name} must be text, in quotes if need be')
    if type(profile.context) is not int or profile.context < 1:
        raise ModelFileError(f'{path}: context must be a number of tokens')
    return profile
