"""Token counts where no tokenizer is at hand."""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` is: a third of its UTF-8 bytes, rounded up.

    English runs near 4 bytes a token, Korean near 3 on current vocabularies; the estimate errs
    towards more.
    """
    return -(-len(text.encode("utf-8", "replace")) // 3)
