"""An answer with what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlm_npu_ros.engine.types import FinishReason, GenerationFigures


@dataclass(frozen=True)
class Answer:
    """
    What the model said to a question.

    first_token_seconds: from the question to the first piece of text; None if there was none.
    figures: None if it ended without any.
    """

    question: str
    text: str
    finish_reason: FinishReason
    first_token_seconds: float | None
    figures: GenerationFigures | None

    @property
    def is_whole(self) -> bool:
        """Return whether it ended by itself, so that a question may go on from it."""
        return self.finish_reason in (FinishReason.EOS, FinishReason.LENGTH, FinishReason.STOP)

    def describe(self) -> str:
        """Return the figures as a line."""
        parts = []
        if self.first_token_seconds is not None:
            parts.append(f'first token {1000 * self.first_token_seconds:.0f} ms')
        if self.figures:
            prefill, decode = rates(self.figures)
            parts.append(f'{self.figures.prompt_tokens} tokens read at {prefill:.0f}/s')
            parts.append(f'{self.figures.new_tokens} written at {decode:.0f}/s')
        memory = memory_mb()
        if memory is not None:
            parts.append(f'memory {memory:.0f} MB')
        return ', '.join(parts)

    def record(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        values: dict[str, Any] = {
            'question': self.question,
            'answer': self.text,
            'finish_reason': self.finish_reason.value,
            'first_token_seconds': self.first_token_seconds,
            'memory_mb': memory_mb(),
        }
        if self.figures:
            prefill, decode = rates(self.figures)
            values |= vars(self.figures)
            values |= {'prefill_tokens_per_second': prefill, 'decode_tokens_per_second': decode}
        return values


def rates(figures: GenerationFigures) -> tuple[float, float]:
    """Return tokens a second of reading and of writing; the first token comes of reading."""
    prefill = figures.prompt_tokens / (figures.prefill_seconds or 1.0)
    decode = max(figures.new_tokens - 1, 0) / (figures.decode_seconds or 1.0)
    return prefill, decode


def memory_mb() -> float | None:
    """Return the memory that this process holds (RSS), in 10^6 bytes; None without psutil."""
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().rss / 1e6)
