"""Questions about a recording, answered without a model from what is measured and heard."""

from antiphon.listen.questions.answering import GRAMMAR_VERSION, NOT_A_MODEL, Answered, answer

__all__ = ["GRAMMAR_VERSION", "NOT_A_MODEL", "Answered", "answer"]
