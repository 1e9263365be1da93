"""Model profiles: which files a model consists of, how to speak to it, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, MISSING, replace
import json
import math
import os
from pathlib import Path
import re
import reprlib
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, TYPE_CHECKING, Union

from vlm_npu_ros.engine.backends.rknpu.runtime import RUNTIMES
from vlm_npu_ros.engine.choices.instructions import Instructions
from vlm_npu_ros.engine.digests import Digests
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir
import yaml

if TYPE_CHECKING:
    from vlm_npu_ros.engine.backends.rknpu.rknn_file import RknnFile

AUTO = 'auto'

_LARGEST_PROFILE = 1 << 20  # bytes; a model file by mistake has gigabytes
_LONGEST_REASON = 500  # characters
_MOST_TOKENS = 1 << 20  # of a context

# What the metadata of a .rknn has of a profile, in the profile's words; and what must be there.
_COPIED = ('tags', 'template', 'stop', 'context', 'max_context', 'min_runtime')
_WHOLE = {'model', 'mean', 'std', 'tags', 'context', 'min_runtime'}

# Pixels of 0..255 whose mean and std differ by less are normalised alike.
SAME_COLOUR = 0.5


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

    source: who. ram_gb: both models loaded. Rates in tokens a second.
    load_seconds: both models, for the first time since the board started.
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
    sha256: of the files; other ones are refused.
    files: expression that matches the usual names of the model's files, in any letter case.
    template: None = the one in the model file.
    stop: texts that end an answer where the runtime misses the end token.
    min_runtime: oldest librkllmrt.so that runs the model.
    inferred: fields that no source states, with dots: image.dim.
    instructions: how the model is asked for one of several answers.
    """

    name: str
    backend: str
    context: int
    title: str = ''
    folder: Path | None = None
    encoder: str = ''
    language_model: str = ''
    tokenizer: str = ''
    sha256: Digests = Digests()
    files: str = ''
    max_context: int = 16384
    image: ImageFormat | None = None
    tags: ImageTags | None = None
    template: ChatTemplate | None = None
    stop: tuple[str, ...] = ()
    min_runtime: str = ''
    published: Published | None = None
    inferred: tuple[str, ...] = ()
    instructions: Instructions = Instructions()


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
        profile = _checked(ModelProfile, _read(path), '')
        if profile.folder is not None:
            profile = replace(profile, folder=base / profile.folder)
        _check_backend(profile)
    except (OSError, ValueError, OverflowError) as error:
        reason = str(error)[:_LONGEST_REASON].encode('utf-8', 'backslashreplace').decode()
        raise ModelFileError(f'{path} is no model profile: {reason}') from error
    return profile


def _read(path: Path) -> Any:
    size = path.stat().st_size
    if size > _LARGEST_PROFILE:
        raise ValueError(f'it has {size} bytes: is it a model file?')
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except Exception as error:  # PyYAML also raises IndexError, KeyError and the like
        raise ValueError(str(error) or type(error).__name__) from error


def _check_backend(profile: ModelProfile) -> None:
    if not 1 <= profile.context <= profile.max_context <= _MOST_TOKENS:
        raise ValueError(
            'context must be a number of tokens, up to max_context, and that up to '
            f'{_MOST_TOKENS}'
        )
    wanted = {
        'onnx': ('folder', 'encoder', 'language_model', 'tokenizer'),
        'rknpu': ('files', 'image', 'tags', 'min_runtime'),
    }
    missing = [
        name for name in wanted.get(profile.backend, ()) if getattr(profile, name) in (None, '')
    ]
    if missing:
        raise ValueError(f'the backend {profile.backend} needs {", ".join(missing)}')
    if profile.sha256.tokenizer and profile.backend != 'onnx':
        raise ValueError('sha256.tokenizer is given, but the tokenizer is in the language model')
    if profile.image is not None:
        _check_image(profile.image)
    try:
        re.compile(profile.files)
    except (re.error, RecursionError) as error:
        raise ValueError(f'files is no regular expression: {error}') from error
    if profile.min_runtime and profile.min_runtime not in RUNTIMES:
        raise ValueError(
            f'min_runtime must be one of {", ".join(RUNTIMES)}, not {profile.min_runtime!r}'
        )


def _check_image(image: ImageFormat) -> None:
    counts = [image.outputs, image.dim, *image.tokens, *image.tokens.values()]
    if not image.tokens or min(counts) < 1:
        raise ValueError('image.tokens, image.outputs and image.dim must be above 0')
    if min(image.std) <= 0:
        raise ValueError('image.std must be above 0')


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
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f'{where} must be finite, not {value}')
    if isinstance(value, str) and re.search('[\0\ud800-\udfff]', value):
        raise ValueError(f'{where} holds what no text can hold: {reprlib.repr(value)}')
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    names = {
        str: 'text, in quotes if need be',
        int: 'a whole number',
        float: 'a number',
        tuple: 'a list',
        dict: 'a mapping',
    }
    wanted = names.get(get_origin(kind) or kind, 'a path')
    # Not the whole of it: aliases can make much of little.
    raise ValueError(f'{where} must be {wanted}, not {reprlib.repr(value)}')


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

    A .rknn whose custom string is JSON brings the profile along (convert/metadata.py), or names
    it by a "model". Else the names of both files and what the .rknn makes of a picture must leave
    one profile; files whose names tell nothing are told by pictures of sizes known only. Raises
    ModelFileError naming the candidates.
    """
    if model != AUTO:
        return load_profile(model)
    labels = _labels(rknn)
    if rknn is not None and labels.keys() >= _WHOLE:
        return _described_by(labels, rknn)
    profiles = [p for p in map(load_profile, known_models()) if p.backend == 'rknpu']
    named = labels.get('model')
    if named and isinstance(named, str):
        for profile in profiles:
            if profile.name == named:
                return profile
        raise ModelFileError(
            f'{encoder} says that it is of the model {reprlib.repr(named)}, which is not known: '
            'give the path of its profile .yaml as the model'
        )
    alike = _named_alike(profiles, (encoder.name, language_model.name))
    fitting = [
        p for p in alike if rknn is None or _fits(p, rknn, any_size=len(alike) < len(profiles))
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise ModelFileError(
        f'The model of {encoder.name} and {language_model.name} can not be told: by their names '
        f'it is {_one_of(alike)}, by what the encoder makes of a picture {_one_of(fitting)}. '
        f'Give one of {", ".join(p.name for p in profiles)}, or the path of a profile .yaml, as '
        'the model'
    )


def _one_of(profiles: list[ModelProfile]) -> str:
    return ' or '.join(p.name for p in profiles) or 'none that is known'


def _labels(rknn: RknnFile | None) -> dict[str, Any]:
    """Return the JSON object that is a file's custom string, or an empty one."""
    try:
        value = json.loads(rknn.custom_string) if rknn else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _described_by(labels: Mapping[str, Any], rknn: RknnFile) -> ModelProfile:
    """Return the profile that a file brings along; raise ModelFileError if it makes no sense."""
    try:
        profile = _checked(ModelProfile, {
            'name': labels['model'],
            'backend': 'rknpu',
            'files': re.escape(str(labels['model'])),
            'image': {
                'tokens': {rknn.size: rknn.tokens},
                'outputs': len(rknn.outputs),
                'dim': rknn.dim,
                'mean': labels['mean'],
                'std': labels['std'],
            },
            **{name: labels[name] for name in _COPIED if name in labels},
        }, '')
        _check_backend(profile)
    except (ValueError, OverflowError) as error:
        reason = str(error)[:_LONGEST_REASON].encode('utf-8', 'backslashreplace').decode()
        raise ModelFileError(
            f'{rknn.path} brings a profile along that is none: {reason}. Name the model'
        ) from error
    return profile


def _named_alike(profiles: list[ModelProfile], names: tuple[str, ...]) -> list[ModelProfile]:
    """Return those that no name speaks against; a name that fits none says nothing."""
    alike = profiles
    for name in names:
        matching = [p for p in profiles if re.search(p.files, name, re.IGNORECASE)]
        alike = [p for p in alike if p in matching or not matching]
    return alike


def _fits(profile: ModelProfile, rknn: RknnFile, any_size: bool) -> bool:
    image = profile.image
    assert image
    tokens = image.tokens.get(rknn.size, rknn.tokens if any_size else None)
    format_ = (len(rknn.outputs), rknn.tokens, rknn.dim)
    colours = ((rknn.mean, image.mean), (rknn.std, image.std))
    return format_ == (image.outputs, tokens, image.dim) and all(
        abs(fact - 255 * wanted) < SAME_COLOUR
        for facts, values in colours if facts is not None
        for fact, wanted in zip(facts, values, strict=False)
    )
