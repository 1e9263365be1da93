# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How to ask for yes, no, one of several choices, a number or JSON, and how to ask back."""

from __future__ import annotations

from dataclasses import dataclass
import re

from vlm_npu_ros.engine.choices.words import plain
from vlm_npu_ros.engine.types import GenerationRequest, YES_NO


@dataclass(frozen=True)
class Instructions:
    """
    Texts with {question}, {choices}, {unit} and {schema}, which `apply` fills in.

    yes_no, choice, number: for questions of that type. The defaults follow the MME benchmark
        (arXiv 2306.13394: "Please answer yes or no.") and add a way out.
    ask_back: asks with {options} which choice the last answer says; '' = the model cannot tell.
    ask_number: asks which number it says.
    json: for JSON; '' = the model writes none. json_again: says with {reason} what was wrong.
    in_sentences: the model, which is not told the choices, answers in sentences of its own that
        name one of them.
    """

    yes_no: str = '{question} Please answer yes or no. If the picture does not tell, say unclear.'
    choice: str = (
        '{question} Please answer with one of: {choices}. '
        'If the picture does not tell, say unclear.'
    )
    number: str = (
        '{question} Please answer with a number{unit} in digits only. '
        'If the picture does not tell, say unclear.'
    )
    ask_back: str = 'Which of these does that say? {options}. Reply with the letter only.'
    ask_number: str = 'Which number{unit} does that say? Reply with digits only, or say unclear.'
    json: str = '{question} Reply with JSON only.{schema}'
    json_again: str = 'That is not right: {reason}. Reply with the corrected JSON only.'
    in_sentences: bool = False

    def __post_init__(self) -> None:
        for text in (self.yes_no, self.choice, self.number, self.json or '{question}'):
            if '{question}' not in text:
                raise ValueError(f'instructions must contain {{question}}: {text!r}')
        if self.ask_back and '{options}' not in self.ask_back:
            raise ValueError(f'ask_back must contain {{options}}: {self.ask_back!r}')

    def apply(self, request: GenerationRequest) -> str:
        """Write the question as the model gets it."""
        choices = request.choices
        if request.schema is not None:
            wanted = f' It must fit this JSON Schema: {request.schema}' if request.schema else ''
            return self.json.replace('{schema}', wanted).replace('{question}', request.question)
        text = self.yes_no if choices == YES_NO else self.choice if choices else self.number
        # The question last, so that nothing is filled into it.
        text = text.replace('{choices}', ', '.join(choices)).replace('{unit}', _in_unit(request))
        return text.replace('{question}', request.question)

    def back(self, request: GenerationRequest) -> str:
        """Write the question what the last answer says: A) on B) off C) neither."""
        if request.number:
            return self.ask_number.replace('{unit}', _in_unit(request))
        neither = 'neither' if len(request.choices) == 2 else 'none of these'
        options = (f'{_letter(i)}) {text}' for i, text in enumerate((*request.choices, neither)))
        return self.ask_back.replace('{options}', ' '.join(options))

    def correct(self, reason: str) -> str:
        """Write the question for the right JSON, after an answer that does not fit."""
        return self.json_again.replace('{reason}', reason)


def choice_of_letter(reply: str, choices: tuple[str, ...]) -> int | None:
    """Find the choice that a reply to the question asked back names by its letter alone."""
    said = r'[\W_]*([a-z]{1,2})(?:[\W_]+(.*?))?[\W_]*'
    found = re.fullmatch(said, plain(reply), re.DOTALL)
    for index, choice in enumerate(choices):
        if found and found[1] == _letter(index).lower():
            return index if (found[2] or '') in ('', plain(choice)) else None
    return None


def _letter(index: int) -> str:
    """Name an option: A to Z, then AA, AB, ..."""
    return ('' if index < 26 else chr(64 + index // 26)) + chr(65 + index % 26)


def _in_unit(request: GenerationRequest) -> str:
    return f' in {request.number.unit}' if request.number and request.number.unit else ''


PLAIN = Instructions(*3 * ('{question}',), json='{question}')  # for models that need none
