"""Values of the settings that can be used and cannot be seen."""

from dataclasses import dataclass

from ops.settings.redact import redact_url


class SecretUrl(str):
    """A URL that shows no credentials when it is represented."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact_url(str(self)))


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that can be used and cannot be seen."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"
