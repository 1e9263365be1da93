# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the runtime is told: how it loads a model, what it reads, how it runs."""

from __future__ import annotations

from ctypes import c_float, POINTER, pointer
from typing import Any

import numpy as np
from vlm_npu_ros.engine.backends.rknpu import abi as rkllm
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import NotSupportedError, RequestError
from vlm_npu_ros.engine.models import ModelProfile
from vlm_npu_ros.engine.types import (
    GenerationRequest,
    ImageEmbedding,
    same_images,
    Sampling,
)


class Inputs:
    """
    Fills the structures of a runtime, whichever it is.

    image_size: side in pixels of the square that the encoder reads.
    sampling: how tokens are drawn; runtimes before 1.3.0 cannot change it later.
    """

    def __init__(
        self, library: RkllmLibrary, profile: ModelProfile, image_size: int, sampling: Sampling
    ) -> None:
        assert profile.image and profile.tags
        self._abi, self._param = library.abi, library.default_param()
        self._name, self._image, self._tags = profile.name, profile.image, profile.tags
        self._repeat_penalty, self._pictures = profile.repeat_penalty, profile.pictures
        self._image_size, self._sampling = image_size, sampling
        self._stack: tuple[tuple[ImageEmbedding, ...], np.ndarray] | None = None  # of the last run

    def load(self, context: int, settings: RknpuSettings) -> Any:
        """Fill RKLLMParam; context: tokens."""
        param = self._param
        param.max_context_len = param.max_new_tokens = context
        param.skip_special_token = True
        param.is_async = False
        extend = param.extend_param
        extend.base_domain_id = settings.base_domain_id
        if self._abi.has_chat_template:
            param.n_keep = settings.keep_tokens
            extend.embed_flash = settings.embed_flash
            extend.enabled_cpus_num = settings.cpu_mask.bit_count()
            extend.enabled_cpus_mask = settings.cpu_mask
        param.repeat_penalty = self._repeat_penalty
        _set_sampling(param, self._sampling)
        if not self._abi.has_request_limits:
            tags = self._tags
            param.img_start, param.img_end = tags.start.encode(), tags.end.encode()
            param.img_content = tags.content.encode()
        return param

    def run(
        self, request: GenerationRequest, mode: int = rkllm.INFER_GENERATE, keeps: bool = False
    ) -> Any:
        """Make an RKLLMInferParam; mode: INFER_*; keeps: the dialogue goes on from there."""
        infer = self._abi.structs['RKLLMInferParam']()
        infer.mode = mode
        if self._abi.has_chat_template:
            infer.keep_history = keeps
        if self._abi.has_request_limits:
            infer.max_new_tokens = request.max_new_tokens
            sampling = self._abi.structs['RKLLMSamplingParam']()
            for name, _ in sampling._fields_:
                setattr(sampling, name, getattr(self._param, name))
            _set_sampling(sampling, request.sampling)
            if mode == rkllm.INFER_LOGITS:  # which are those before any penalty
                sampling.repeat_penalty = 1.0
            infer.sampling_params = pointer(sampling)
        elif request.sampling != self._sampling:
            raise NotSupportedError(
                'Runtimes before 1.3.0 draw tokens as they were told when the model was loaded '
                f'({self._sampling}): clean the node up and configure it to change that'
            )
        return infer

    def read(
        self, text: bytes, images: tuple[ImageEmbedding, ...] = (), video: bool = False
    ) -> Any:
        """Make an RKLLMInput."""
        rkllm_input = self._abi.structs['RKLLMInput']()
        if self._abi.has_figures:
            rkllm_input.role, rkllm_input.enable_thinking = b'user', False
        if not images:
            rkllm_input.input_type, rkllm_input.prompt_input = rkllm.INPUT_PROMPT, text
            return rkllm_input
        embedding = self._stacked(images, video)
        pointer_ = embedding.ctypes.data_as(POINTER(c_float))
        rkllm_input.input_type = rkllm.INPUT_MULTIMODAL
        multimodal = rkllm_input.multimodal_input
        multimodal.prompt = text
        if video and self._abi.has_request_limits:
            self._fill_video(multimodal.video, pointer_, images)
        else:
            self._fill_images(multimodal, pointer_, images)
        rkllm_input.kept = embedding  # ctypes keeps the text itself
        return rkllm_input

    def _fill_images(
        self, multimodal: Any, embedding: Any, images: tuple[ImageEmbedding, ...]
    ) -> None:
        media = multimodal.image if self._abi.has_request_limits else multimodal
        media.image_embed, media.n_image_tokens = embedding, images[0].tokens
        if self._abi.has_image_size:
            media.n_image = len(images)
            media.image_width = media.image_height = self._image_size
        if self._abi.has_request_limits:
            media.image_start, media.image_end = self._tags.start.encode(), self._tags.end.encode()
            media.image_content = self._tags.content.encode()

    def _fill_video(self, video: Any, embedding: Any, images: tuple[ImageEmbedding, ...]) -> None:
        video.video_embed, video.n_frame_tokens = embedding, images[0].tokens
        video.n_frame_per_video, video.n_video = len(images), 1
        video.frame_width = video.frame_height = self._image_size
        video.video_start, video.video_end = self._tags.start.encode(), self._tags.end.encode()
        video.video_content = (self._tags.video or self._tags.content).encode()

    def _stacked(self, images: tuple[ImageEmbedding, ...], video: bool) -> np.ndarray:
        """Give the very same memory for the same images: runtimes tell them apart by that."""
        if not (self._stack and same_images(self._stack[0], images)):
            # The old one lives until the new one is there, which so lies elsewhere.
            self._stack = images, self._embedding(images, video)
        return self._stack[1]

    def _embedding(self, images: tuple[ImageEmbedding, ...], video: bool) -> np.ndarray:
        """Make (images, tokens, outputs, dim) float32; the runtime reads past the end of less."""
        if len(images) > 1 and not self._abi.has_image_size:
            raise NotSupportedError(
                f'Runtimes before 1.2.1 take one image a question, not {len(images)}'
            )
        if len(images) > 1 and not video and not self._abi.has_request_limits:
            raise NotSupportedError(
                f'Runtimes before 1.3.0 take one picture a question or the frames of one video, '
                f'not {len(images)} pictures: they would blend them'
            )
        if len(images) > (self._pictures or len(images)) and not video:
            raise NotSupportedError(
                f'{self._name} reads {self._pictures} picture a question, not {len(images)}'
            )
        expected = (images[0].tokens, self._image.outputs, self._image.dim)
        shapes = {image.data.shape for image in images}
        if shapes != {expected}:
            raise RequestError(
                f'{self._name} reads image embeddings of (tokens, outputs, dim) {expected}, '
                f'not {sorted(shapes)}'
            )
        return np.ascontiguousarray(np.stack([i.data for i in images]), np.float32)


def _set_sampling(target: Any, sampling: Sampling) -> None:
    """Fill the fields of RKLLMParam or RKLLMSamplingParam; top_k 1 is greedy."""
    if sampling.temperature <= 0:
        target.top_k = 1
        return
    target.top_k, target.top_p = sampling.top_k, sampling.top_p
    target.temperature = sampling.temperature
