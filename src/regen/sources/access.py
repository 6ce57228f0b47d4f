"""Reading an access list out of what a document says of itself."""

from __future__ import annotations


def parse_access(value: object) -> list[str] | None:
    """The principals named by ``value``: None is public, a string is one principal, an empty list is nobody.

    Raises ValueError for anything else. A list that cannot be understood must never open a document to everyone.
    """
    if value is None:
        return None
    principals = [value] if isinstance(value, str) else value
    if not isinstance(principals, list):
        raise ValueError(  # noqa: TRY004 (a wrong value of the data, not of the program)
            f"access is {_kind(value)}; a list of principals, one principal or null is valid"
        )
    for principal in principals:
        if not isinstance(principal, str) or not principal:
            raise ValueError(f"access names {principal!r}; principals are texts that are not empty (quote them)")
    return list(principals)


def _kind(value: object) -> str:
    return "a mapping" if isinstance(value, dict) else repr(value)
