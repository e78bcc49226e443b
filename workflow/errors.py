"""The errors that a person may read: one root, and the one that names a bad field."""


class RelanceError(Exception):
    """Anything this product refuses or cannot do, said in words a user can act on."""


class InvalidInput(RelanceError):  # noqa: N818 - reads as what it is where it is raised
    """A value from outside that cannot be accepted: names the field, gives the reason, shows the value where one is."""

    def __init__(self, *, field: str, value: object, reason: str) -> None:
        """Keep the three parts, so that a face can print or mark them as it likes."""
        self.field = field
        self.value = value
        self.reason = reason
        shown = repr(value)
        got = "" if value is None else f" (got {shown if len(shown) <= 200 else shown[:197] + '...'})"
        super().__init__(f"{field}: {reason}{got}")
