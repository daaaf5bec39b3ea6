"""What a request to S3 needs to be allowed, and whether a policy of conf/iam allows it."""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs

from tests.s3.proxy import Call

FOLDER = Path(__file__).parents[2] / "conf" / "iam"
Need = tuple[str, str]


def needs(call: Call) -> set[Need]:
    """The actions of IAM and what they are done to: keys, or for ListBucket the prefix."""
    query = parse_qs(call.query, keep_blank_values=True)
    if call.deletes:
        return {("s3:DeleteObject", key) for key in call.deletes}
    if not call.key:
        if "location" in query:
            return {("s3:GetBucketLocation", "")}
        if "uploads" in query:
            return {("s3:ListBucketMultipartUploads", "")}
        return {("s3:ListBucket", query.get("prefix", [""])[0])}
    if call.copies:
        return {("s3:GetObject", call.copies), ("s3:PutObject", call.key)}
    if call.method == "DELETE":
        return {("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", call.key)}
    action = "s3:GetObject" if call.method in ("GET", "HEAD") else "s3:PutObject"
    return {(action, call.key)}


def statements(name: str, root: str) -> list[tuple[list[str], list[str]]]:
    """A policy's statements as actions and patterns of keys; `root`: the lake's prefix within its bucket."""
    found = []
    for one in json.loads((FOLDER / f"{name}.json").read_text())["Statement"]:
        assert one["Effect"] == "Allow"
        prefixes = one.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        keys = prefixes or [arn.partition("/")[2] for arn in _list(one["Resource"])]
        found.append((_list(one["Action"]), [key.replace("LAKE", root) for key in keys]))
    return found


def refused(name: str, root: str, calls: Iterable[Call]) -> set[Need]:
    """What these calls need and the policy does not allow."""
    allowed = statements(name, root)
    return {
        (action, key)
        for call in calls
        for action, key in needs(call)
        if not any(action in actions and _fits(key, patterns) for actions, patterns in allowed)
    }


def _fits(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def unused(name: str, root: str, calls: Iterable[Call]) -> list[tuple[str, str]]:
    """Actions on patterns that the policy allows and none of these calls needs.

    But for the places above tables, `LAKE` and `LAKE/gold`: whoever makes the first table there looks at them.
    """
    wanted = {need for call in calls for need in needs(call)}
    return [
        (action, pattern)
        for actions, patterns in statements(name, root)
        for action in actions
        for pattern in patterns
        if "*" in pattern and not any(action == done and fnmatchcase(key, pattern) for done, key in wanted)
    ]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
