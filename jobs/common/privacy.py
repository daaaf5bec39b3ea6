"""Which fields of raw records are personal, and the keys that their pseudonyms are made with."""

import hmac
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from jobs.common.errors import UserError
from jobs.common.formats.model import NAMES
from jobs.common.secrets import as_reference, secret
from jobs.common.sections import Section

#: Bytes that a key has at least: as many as SHA-256 gives (RFC 2104, section 3).
KEY_BYTES = 32
#: Names of a path at most.
LONGEST_PATH = 8
#: What the stream itself reads of a record: masked, it could not be sent again as the same event.
READ_NAMES = frozenset({*NAMES, "heartbeat"})
READ_HEADERS = frozenset({"id", "supplierid", "redriven"})
#: What stands for a value: the key's name, and the keyed hash in hexadecimal.
PSEUDONYM = r"masked:[A-Za-z0-9._-]{1,32}:[0-9a-f]{64}"

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
Reference = Annotated[str, BeforeValidator(as_reference)]
#: Personal fields as names under names; None where the value itself is one.
Tree = dict[str, "Tree | None"]


class Privacy(Section):
    r"""Personal fields of raw records, which bronze and quarantine hold as keyed hashes; nothing is masked by default.

    fields: paths in the JSON payload, of either side, like `guest.email`; lists on the way are walked through, and a
    dot within a name is written `\.`. headers: record headers by name, in any case. record_key: the record's key too.
    keys: by name, where each key is (a reference: `env:NAME`, `file:PATH`, `aws-secretsmanager:NAME#KEY`), 32 bytes at
    least. key: the name of the one that masks; the others are those of before. plain_formats: payload formats in CSV or
    Avro that hold nothing personal; records of any other format that is not JSON are masked whole.
    """

    fields: list[str] = Field(default_factory=list, max_length=64)
    headers: list[str] = Field(default_factory=list, max_length=64)
    record_key: bool = False
    keys: dict[KeyName, Reference] = Field(default_factory=dict, repr=False)
    key: str = ""
    plain_formats: list[str] = Field(default_factory=list)

    @property
    def masks(self) -> bool:
        """Whether anything is to be masked."""
        return bool(self.fields or self.headers or self.record_key)

    @property
    def tree(self) -> Tree:
        """The fields as names under names; a path that another one leads through covers it."""
        return tree_of(self.fields)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for path in self.fields:
            names = split(path)
            if not all(names) or len(names) > LONGEST_PATH:
                raise ValueError(f"fields: {path!r} is no path of 1 to {LONGEST_PATH} names, like guest.email")
            if names[0] in READ_NAMES:
                raise ValueError(f"fields: {names[0]} is no personal field: the stream reads it")
        if read := sorted(READ_HEADERS & {name.lower() for name in self.headers}):
            raise ValueError(f"headers: {read[0]} is read by the stream and cannot be masked")
        if self.masks and self.key not in self.keys:
            raise ValueError("key: must name one of keys, which fields, headers and record_key are masked with")
        return self


def split(path: str) -> tuple[str, ...]:
    r"""The names of a path: `guest.email` has two, `guest\.email` one."""
    return tuple(name.replace("\\.", ".") for name in re.split(r"(?<!\\)\.", path))


def tree_of(paths: Iterable[str]) -> Tree:
    """The paths as names under names; a path that another one leads through covers it."""
    tree: Tree = {}
    for names in sorted({split(path) for path in paths}, key=lambda names: (len(names), names)):
        here = tree
        for name in names[:-1]:
            below = here.setdefault(name, {})
            if below is None:
                break
            here = below
        else:
            here[names[-1]] = None
    return tree


def key_bytes(privacy: Privacy, name: str) -> bytes:
    """A key by its name. UserError where it is not there, or too short to be one."""
    what = f"privacy.keys.{name}"
    found = secret(privacy.keys[name], what).encode()
    if len(found) < KEY_BYTES:
        raise UserError(
            f"{what}: {privacy.keys[name]} holds {len(found)} bytes; a key has {KEY_BYTES} at least, like the 64 "
            "digits that `openssl rand -hex 32` gives."
        )
    return found


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and outer pad of HMAC-SHA256 (RFC 2104): each goes before what is hashed first, and second."""
    block = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def pseudonym(name: str, key: bytes, value: str) -> str:
    """What the stream puts in the place of a text, with this key."""
    return f"masked:{name}:{hmac.digest(key, value.encode(), 'sha256').hex()}"
