"""No secret in the comment, however it is written."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from previews import reading, render
from previews.scrub import Scrubber

FEW = settings(max_examples=5)
"""Of each notation; there are hundreds."""
CHARACTERS = "QXZJKWVqxzjkwv23456789"
"""No word of a comment is made of these alone."""
WORD = st.text(CHARACTERS, min_size=8, max_size=24).map(lambda text: f"Zq{text}")
"""A secret of letters and digits."""
LINE = st.text(CHARACTERS + "!#$%^*()_+=,.:/?<>~@&-", min_size=8, max_size=24).map(lambda text: f"Zq{text}9xZ")
"""A secret with signs that mean something elsewhere."""


def comment(old: Any, new: Any, kind: str = "core/v1:ConfigMap", host: str = "github") -> str:
    urn = f"urn:pulumi:dev::app::kubernetes:{kind}::thing"
    sides = {"oldState": {"custom": True, "inputs": old}, "newState": {"custom": True, "inputs": new}}
    document = json.dumps({"steps": [{"op": "update", "urn": urn, **sides}]})
    return render.render([reading.read(document, source="p")], host)


def pieces(secret: str) -> list[str]:
    """What would give the secret away: any six signs in a row, half of them of the secret's own."""
    rows = [secret[start : start + 6] for start in range(len(secret) - 5)]
    return [row for row in rows if sum(sign in CHARACTERS for sign in row) >= 3]


def hides(secret: str, place: Callable[[str], Any], kind: str = "core/v1:ConfigMap") -> bool:
    """Whether no part of the secret is shown: added, removed, changed, or beside another change."""
    there, other = place(secret), place("another")
    cases = ((there, {}), ({}, there), (there, other), (other, there), ({"a": 1, "b": there}, {"a": 2}))
    for old, new in cases:
        body = comment(old, new, kind)
        if any(piece in body for piece in pieces(secret)):
            return False
    return True


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "web", **fields}]}}}}


def variable(name: str) -> Callable[[str], Any]:
    return lambda secret: container(env=[{"name": "A", "value": "b"}, {"name": name, "value": secret}])


def argument(*before: str) -> Callable[[str], Any]:
    return lambda secret: container(args=["run", *before, secret, "--verbose"])


def text(form: str) -> Callable[[str], Any]:
    """In a ConfigMap, alone and among other lines, and in a shell's command."""
    return lambda secret: {
        "data": {"one": form.replace("SECRET", secret), "two": "a: 1\n" + form.replace("SECRET", secret) + "\nb: 2\n"},
        "command": ["sh", "-c", form.replace("SECRET", secret)],
    }


NAMES = [
    "PASSWORD",
    "DB_PASS",
    "DBPASS",
    "MYSQL_PWD",
    "PGPASSWORD",
    "REDISCLI_AUTH",
    "REDIS_AUTH",
    "API_KEY",
    "apikey",
    "OPENAI_KEY",
    "ENCRYPTION_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "SECRET",
    "CLIENT_SECRET",
    "clientSecret",
    "SENTRY_DSN",
    "DATABASE_URL_PASSWORD",
    "GH_PAT",
    "JWT",
    "SESSION_COOKIE",
    "smtp.passwd",
    "bindpw",
    "SLACK_WEBHOOK",
    "SLACK_WEBHOOK_URL",
    "PASSPHRASE",
    "CREDENTIALS",
    "DB_CREDS",
    "FERNET_KEY",
    "DJANGO_SECRET_KEY",
    "SAS_TOKEN",
    "accountKey",
    "HF_TOKEN",
    "TOTP",
    "kubeconfig",
    ".dockerconfigjson",
    "id_rsa",
    "tls.key",
]


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(secret=LINE)
def test_the_value_of_a_secret_name_is_hidden_wherever_names_have_values(name: str, secret: str) -> None:
    assert hides(secret, variable(name))
    assert hides(secret, lambda value: {"data": {name: value}})
    assert hides(secret, lambda value: {"values": {"deep": [{name: {"nested": value}}]}})
    assert hides(secret, lambda value: {"set": [{"name": name, "value": value}, {"name": name, "value": "b"}]})
    assert hides(secret, lambda value: {"set": [{"key": name, "value": value}, {"other": 1}]})
    assert hides(secret, lambda value: {"data": {"json": json.dumps({"a": {name: value}})}})
    assert hides(secret, lambda value: {"data": {"json": json.dumps([{"name": name, "value": value}])}})


FLAGS = [
    "--password",
    "--db-password",
    "-password",
    "--token",
    "--api-key",
    "--client-secret",
    "--requirepass",
    "--storage-key",
]


@pytest.mark.parametrize("flag", FLAGS)
@FEW
@given(secret=LINE)
def test_the_argument_of_a_secret_flag_is_hidden(flag: str, secret: str) -> None:
    assert hides(secret, argument(flag))
    assert hides(secret, lambda value: container(args=[f"{flag}={value}"]))
    assert hides(secret, lambda value: container(command=["server", flag], args=[value, "--verbose"]))
    assert hides(secret, lambda value: container(command=["sh", "-c", f"server {flag} {value} --verbose"]))
    assert hides(secret, lambda value: container(command=["sh", "-c", f"server {flag} '{value} and more'"]))


@pytest.mark.parametrize(
    "command",
    [
        ["mysql", "-uroot", "-pSECRET"],
        ["mysqldump", "-h", "db", "-u", "root", "-pSECRET", "models"],
        ["mongosh", "-u", "root", "-p", "SECRET"],
        ["sshpass", "-p", "SECRET", "ssh", "host"],
        ["redis-cli", "-a", "SECRET", "ping"],
        ["docker", "login", "-u", "bot", "-p", "SECRET", "registry.example.com"],
        ["sqlcmd", "-U", "sa", "-P", "SECRET"],
        ["curl", "-u", "bot:SECRET", "https://example.com"],
        ["curl", "--user", "bot:SECRET", "https://example.com"],
        ["curl", "-H", "Authorization: Bearer SECRET", "https://example.com"],
        ["curl", "-H", "X-Api-Key: SECRET", "https://example.com"],
        ["aws", "configure", "set", "aws_secret_access_key", "SECRET"],
        ["helm", "install", "a", "b", "--set", "auth.rootPassword=SECRET"],
        ["java", "-Dspring.datasource.password=SECRET", "-jar", "a.jar"],
        ["env", "PGPASSWORD=SECRET", "psql"],
    ],
    ids=lambda command: command[0],
)
@FEW
@given(secret=WORD)
def test_the_password_on_a_command_line_is_hidden(command: list[str], secret: str) -> None:
    def placed(value: str) -> list[str]:
        return [word.replace("SECRET", value) for word in command]

    assert hides(secret, lambda value: container(command=placed(value)))
    assert hides(secret, lambda value: container(command=placed(value)[:1], args=placed(value)[1:]))
    assert hides(secret, lambda value: container(command=["sh", "-c", " ".join(placed(value))]))
    assert hides(
        secret, lambda value: {"data": {"run.sh": f"#!/bin/sh\nset -e\n{' '.join(placed(value))}\necho done\n"}}
    )


@pytest.mark.parametrize(
    "form",
    [
        "password: SECRET",
        "password: 'SECRET'",
        'password: "SECRET, and more"',
        'export DB_PASSWORD="SECRET; more"',
        '{"user": "a", "password": "SECRET"}',
        '{"auths": {"registry.example.com": {"auth": "SECRET"}}}',
        "- name: DB_PASSWORD\n  value: SECRET",
        "name: API_TOKEN, value: SECRET",
        "password: |\n  SECRET\n",
        "deep:\n  token: >-\n    SECRET\n    SECRET\n  other: 1",
        "{user: a, password: SECRET}",
        "[db]\npassword = SECRET",
        "spring.datasource.password=SECRET",
        "machine example.com login bot password SECRET",
        "requirepass SECRET",
        "//registry.npmjs.org/:_authToken=SECRET",
        "Server=tcp:db.example.com,1433;Database=a;User ID=b;Password=SECRET;Encrypt=true",
        "Server=db;Uid=a;Pwd=SECRET;",
        "Server=db;User Id=a;Password={SECRET;more};Database=b",
        "host=db user=a password=SECRET dbname=b",
        "host=db user=a password='SECRET more' dbname=b",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET;EndpointSuffix=core.windows.net",
        "Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=b;SharedAccessKey=SECRET",
        "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=sv=2022-11-02&ss=b&sig=SECRET",
        "https://a.blob.core.windows.net/b?sv=2022-11-02&sr=b&sig=SECRET&se=2030",
        "https://b.s3.amazonaws.com/a?X-Amz-Credential=c&X-Amz-Signature=SECRET&X-Amz-Date=d",
        "https://storage.googleapis.com/a?X-Goog-Signature=SECRET",
        "https://example.com/api?api_key=SECRET&page=1",
        "https://example.com/api?access_token=SECRET",
        "https://a.azurewebsites.net/api/f?code=SECRET",
        "postgresql://user:SECRET@db:5432/models",
        "postgresql+psycopg2://user:SECRET@db/models?sslmode=require",
        "mysql://user:SECRET@db/models",
        "mongodb+srv://user:SECRET@a.mongodb.net/b",
        "redis://:SECRET@cache:6379/0",
        "rediss://default:SECRET@cache:6379",
        "amqps://user:SECRET@queue/vhost",
        "clickhouse://user:SECRET@db:8123",
        "snowflake://user:SECRET@account/db",
        "https://user:SECRET@example.com/a.git",
        "https://SECRET@sentry.example.com/1",
        "jdbc:oracle:thin:scott/SECRET@//db:1521/a",
        "jdbc:mysql://db/a?user=b&password=SECRET",
        "jdbc:sqlserver://db;user=a;password=SECRET;encrypt=true",
        "https://hooks.slack.com/services/T00/B00/SECRET",
        "https://hooks.slack.com/workflows/T00/A00/1/SECRET",
        "https://discord.com/api/webhooks/1/SECRET",
        "https://a.webhook.office.com/webhookb2/a@b/IncomingWebhook/SECRET/c",
        "https://hooks.zapier.com/hooks/catch/1/SECRET",
        "https://chat.googleapis.com/v1/spaces/A/messages?key=SECRET&token=SECRET",
        "https://api.telegram.org/bot123456:SECRET/sendMessage",
        "https://mattermost.example.com/hooks/SECRET",
        "https://events.pagerduty.com/integration/SECRET/enqueue",
        "https://oapi.dingtalk.com/robot/send?access_token=SECRET",
        "https://open.feishu.cn/open-apis/bot/v2/hook/SECRET",
        "https://a.logic.azure.com/workflows/b/triggers/manual/paths/invoke?sig=SECRET",
        "Authorization: Bearer SECRET",
        "Authorization: Basic SECRET==",
        "Proxy-Authorization: token SECRET",
        "API key: SECRET",
        "Cookie: session=SECRET",
        "ALTER USER a IDENTIFIED BY 'SECRET';",
        "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----",
        "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nSECRET\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nSECRET\n-----END PGP PRIVATE KEY BLOCK-----",
        '{"type": "service_account", "private_key_id": "SECRET", "client_email": "a@b"}',
        "bot:$2y$10$SECRET",
    ],
)
@FEW
@given(secret=WORD)
def test_a_secret_in_a_text_is_hidden(form: str, secret: str) -> None:
    assert hides(secret, text(form))
    assert secret not in Scrubber().text(f"the update failed: {form.replace('SECRET', secret)}")


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://user:SECRET@db:5432/models",
        "redis://:SECRET@cache:6379/0",
        'password: "SECRET"',
        "password: 'SECRET'",
        "a: 1\npassword: SECRET\nb: 2",
        "PASSWORD=SECRET\nOTHER=1\n",
        "Server=db;Uid=a;Pwd={SECRET};Encrypt=true",
    ],
)
@FEW
@given(secret=LINE)
def test_a_password_with_any_signs_is_hidden_to_its_end(form: str, secret: str) -> None:
    shown = Scrubber().text(form.replace("SECRET", secret))
    assert not any(piece in shown for piece in pieces(secret)), shown


TOKENS = [
    "gho_[A-Za-z0-9]{36}",
    "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    "glrt-[A-Za-z0-9_-]{20}",
    "(AKIA|ASIA)[0-9A-Z]{16}",
    "AIza[A-Za-z0-9_-]{35}",
    "ya29\\.[A-Za-z0-9_-]{40}",
    "hf_[A-Za-z0-9]{34}",
    "sk-proj-[A-Za-z0-9_-]{40}",
    "sk-ant-api03-[A-Za-z0-9_-]{40}",
    "A3T[A-Z0-9][0-9A-Z]{16}",
    "[0-9a-z]{32}-us[0-9]{1,2}",
    "npm_[A-Za-z0-9]{36}",
    "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50}",
    "xoxb-[0-9]{12}-[0-9]{12}-[A-Za-z0-9]{24}",
    "xapp-1-[A-Z0-9]{11}-[0-9]{13}-[a-f0-9]{64}",
    "dckr_pat_[A-Za-z0-9_-]{27}",
    "SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}",
    "sk_live_[A-Za-z0-9]{24}",
    "dop_v1_[a-f0-9]{64}",
    "hvs\\.[A-Za-z0-9_-]{24}",
    "dapi[a-f0-9]{32}",
    "glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}",
    "[0-9]{9}:AA[A-Za-z0-9_-]{33}",
    "[A-Za-z0-9+/]{86}==",
    "eyJ[A-Za-z0-9_-]{20}\\.eyJ[A-Za-z0-9_-]{20}\\.[A-Za-z0-9_-]{40}",
    "AGE-SECRET-KEY-1[0-9A-Z]{58}",
]


@pytest.mark.parametrize("shape", TOKENS)
@FEW
@given(data=st.data())
def test_tokens_are_known_by_their_form_in_any_place(shape: str, data: st.DataObject) -> None:
    token = data.draw(st.from_regex(shape, fullmatch=True).filter(str.isascii))
    for around in ("failed with {} in the address", '"{}"', "a={}", "[{}]", "{}"):
        assert token not in Scrubber().text(around.format(token))


@FEW
@given(value=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=8))
def test_a_named_value_is_hidden_in_every_notation(value: str) -> None:
    scrubber = Scrubber([value])
    encoded = base64.b64encode(value.encode()).decode()
    for form in (value, json.dumps(value)[1:-1], encoded):
        assert form not in scrubber.text(f"a {form} b")


# --- What a reviewer needs stays


@pytest.mark.parametrize(
    "form",
    [
        "docker.io/team/token-service:1.2",
        "registry.example.com/team/web@sha256:" + "a" * 64,
        "http://registry.modelops-dev.svc:5000/path@run-1",
        "https://github.com/team/app/blob/main/a.md",
        "models:/linear@run-22906ac4343e",
        "--port 8080 --password-file /run/secrets/db --tokenizer bert-base",
        "mkdir -p /data/models && cp -pr a b && nc -p 8080",
        "server -port=8080 -profile prod -path /data",
        "docker run -p 8080:80 -u 1000:1000 web",
        "PASSWORD=$(DB_PASSWORD)",
        "--password=${DB_PASSWORD}",
        "tokenizer: bert-base-uncased",
        "global-service-of-a-long-name and sk-learn",
        "sha512-" + "a" * 86 + "==",
        "primary_key: id, sort_key: date",
        "a pod's default ServiceAccount token is mounted; set automountServiceAccountToken to false",
    ],
)
def test_what_is_no_secret_stays_readable(form: str) -> None:
    assert Scrubber().text(form) == form


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        (container(env=[{"name": "MAX_TOKENS", "value": "512"}]), "512"),
        (container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pass"}}}]), '"key": "pass"'),
        ({"spec": {"automountServiceAccountToken": True}}, '"automountServiceAccountToken": true'),
        ({"spec": {"volumes": [{"name": "a", "secret": {"secretName": "registry-bucket"}}]}}, "registry-bucket"),
        ({"spec": {"imagePullSecrets": [{"name": "pull-images"}]}}, "pull-images"),
        ({"spec": {"existingSecret": "registry-bucket"}}, "registry-bucket"),
        ({"spec": {"topologyKey": "kubernetes.io/hostname"}}, "kubernetes.io/hostname"),
        ({"rules": [{"resources": ["secrets", "pods"]}]}, "pods"),
        ({"values": {"auth": {"enabled": False, "password": "hunter22"}}}, '"enabled": false'),
        ({"data": {"signature": "inputs"}}, "inputs"),
    ],
)
def test_what_only_names_a_secret_stays_readable(inputs: dict[str, Any], shown: str) -> None:
    assert shown in comment({}, inputs, host="text")
