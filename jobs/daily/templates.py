"""Great Expectations' templates, compiled once: it has an environment of its own for each page of the data docs."""

from functools import partial

from great_expectations.render.view import view
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket


class _Compiled(BytecodeCache):
    """Compiled templates by their key, for as long as the process lives."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


def compile_once() -> None:
    """Let all pages go by the same compiled templates."""
    names = vars(view)
    if not isinstance(names["Environment"], partial):
        names["Environment"] = partial(names["Environment"], bytecode_cache=_Compiled())
