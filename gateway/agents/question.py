"""What may be asked of an agent."""

from gateway.errors import InvalidRequest, TooLarge


def check_message(text: str, limit: int, param: str) -> str:
    """Return the message to an agent.

    Raises:
        InvalidRequest: It is empty.
        TooLarge: It is over the limit.
    """
    if not text.strip():
        raise InvalidRequest(f"{param}: write a question; it is empty", param=param)
    if len(text) > limit:
        raise TooLarge(
            f"{param}: {len(text):,} characters are over the limit of {limit:,}",
            param=param,
            code="message_too_long",
        )
    return text
