"""What bronze holds of a payload: in each, what is personal stands in ⟦brackets⟧."""

import json
import re

from jobs.streaming.masking import DEPTH
from tests.streaming.masking.reference import hashed

FIELDS = ["guest.email", "guest.name", "notes", "a.b.c", 'odd "näme"/😀', "dotted\\.name"]
_ANN = "ann@example.org"


def nested(levels: int) -> str:
    """An object of so many levels, whose deepest is no personal field."""
    return '{"guest":{"email":⟦"%s"⟧},"x":%s%s}' % (_ANN, "[" * (levels - 1), "]" * (levels - 1))  # noqa: UP031


MARKED = {
    "missing": '{"guest":{"phone":"1"}}',
    "null": '{"guest":{"email":null}}',
    "nobody": '{"guest":null}',
    "text": '{"guest":{"email":⟦"ann@example.org"⟧}}',
    "two of one": '{"guest":{"name":⟦"Ann"⟧,"x":[{}],"email":⟦"ann@example.org"⟧}}',
    "empty": '{"notes":⟦""⟧}',
    "spaces": ' \n{ "guest" :\t{ "x" : 1 ,\r\n"email" : ⟦"ann@example.org"⟧ } }\n',
    "number": '{"notes":⟦1.50e+400⟧,"x":1e400}',
    "huge number": f'{{"notes":⟦{"9" * 300}⟧}}',
    "true": '{"notes":⟦true⟧}',
    "object": '{"notes":⟦{"a": [1, {}]}⟧}',
    "list": '{"notes":⟦["a", "b"]⟧,"x":[]}',
    "escaped value": '{"guest":{"email":⟦"\\u0061nn\\u0040example.org"⟧}}',
    "escaped name": '{"\\u0067ues\\u0074":{"em\\u0061il":⟦"ann@example.org"⟧}}',
    "odd name": '{"odd \\"näme\\"/😀":⟦"x"⟧,"odd":1}',
    "odd name escaped": '{"odd \\u0022n\\u00E4me\\"\\/\\uD83D\\uDe00":⟦"x"⟧}',
    "dotted": '{"dotted.name":⟦"x"⟧,"dotted":{"name":"y"}}',
    "unicode": '{"notes":⟦"ソフィア 😀\\n"⟧,"x":"é"}',
    "quotes": '{"x":"\\"notes\\":\\"no\\\\","notes":⟦"a\\"b"⟧}',
    "elsewhere": '{"x":{"notes":"kept"},"email":"kept"}',
    "a value like a name": '{"x":"notes","notes":⟦"n"⟧}',
    "brackets in text": '{"x":"}]{[\\"","notes":⟦"}]\\\\"⟧,"y":"}"}',
    "list of objects": '{"guest":[{"email":⟦"ann@example.org"⟧}, {"phone":1},null]}',
    "list of texts": '{"guest":[⟦"Ann"⟧,⟦1⟧, ⟦["Bob"]⟧,null]}',
    "empty list": '{"guest":[ ]}',
    "no object where one is due": '{"guest":⟦"Ann, ann@example.org"⟧}',
    "deeper": '{"a":{"b":[{"c":⟦"x"⟧},{"c":⟦{"d":1}⟧}]}}',
    "masked before": f'{{"notes":"{hashed(_ANN)}"}}',
    "as deep as is looked": nested(DEPTH),
}
#: What cannot be taken apart for certain.
WHOLE = [
    *("", "null", '"notes"', '["notes"]', '{"notes":"a"', '{"notes":"a"} x', "{'notes':'a'}", '{"notes":"\\ud800"}'),
    *('{"notes":"a","notes":"b"}', '{"guest":{"email":"a","email":"b"}}', '{"guest":{},"guest":{"email":"b"}}'),
    *('{"notes":NaN}', '{"notes":01}', '\ufeff{"notes":"a"}', '{"notes":"a\nb"}'),
    re.sub("[⟦⟧]", "", nested(DEPTH + 1)),
]


def payload(marked: str) -> str:
    """As it was sent."""
    return re.sub("[⟦⟧]", "", marked)


def expected(marked: str) -> str:
    """As bronze holds it."""

    def pseudonym(found: re.Match[str]) -> str:
        said = json.loads(found[1]) if found[1].startswith('"') else found[1]
        return f'"{hashed(said)}"'

    return re.sub("⟦(.*?)⟧", pseudonym, marked)
