"""How to ask for yes, no or one of several choices."""

from __future__ import annotations

from dataclasses import dataclass

YES_NO = ('yes', 'no')
UNCLEAR = 'unclear'


@dataclass(frozen=True)
class Instructions:
    """
    Texts with {question} and {choices}, which `apply` fills in.

    yes_no, choice: for questions of that type. The defaults follow the MME benchmark (arXiv
        2306.13394: "Please answer yes or no."), which compares these models, and add a way out.
    """

    yes_no: str = '{question} Please answer yes or no. If the picture does not tell, say unclear.'
    choice: str = (
        '{question} Please answer with one of: {choices}. '
        'If the picture does not tell, say unclear.'
    )

    def __post_init__(self) -> None:
        for text in (self.yes_no, self.choice):
            if '{question}' not in text:
                raise ValueError(f'instructions must contain {{question}}: {text!r}')

    def apply(self, question: str, choices: tuple[str, ...]) -> str:
        """Write the question as the model gets it."""
        text = self.yes_no if choices == YES_NO else self.choice
        # The question last, so that nothing is filled into it.
        return text.replace('{choices}', ', '.join(choices)).replace('{question}', question)


PLAIN = Instructions('{question}', '{question}')  # for models that need no instructions
