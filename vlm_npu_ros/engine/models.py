"""Model profiles: which files a model consists of, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir


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
    if not path.is_file():
        raise ModelFileError(
            f'There is no model profile {model!r}: known are {", ".join(known_models())}, '
            'or give the path of a .yaml file'
        )
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
        profile = ModelProfile(**{**values, 'folder': base / values['folder']})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        wanted = ', '.join(f.name for f in fields(ModelProfile))
        raise ModelFileError(f'{path} is no model profile ({wanted}): {error}') from error
    if not isinstance(profile.context, int) or profile.context < 1:
        raise ModelFileError(f'{path}: context must be a number of tokens')
    return profile
