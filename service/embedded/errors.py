"""Why an embedded part cannot start."""


class EmbeddedError(Exception):
    """An embedded part cannot start; its text is one sentence for the person at the terminal."""
