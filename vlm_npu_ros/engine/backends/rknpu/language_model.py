# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Language model of a .rkllm file on the NPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import replace
from pathlib import Path
import time

import numpy as np
from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.rknpu import abi as rkllm
from vlm_npu_ros.engine.backends.rknpu.answer import Answer
from vlm_npu_ros.engine.backends.rknpu.counts import ONE_TOKEN, TokenCounts
from vlm_npu_ros.engine.backends.rknpu.first_tokens import FirstTokens
from vlm_npu_ros.engine.backends.rknpu.handle import Result, RkllmHandle
from vlm_npu_ros.engine.backends.rknpu.inputs import Inputs
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary
from vlm_npu_ros.engine.backends.rknpu.notes import Notes
from vlm_npu_ros.engine.backends.rknpu.prompt import IMAGE, prompt, VIDEO
from vlm_npu_ros.engine.backends.rknpu.proof import Proof
from vlm_npu_ros.engine.backends.rknpu.reuse import prove, Reuse
from vlm_npu_ros.engine.backends.rknpu.row import RowError
from vlm_npu_ros.engine.backends.rknpu.scorer import Scorer, Way
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.rknpu.shared_npu import SharedNpu
from vlm_npu_ros.engine.control_tags import user_text
from vlm_npu_ros.engine.errors import (
    BackendCrashedError,
    NotSupportedError,
    UnsupportedRuntimeError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.model_files.lm_head import LmHead
from vlm_npu_ros.engine.models import ChatTemplate, ModelProfile
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.trials import has_failed, trial
from vlm_npu_ros.engine.types import (
    Chunk,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
    same_images,
    Sampling,
    Turn,
)

_PROOF_TOKENS = 4  # of each answer


class RkllmLanguageModel(LanguageModel):
    """
    Runs a .rkllm file with whichever runtime the library is.

    context: tokens, at most what the model was converted for.
    image_size: side in pixels of the square that the encoder reads.
    sampling: how tokens are drawn; runtimes before 1.3.0 cannot change it later.
    settings: base_domain_id, cpu_mask, embed_flash, keep_tokens and lock are taken as they are.
    """

    def __init__(
        self, library: RkllmLibrary, path: Path, profile: ModelProfile, *,
        context: int, image_size: int, sampling: Sampling, settings: RknpuSettings,
    ) -> None:
        assert profile.tags
        self.name = profile.name
        self._abi = library.abi
        self._stop, self._template = profile.stop, profile.template
        self.instructions, self.grounding = profile.instructions, profile.grounding
        self.takes_up_dialogues = profile.template is not None
        template = profile.template
        self.takes_system_prompt = template is not None and template.with_role('') is not None
        self._role = ''  # that the runtime has been told to play
        self.context, self._sampling = context, sampling
        self._inputs = Inputs(library, profile, image_size, sampling)
        self._clean = True
        why = 'it was loaded without read_ahead'
        if not self._abi.has_figures:
            why = 'runtimes before 1.2.1 do not count what they read'
        self._reuse = Reuse(why, self.takes_up_dialogues)
        self._read = 0  # tokens, by the last run
        # The dialogue that the runtime holds, if one can go on from there.
        self._held: tuple[tuple[ImageEmbedding, ...], tuple[Turn, ...]] | None = None
        if profile.template is None and not self._abi.has_chat_template:
            raise UnsupportedRuntimeError(
                f'The runtime {library.runtime.version} does not know the chat template of '
                f'{profile.name}: use 1.2.0 or later, or write a template into its profile'
            )
        param = self._inputs.load(context, settings)
        npu = SharedNpu(settings.lock)
        try:
            self._handle = RkllmHandle(library, path, param, profile.template, npu)
        except BaseException:
            npu.close()
            raise
        self.driver = self._handle.driver
        self._answer = Answer(0, ())  # the newest
        self._notes = Notes(path, library.runtime.version)
        tokens = FirstTokens(profile.first_tokens or {}, self._notes, self._first_token)
        self.scorer = Scorer(self._rows, tokens, self._notes)
        self._hands_out_one = False  # row of those that were read
        # Half of the context leaves room for what is written until the runtime has stopped.
        self._counts = TokenCounts(self._count, context // 2, profile.template, profile.tags)

    @property
    def read_ahead(self) -> ReadAhead:  # type: ignore[override]
        return self._reuse.able

    def prove_reuse(
        self, first: ImageEmbedding, second: ImageEmbedding, progress: Progress
    ) -> None:
        """Find out with two test pictures whether `prepare` works; the process may die of it."""
        note = self._notes.died('reuse')
        if has_failed(note):
            self._reuse.doubt(f'the runtime crashed or hung; delete {note} to try again')
        elif self._abi.has_figures:
            try:
                with trial(note, durable=True):
                    prove(self._reuse, self._told, self._prepared, progress, first, second)
            except OSError as error:
                self._reuse.doubt(f'{note} cannot be written: {error}')

    def believe(self, able: ReadAhead) -> None:
        """Take over what an earlier process has found out about `prepare`."""
        self._reuse.able = able

    def _told(self, question: str, image: ImageEmbedding) -> tuple[str, int]:
        request = GenerationRequest(question, (image,), _PROOF_TOKENS, self._sampling)
        text = ''.join(chunk.text for chunk in self.generate(request, Cancellation()))
        return text, self._read

    def _prepared(self, image: ImageEmbedding) -> int:
        self.prepare((image,), Cancellation())
        return self._read

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        if self._reuse.holds(images):
            return NOTHING_READ
        request = GenerationRequest(ONE_TOKEN, images, 1, self._sampling)
        if self.tokens(request) >= self.context:
            return NOTHING_READ
        *_, last = self.generate(request, cancelled)
        figures = last.figures or NOTHING_READ
        return replace(figures, new_tokens=0, decode_seconds=0.0)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.learn(request, self.context - request.max_new_tokens, cancelled)
        tokens = self.tokens(request)
        if not cancelled.is_set():  # else the counting may have ended early
            self.check_fits(request, f'up to {tokens} tokens with its framing', tokens)
        self._play(request.system_prompt)
        goes_on = self._goes_on(request)
        is_held = self._reuse.holds(request.images)
        if not goes_on and self._has_logits(request):
            try:
                yield from self._write(request, cancelled, goes_on, is_held, rkllm.INFER_LOGITS)
                return
            except RowError as error:  # before the first piece
                self.scorer.failed(error)
                is_held = False
        yield from self._write(request, cancelled, goes_on, is_held, rkllm.INFER_GENERATE)

    def _write(
        self, request: GenerationRequest, cancelled: Cancellation, goes_on: bool, is_held: bool,
        mode: int,
    ) -> Iterator[Chunk]:
        images = () if goes_on else request.images
        turns = () if goes_on else request.turns
        rkllm_input = self._inputs.read(
            self._text(request, images, turns), images, request.video)
        has_logits = mode == rkllm.INFER_LOGITS
        # Without a history, the runtime forgets what was said before, too.
        keeps = (request.keep or goes_on) and not (self._rereads or has_logits)
        infer = self._inputs.run(request, mode, keeps)
        if not (goes_on or is_held):
            self._forget(mode)
        answer = self._answer = Answer(request.max_new_tokens, self._stop, has_logits)
        self._hold_only(())
        stop = Cancellation(cancelled)
        patience = self.scorer.patience if has_logits else None
        trying = self.scorer.trying(Way.ANSWER) if has_logits else contextlib.nullcontext()
        try:
            with trying, contextlib.closing(
                self._handle.run(rkllm_input, infer, stop, patience)
            ) as results:
                for piece in answer.pieces(results, cancelled, stop):
                    yield Chunk(piece)
            if has_logits and answer.is_cut and not cancelled.is_set():
                raise BackendCrashedError(f'the answer ended after {answer.tokens} tokens')
        except BackendCrashedError as error:
            if has_logits and answer.is_cut:
                raise RowError(str(error)) from error
            raise
        if answer.tokens and not keeps:
            self._reuse.keep(request.images)
        image_tokens = 0 if goes_on else request.image_tokens
        last = self._last(request, answer, image_tokens, is_held, cancelled)
        if keeps and answer.is_whole:
            turn = Turn(request.question, answer.text + last.text)
            self._held = request.images, (*request.turns, turn)
        yield last

    def _last(
        self, request: GenerationRequest, answer: Answer, image_tokens: int, is_held: bool,
        cancelled: Cancellation,
    ) -> Chunk:
        """Make the last chunk, and learn from the runtime's count; is_held: it had the images."""
        self._read, held = answer.read, 0
        if is_held and answer.tokens and self._reuse.check(
                answer.read, image_tokens, self.tokens(request) - image_tokens):
            held, image_tokens = image_tokens, 0
        last = answer.last(image_tokens, cancelled.is_set())
        if last.figures and not request.turns:
            last = replace(last, figures=replace(last.figures, read_ahead_tokens=held))
        if answer.text + last.text:
            self._counts.put(answer.text + last.text, answer.tokens)
        return last

    def _hold_only(self, images: tuple[ImageEmbedding, ...], clean: bool = False) -> None:
        """Note what the runtime holds from now on: no dialogue that could go on, but images."""
        self._clean, self._held = clean, None
        self._reuse.keep(images)

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        if self.scorer.way is not Way.ANSWER:  # but a run that displaces the dialogue
            if request.turns or not (self.may_displace(request) and self._can_begin(said)):
                return None
        answer = self._answer
        is_plain = self.scorer.way is Way.ANSWER and not answer.has_logits
        if is_plain or request.sampling.temperature > 0:  # what is drawn need not be likely
            return None
        return self.scorer.score(request, said, endings, answer.text, answer.steps)

    def _can_begin(self, said: str) -> bool:
        """Tell whether the runtime can be made to begin an answer with this."""
        return not said or self._template is not None and '<' not in said

    def _rows(
        self, request: GenerationRequest, begins: Sequence[str], way: Way
    ) -> list[np.ndarray]:
        """Read a request and beginnings of its answer again, see `Scorer`."""
        if self._hands_out_one or not self._can_begin(begins[-1]):
            begins = begins[:1]
        rows: list[np.ndarray] = []
        while missing := begins[:len(begins) - len(rows)]:
            found = self._last_rows(request, missing[-1], way, len(missing))
            rows[:0] = found
            if not found:
                break
            if len(rows) < len(begins) and not self._reuse.holds(request.images):
                self._hands_out_one = True  # a run for each would read the picture each time
                return self._last_rows(request, begins[0], way, 1)
        return rows

    def _last_rows(
        self, request: GenerationRequest, said: str, way: Way, most: int
    ) -> list[np.ndarray]:
        mode = rkllm.INFER_HIDDEN if way is Way.HIDDEN else rkllm.INFER_LOGITS
        alone = replace(request, max_new_tokens=1)
        results, _ = self.run_apart(alone, mode, said, self.scorer.patience, rows=most)
        return [] if not results or results[0].rows is None else [*results[0].rows]

    def _first_token(self, question: str) -> tuple[int, str]:
        alone = GenerationRequest(question, (), 1)
        results, _ = self.run_apart(alone, rkllm.INFER_GENERATE, '', self.scorer.patience)
        if not results:
            return -1, ''
        return results[0].token, results[0].text.decode('utf-8', 'replace')

    @property
    def tells_probabilities(self) -> bool:  # type: ignore[override]
        """Whether the answer that is being written has logits, or a run of its own will follow."""
        way = self.scorer.way
        return way is not Way.OFF and (way is not Way.ANSWER or self._answer.has_logits)

    @property
    def probabilities(self) -> str:
        return str(self.scorer)

    def prove(self, image: ImageEmbedding, head: LmHead | None, progress: Progress) -> None:
        """
        Find out in which way probabilities can be had, and use it; may crash the process, or hang.

        image: the test picture. head: for hidden states.
        """
        ways = [Way.HIDDEN]
        if self._abi.has_chat_template:  # from 1.2.0 on logits are handed out, too
            ways = [Way.LOGITS, Way.HIDDEN]
        if self._abi.has_chat_template and self.takes_up_dialogues:
            ways = [Way.ANSWER, *ways]
        self.scorer.head = head
        self.scorer.tokens.add(head.words if head else {})
        if self._sampling.temperature > 0 and not self._abi.has_request_limits:
            self.scorer.why = 'tokens are drawn at a temperature above 0'
        else:
            Proof(self.scorer, self.run_apart, image, progress).prove(tuple(ways))

    def _has_logits(self, request: GenerationRequest) -> bool:
        """Tell whether the answer is to be written with its logits, which keeps no dialogue."""
        is_wanted = request.is_typed and request.sampling.temperature <= 0
        return is_wanted and self.may_displace(request) and self.scorer.way is Way.ANSWER

    def run_apart(
        self, request: GenerationRequest, mode: int, said: str = '',
        patience: float | None = None, fresh: bool = False, rows: int = 1,
    ) -> tuple[list[Result], float]:
        """
        Run a request that belongs to no dialogue; the dialogue that was held is forgotten.

        Returns the first request.max_new_tokens results that have a text or a row, and the
        seconds until they were there.
        said: the beginning of the answer. patience: seconds without a result after which the run
            is aborted. fresh: all is read, also what the cache holds. rows: most of a result.
        """
        if not self._abi.has_request_limits:
            request = replace(request, sampling=self._sampling)
        self._play(request.system_prompt)
        text = self._text(request, request.images, request.turns)
        if not self._abi.has_chat_template:
            text += said.encode('utf-8', 'replace')
        rkllm_input = self._inputs.read(text, request.images, request.video)
        infer, stop = self._inputs.run(request, mode), Cancellation()
        if fresh or not self._reuse.holds(request.images):
            self._handle.clear(keep_system=False)
        self._hold_only(request.images)
        told: list[Result] = []
        started = ended = time.perf_counter()
        with self._handle.begun(said), contextlib.closing(
            self._handle.run(rkllm_input, infer, stop, patience, rows)
        ) as results:
            for result in results:
                if result.state == rkllm.RUN_ERROR:
                    raise BackendCrashedError('The runtime reported an error, see its log')
                if (result.text or result.row is not None) and not stop.is_set():
                    told.append(result)
                    ended = time.perf_counter()
                if len(told) == request.max_new_tokens:
                    stop.set()
        return told, ended - started

    def tokens(self, request: GenerationRequest) -> int:
        return self._counts.tokens(request) + len(user_text(request.system_prompt).encode())

    def _framed(self, role: str) -> ChatTemplate | None:
        """Return the template with a role in it; '' = the model's own."""
        return self._template.with_role(user_text(role)) if self._template and role else (
            self._template)

    def _play(self, role: str) -> None:
        """Have the runtime put another role before the questions."""
        template = self._framed(role)
        if role != self._role and template and self._abi.has_chat_template:
            self._handle.frame(template)
            self._handle.clear(keep_system=False)
            self._hold_only((), clean=True)
        self._role = role

    def learn(self, request: GenerationRequest, room: int, cancelled: Cancellation) -> None:
        """
        Have the runtime count texts whose number of bytes does not fit.

        Runtimes before 1.2.1 tell no counts. What they hold of a dialogue is lost by counting: not
        if it cannot be read again.
        """
        is_lost = self._template is None and self._goes_on(request)
        if self._abi.has_figures and not is_lost and request.image_tokens < room:
            self._counts.learn(request, room, cancelled)

    def _count(self, text: str, cancelled: Cancellation) -> int:
        """Let the runtime read a text alone; give the number of tokens with all framing."""
        self._play('')
        self._handle.clear(keep_system=False)
        self._hold_only(())
        alone = GenerationRequest(text, (), 1, self._sampling)
        rkllm_input = self._inputs.read(text.encode('utf-8', 'replace'))
        read, stop = 0, Cancellation(cancelled)
        with contextlib.closing(
            self._handle.run(rkllm_input, self._inputs.run(alone), stop)
        ) as results:
            for result in results:
                if result.state == rkllm.RUN_ERROR:
                    raise BackendCrashedError('The runtime cannot count tokens, see its log')
                read = result.figures.prefill_tokens if result.figures else read
                stop.set()  # its first token is one too many
        return read

    def _goes_on(self, request: GenerationRequest) -> bool:
        """Tell whether the runtime holds all that was said before this question."""
        if self._held is None or not request.turns or not self._abi.has_chat_template:
            return False
        images, turns = self._held
        return same_images(images, request.images) and turns == request.turns

    def _text(
        self, request: GenerationRequest,
        images: tuple[ImageEmbedding, ...], turns: tuple[Turn, ...],
    ) -> bytes:
        """Make the text to run; the runtime frames it, from class B on."""
        if turns and self._template is None:
            raise NotSupportedError(
                f'The chat template of {self.name} is in its file, where it cannot be read: a '
                'dialogue that another question has displaced cannot be taken up again. Begin '
                'it anew (new_conversation), or write a template into the profile'
            )
        if not images:
            marks = ''
        elif request.video and self._abi.has_request_limits:
            marks = VIDEO
        else:
            marks = IMAGE if request.video else IMAGE * len(images)
        framed_here = None if self._abi.has_chat_template else self._framed(request.system_prompt)
        return prompt(request.question, turns, marks, self._template, framed_here)

    @property
    def _rereads(self) -> bool:
        """Whether dialogues are written out anew, too, because what was read is not read again."""
        return self._reuse.able.possible and self._template is not None

    def _forget(self, mode: int) -> None:
        """Let the runtime forget the last question and its image."""
        if not self._clean:
            # Behind a system prompt that is kept, 1.2.3 crashes where it is to tell logits.
            self._handle.clear(keep_system=mode == rkllm.INFER_GENERATE)
            self._hold_only((), clean=True)

    def close(self) -> None:
        self._handle.close()
