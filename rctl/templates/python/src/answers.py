"""What the answers say, without anything of the host: this is what the tests call."""

from urllib.parse import parse_qs


def greeting(query: str) -> str:
    """`?name=` says whom."""
    name = parse_qs(query).get("name", ["world"])[0]
    return f"Hello, {name}, from Python!\n"


def environment(variables: list[tuple[str, str]]) -> str:
    """One line for each variable, in order."""
    return "".join(sorted(f"{name}={value}\n" for name, value in variables))


def seconds(now: float) -> str:
    """Since 1970."""
    return f"{int(now)}\n"
