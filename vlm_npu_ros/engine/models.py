"""Model profiles: which files a model consists of, how to speak to it, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, MISSING, replace
import json
import os
from pathlib import Path
import re
from typing import Any, get_args, get_origin, get_type_hints, TYPE_CHECKING, TypeVar, Union
from types import NoneType, UnionType

from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir
import yaml

if TYPE_CHECKING:
    from vlm_npu_ros.engine.backends.rknpu.rknn_file import RknnFile

AUTO = 'auto'
_T = TypeVar('_T')


@dataclass(frozen=True)
class ImageTags:
    """
    Texts around the image in a prompt, and the one that stands for each of its tokens.

    video: the one for each token of a video's frames; '' = content.
    """

    start: str
    end: str
    content: str
    video: str = ''


@dataclass(frozen=True)
class ChatTemplate:
    """
    Literal texts: system comes before everything, prefix and postfix around the question.

    turn_end: comes after an answer, before the prefix of the next question.
    """

    system: str
    prefix: str
    postfix: str
    turn_end: str = ''


@dataclass(frozen=True)
class ImageFormat:
    """
    What the encoder reads and makes.

    tokens: side of the square picture in pixels to the tokens of one image, for sizes known.
    outputs: 1, or 1 + the levels that go to deeper layers of the language model (deepstack).
    dim: floats of a token and output, the embedding width of the language model.
    mean, std: of RGB pixels scaled to 0..1.
    """

    tokens: dict[int, int]
    outputs: int
    dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """
    What others measured on an RK3588; None = nobody did.

    ram_gb: both models loaded. Rates in tokens a second.
    """

    source: str
    ram_gb: float | None = None
    encode_seconds: float | None = None
    prefill_rate: float | None = None
    decode_rate: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True)
class ModelProfile:
    """
    What config/models/<name>.yaml says; the fields of the file have these names.

    context: tokens, unless set otherwise; max_context: the most that a conversion can have.
    folder, encoder, language_model, tokenizer: shipped files (backend onnx).
    files: expression that matches the usual names of the model's files, in any letter case.
    template: None = the one in the model file.
    stop: texts that end an answer where the runtime misses the end token.
    min_runtime: oldest librkllmrt.so that runs the model.
    inferred: fields that no source states, with dots: image.dim.
    """

    name: str
    backend: str
    context: int
    title: str = ''
    folder: Path | None = None
    encoder: str = ''
    language_model: str = ''
    tokenizer: str = ''
    files: str = ''
    max_context: int = 16384
    image: ImageFormat | None = None
    tags: ImageTags | None = None
    template: ChatTemplate | None = None
    stop: tuple[str, ...] = ()
    min_runtime: str = ''
    published: Published | None = None
    inferred: tuple[str, ...] = ()


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
        profile = _checked(ModelProfile, values, '')
        if profile.folder is not None:
            profile = replace(profile, folder=base / profile.folder)
        _check_backend(profile)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ModelFileError(f'{path} is no model profile: {error}') from error
    return profile


def _check_backend(profile: ModelProfile) -> None:
    if profile.context < 1:
        raise ValueError('context must be a number of tokens')
    wanted = {
        'onnx': ('folder', 'encoder', 'language_model', 'tokenizer'),
        'rknpu': ('files', 'image', 'tags', 'min_runtime'),
    }
    missing = [
        name for name in wanted.get(profile.backend, ()) if getattr(profile, name) in (None, '')
    ]
    if missing:
        raise ValueError(f'the backend {profile.backend} needs {", ".join(missing)}')


def _checked(kind: Any, value: Any, where: str) -> Any:
    """Return a value of YAML as what an annotation says; raise ValueError naming the field."""
    arguments = get_args(kind)
    if is_dataclass(kind):
        return _checked_fields(kind, value, where)
    if get_origin(kind) in (Union, UnionType):
        inner = next(a for a in arguments if a is not NoneType)
        return None if value is None else _checked(inner, value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ValueError(f'{where} must have {len(arguments)} entries, not {len(value)}')
        return tuple(_checked(arguments[0], entry, where) for entry in value)
    if get_origin(kind) is dict and isinstance(value, dict):
        keys, values = arguments
        return {
            _checked(keys, k, where): _checked(values, v, where) for k, v in value.items()
        }
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    names = {str: 'text, in quotes if need be', int: 'a whole number', float: 'a number'}
    raise ValueError(f'{where} must be {names.get(kind, "a list or mapping")}, not {value!r}')


def _checked_fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f'{where or "it"} must be a mapping of names to values')
    hints, prefix = get_type_hints(kind), f'{where}.' if where else ''
    known = {field.name: field for field in fields(kind)}
    unknown = [str(name) for name in value if name not in known]
    if unknown:
        raise ValueError(f'{prefix}{unknown[0]} is none of {", ".join(known)}')
    missing = [n for n, field in known.items() if field.default is MISSING and n not in value]
    if missing:
        raise ValueError(f'{", ".join(prefix + name for name in missing)} missing')
    return kind(**{n: _checked(hints[n], v, prefix + n) for n, v in value.items()})


def find_model(
    model: str, encoder: Path, language_model: Path, rknn: RknnFile | None = None
) -> ModelProfile:
    """
    Return the profile of a model by its name, or for 'auto' the one that its files fit.

    A .rknn made by this package's converter names the model. Else the names of both files and
    the embedding of the .rknn must leave one profile. Raises ModelFileError otherwise.
    """
    if model != AUTO:
        return load_profile(model)
    named = _named_in(rknn)
    if named:
        return load_profile(named)
    profiles = [p for p in map(load_profile, known_models()) if p.backend == 'rknpu']
    fitting = [p for p in profiles if rknn is None or _fits(p, rknn)]
    names = f'{encoder.name} {language_model.name}'
    chosen = [p for p in fitting if re.search(p.files, names, re.IGNORECASE)] or fitting
    if len(chosen) == 1:
        return chosen[0]
    what = f'{encoder.name} and {language_model.name}'
    candidates = ', '.join(p.name for p in chosen) or 'none'
    raise ModelFileError(
        f'The model of {what} can not be told (candidates: {candidates}): '
        f'name it, one of {", ".join(p.name for p in profiles)}, or the path of a profile .yaml'
    )


def _named_in(rknn: RknnFile | None) -> str:
    try:
        value = json.loads(rknn.custom_string) if rknn else {}
    except ValueError:
        return ''
    return str(value.get('model', '')) if isinstance(value, dict) else ''


def _fits(profile: ModelProfile, rknn: RknnFile) -> bool:
    image = profile.image
    assert image
    tokens = image.tokens.get(rknn.size, rknn.tokens)
    return (image.dim, image.outputs, tokens) == (rknn.dim, len(rknn.outputs), rknn.tokens)
