"""YAML files whose errors name file, line and key, and whose numbers never pass through a float."""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.common.errors import UserError

Key = tuple[str, ...]

_TAG = "tag:yaml.org,2002:"
# YAML 1.1 also reads 1:30 as 90 and 0o17 as 15; only what looks like a number is one here, the rest stays text.
_INTEGER = re.compile(r"[-+]?[0-9]{1,30}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,30}\.[0-9]{1,30}")
_WORDS = {"true": True, "false": False}
# Pydantic's words that would puzzle somebody who wrote a file.
_SAID = {
    "missing": "is missing",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "string_type": "must be text; put it in quotes",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
}


@dataclass(frozen=True)
class Document:
    """A YAML file's values, the line on which each key stands (from 1), and the SHA-256 of its bytes."""

    path: Path
    data: dict[str, Any]
    lines: dict[Key, int]
    file_hash: str = ""

    def line(self, key: Key) -> int:
        """Line of the key, or of its nearest ancestor that stands in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def place(self, key: Key) -> str:
        """`file:line` of the key, or of its nearest ancestor that stands in the file."""
        return f"{self.path}:{self.line(key)}"

    def error(self, key: Key, what: str) -> UserError:
        """An error that names file, line and key."""
        return UserError(self.sentence(key, what))

    def sentence(self, key: Key, what: str) -> str:
        """One line: place, key and what is wrong with it."""
        return f"{self.place(key)}: {named(key)}: {what}" if key else f"{self.place(key)}: {what}"


def named(key: Key) -> str:
    """The key on one line, whatever its parts hold."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in ".".join(key))


def read_yaml(path: Path, what: str) -> Document:
    """Reads a YAML file whose top level is a mapping; `what` names the file in errors, like "settings file"."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"There is no {what} {path}; give the path of one that exists.") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: this is not UTF-8 text; save the {what} as UTF-8.") from error
    except OSError as error:
        raise UserError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UserError(f"{path}:{line}: this is not YAML: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(f"{path}:{line}: this is not YAML: the character U+{ord(text[error.position]):04X}.") from error
    except ValueError as error:  # an escape of no character
        raise UserError(f"{path}:1: this is not YAML: {error}.") from error
    except RecursionError as error:
        raise UserError(f"{path}:1: the {what} is nested too deep to be read.") from error
    file_hash = hashlib.sha256(content).hexdigest()
    if root is None:
        return Document(path, {}, {}, file_hash)
    reader = _Reader(path)
    try:
        data = reader.value(root, ())
    except RecursionError as error:
        raise UserError(f"{path}:1: the {what} is nested too deep to be read.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}:1: the {what} must be a mapping of keys to values.")
    return Document(path, data, reader.lines, file_hash)


class _Reader:
    """Turns YAML nodes into plain values and notes each key's line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Key, int] = {}
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, key: Key) -> Any:
        """The node's value: dict, list, str, int, Decimal, bool or None."""
        line = node.start_mark.line + 1
        self.lines.setdefault(key, line)
        if id(node) in self._seen:
            raise UserError(f"{self.path}:{line}: {named(key)}: aliases (*name) are not supported; write it out.")
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, str(index))) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise UserError(f"{self.path}:{line}: a key must be plain text.")
            # The text itself is the key: a supplier called NO or 007 keeps its name.
            name = str(name_node.value)
            below = (*key, name)
            if name in found:
                raise UserError(f"{self.path}:{line}: {named(below)}: stands twice, first on line {self.lines[below]}.")
            self.lines[below] = line
            found[name] = self.value(value_node, below)
        return found


def _scalar(node: yaml.Node) -> str | int | Decimal | bool | None:
    text = str(node.value)
    if node.tag == _TAG + "null":
        return None
    if node.tag == _TAG + "bool":
        return _WORDS.get(text.lower(), text)
    if node.tag == _TAG + "int" and _INTEGER.fullmatch(text):
        return int(text)
    if node.tag == _TAG + "float" and _NUMBER.fullmatch(text):
        return Decimal(text)
    return text


def complaints(error: ValidationError, known: Sequence[str] = ()) -> list[tuple[Key, str]]:
    """Pydantic's errors as (key, what is wrong); `known` are full key names to suggest for an unknown one."""
    found = []
    for item in error.errors(include_url=False):
        key = tuple(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            found.append((key, unknown_key(".".join(key), known)))
        elif item["type"] in _SAID:
            found.append((key, _SAID[item["type"]]))
        elif item["type"] == "string_pattern_mismatch":
            found.append((key, f"must have the form {item['ctx']['pattern']}"))
        else:
            message = item["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
            found.append((key, message))
    return found


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What to say of an unknown key, with the nearest known one."""
    above, _, last = name.rpartition(".")
    beside = [other for other in known if above and last and other.startswith(name)]
    # What it stands under is known, and no help.
    others = [other for other in known if not name.startswith(f"{other}.")]
    near = beside or difflib.get_close_matches(name, others, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key"
