"""Secrets of AWS by reference, from moto's Secrets Manager: found, and each way not to be found one sentence."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from jobs.common import secrets_aws
from jobs.common.errors import FAILED, UserError
from jobs.common.secrets import secret

POLICY = Path(__file__).parents[2] / "conf/iam/secrets.json"
NAME = "AmazonMSK_reco"
Aws = Callable[[str], Any]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_aws, "_kept", {})


@pytest.fixture
def arn(aws: Aws) -> str:
    """The ARN of a secret as MSK wants it."""
    held = json.dumps({"username": "reco", "password": "first"})
    return str(aws("secretsmanager").create_secret(Name=NAME, SecretString=held)["ARN"])


def test_a_secret_is_found_by_name_or_arn_whole_or_one_value_of_it(aws: Aws, arn: str) -> None:
    aws("secretsmanager").create_secret(Name="plain", SecretString="whole text")
    assert secret("aws-secretsmanager:plain", "kafka.security.password") == "whole text"
    assert secret(f"aws-secretsmanager:{NAME}#password", "kafka.security.password") == "first"
    assert secret(f"aws-secretsmanager:{arn}#username", "kafka.security.password") == "reco"


def test_it_is_asked_for_once_and_a_new_one_is_known_after_a_while(
    aws: Aws, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"aws-secretsmanager:{NAME}#password"
    assert secret(reference, "x") == "first"
    aws("secretsmanager").put_secret_value(SecretId=NAME, SecretString='{"password": "second"}')
    assert secret(reference, "x") == "first"
    monkeypatch.setattr(secrets_aws, "KEPT_SECONDS", 0.0)
    assert secret(reference, "x") == "second"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nobody", r"^kafka\.security\.password: there is no secret nobody of AWS .*correct the reference\.$"),
        (f"{NAME}#pasword", r"has no text under 'pasword'; it has password, username\.$"),
        ("plain#password", r"holds no JSON object; refer to it without #password\.$"),
    ],
)
def test_what_is_not_there_is_named(aws: Aws, arn: str, place: str, told: str) -> None:
    aws("secretsmanager").create_secret(Name="plain", SecretString="whole text")
    with pytest.raises(UserError, match=told) as raised:
        secret(f"aws-secretsmanager:{place}", "kafka.security.password")
    assert "first" not in str(raised.value)
    assert "whole text" not in str(raised.value)


@pytest.fixture
def checked(aws_url: str, aws: Aws, arn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The server asks for rights from now on; what this gives makes us a new user with a policy, or with none."""

    def become(policy: str) -> None:
        key = users.pop()
        if policy:
            iam.put_user_policy(UserName=key["UserName"], PolicyName="p", PolicyDocument=policy)
        _check_from(aws_url, "0")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    iam = aws("iam")
    users = []
    for name in ("one", "other"):
        iam.create_user(UserName=name)
        users.append(iam.create_access_key(UserName=name)["AccessKey"])
    yield become
    _check_from(aws_url, "inf")


def _check_from(url: str, actions: str) -> None:
    headers = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{url}/moto-api/reset-auth", actions.encode(), headers, method="POST")
    assert urllib.request.urlopen(asked).status == 200


def test_the_policy_allows_what_reading_a_secret_asks_for(checked: Callable[[str], None], arn: str) -> None:
    policy = json.loads(POLICY.read_text())
    policy["Statement"][0]["Resource"] = "*"  # the server looks at actions alone
    checked(json.dumps(policy))
    assert secret(f"aws-secretsmanager:{arn}#password", "kafka.security.password") == "first"


def test_without_the_right_the_sentence_says_which(checked: Callable[[str], None], arn: str) -> None:
    checked("")
    told = rf"read the secret {NAME} of AWS for kafka\.security\.password: access denied .*conf/iam/secrets\.json\)\.$"
    with pytest.raises(UserError, match=told) as raised:
        secret(f"aws-secretsmanager:{NAME}#password", "kafka.security.password")
    assert raised.value.exit_code == FAILED


def test_the_policy_is_for_one_secret_alone(aws: Aws, arn: str) -> None:
    (statement,) = json.loads(POLICY.read_text())["Statement"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    region, account = arn.split(":")[3:5]
    allowed = statement["Resource"].replace("REGION", region).replace("ACCOUNT", account).replace(":SECRET", f":{NAME}")
    other = aws("secretsmanager").create_secret(Name=f"{NAME}-of-others", SecretString="x")["ARN"]
    assert fnmatchcase(arn, allowed)
    assert not fnmatchcase(other, allowed)
