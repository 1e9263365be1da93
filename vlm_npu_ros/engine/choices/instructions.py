"""Answers that are one of several: how they are asked for, and what a text decides for."""

from __future__ import annotations

from dataclasses import dataclass

YES_NO = ('yes', 'no')
UNCLEAR = 'unclear'


@dataclass(frozen=True)
class Instructions:
    """
    A question that asks for one of several answers, with {question} and {choices} filled in.

    yes_no, choice: for questions of that type. The defaults follow the MME benchmark (arXiv
    2306.13394: "Please answer yes or no."), which these models are compared by, and add a way out.
    """

    yes_no: str = '{question} Please answer yes or no. If the picture does not tell, say unclear.'
    choice: str = (
        '{question} Please answer with one of: {choices}. '
        'If the picture does not tell, say unclear.'
    )

    def __post_init__(self) -> None:
        """Refuse texts without a question."""
        for text in (self.yes_no, self.choice):
            if '{question}' not in text:
                raise ValueError(f'instructions must contain {{question}}: {text!r}')

    def apply(self, question: str, choices: tuple[str, ...]) -> str:
        """Return the question as the model gets it."""
        text = self.yes_no if choices == YES_NO else self.choice
        # The question last: what it says is not filled in again.
        return text.replace('{choices}', ', '.join(choices)).replace('{question}', question)


PLAIN = Instructions('{question}', '{question}')  # for models that need not be told
