"""Masking by the documented rules in plain Python, to hold the Columns against."""

import hmac
import json
from json.decoder import scanstring  # type: ignore[attr-defined]  # it is there, and typeshed does not say so

from jobs.common.privacy import Tree, tree_of

KEY = "a key of thirty-two bytes or more"
NAME = "k1"
_SPACE = " \t\r\n"


def hashed(said: str | bytes) -> str:
    """HMAC-SHA256 by the standard library, as a pseudonym."""
    message = said if isinstance(said, bytes) else said.encode()
    return f"masked:{NAME}:{hmac.new(KEY.encode(), message, 'sha256').hexdigest()}"


def masked(text: str, paths: list[str]) -> str:
    """The text of a JSON object with these fields masked."""
    return _value(text, tree_of(paths))


def whole(value: bytes) -> bytes:
    """What stands for a payload that is masked whole."""
    told = {"key": NAME, "bytes": len(value), "hmac": hashed(value).rpartition(":")[2]}
    return json.dumps({"reco:masked": told}, separators=(",", ":")).encode()


def _value(text: str, tree: "Tree | None") -> str:
    if tree is None or text[0] not in "{[":
        return _leaf(text)
    spans = _members(text) if text[0] == "{" else _items(text)
    for name, first, last in reversed(spans):
        part = text[first:last]
        if name is None:
            # A list within a list is no list of objects.
            new = _value(part, tree) if part[0] == "{" else _leaf(part)
        elif name in tree:
            new = _value(part, tree[name])
        else:
            continue
        text = text[:first] + new + text[last:]
    return text


def _leaf(text: str) -> str:
    if text == "null":
        return text
    said = json.loads(text) if text[0] == '"' else text
    return text if said.startswith(f"masked:{NAME}:") and text[0] == '"' else f'"{hashed(said)}"'


def _members(text: str) -> list[tuple[str | None, int, int]]:
    spans: list[tuple[str | None, int, int]] = []
    at = _past(text, 1)
    while text[at] != "}":
        name, at = scanstring(text, at + 1)
        at = _past(text, _past(text, at) + 1)
        end = _end(text, at)
        spans.append((name, at, end))
        at = _past(text, end)
        at = _past(text, at + 1) if text[at] == "," else at
    return spans


def _items(text: str) -> list[tuple[str | None, int, int]]:
    spans: list[tuple[str | None, int, int]] = []
    at = _past(text, 1)
    while text[at] != "]":
        end = _end(text, at)
        spans.append((None, at, end))
        at = _past(text, end)
        at = _past(text, at + 1) if text[at] == "," else at
    return spans


def _past(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _end(text: str, at: int) -> int:
    end: int = json.JSONDecoder().raw_decode(text, at)[1]
    return end
