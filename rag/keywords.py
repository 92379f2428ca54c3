"""A question as search words, by rule and without a model."""

from rag.words import content_stems


def keywords(question: str) -> str:
    """Return a question's words that carry meaning; the question itself where none does."""
    return " ".join(content_stems(question)) or question
