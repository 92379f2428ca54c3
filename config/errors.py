"""The one error this package raises."""


class ConfigError(Exception):
    """Something the operator must change. The message is one clear line that says what to do."""
