"""The gateway: the only package that knows HTTP and generation."""
