"""Personal data: what is replaced, how, and that nothing of it stays."""

import hashlib
import hmac

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data.steps import STEPS, Context, DataError

SALT = b"0123456789abcdef"
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=20)), min_size=1, max_size=20)


def texts(values: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({"name": pd.Series(values, dtype="str")})


@given(TEXTS, st.integers(0, 5))
def test_mask_keeps_the_length_and_the_end(values: list[str | None], keep: int) -> None:
    result = STEPS["mask"](columns=["name"], keep_last=keep).apply(texts(values), Context())["name"]
    for value, masked in zip(values, result, strict=True):
        if value is None:
            assert pd.isna(masked)
        else:
            kept = keep if len(value) > keep else 0
            assert masked == "*" * (len(value) - kept) + (value[-kept:] if kept else "")


@given(TEXTS, st.binary(min_size=16, max_size=100))
def test_hash_is_the_hmac_of_the_value(values: list[str | None], salt: bytes) -> None:
    result = STEPS["hash"](columns=["name"]).apply(texts(values), Context(salt=salt))["name"]
    for value, hashed in zip(values, result, strict=True):
        assert pd.isna(hashed) if value is None else hashed == hmac.digest(salt, value.encode(), "sha256").hex()
        assert value is None or hashed != hashlib.sha256(value.encode()).hexdigest()


def test_pseudonyms_are_the_same_in_every_table_and_others_in_another_domain() -> None:
    step = STEPS["pseudonymise"](columns=["name"], domain="person")
    first = step.apply(texts(["ann", "bob"]), Context(salt=SALT))["name"]
    # Elsewhere the same key is a number, in a column with a missing value and without.
    second = step.apply(texts(["bob", None, "ann"]), Context(salt=SALT))["name"]
    assert (first[0], first[1]) == (second[2], second[0])
    assert first[0].startswith("person-") and len(set(first)) == 2
    other = STEPS["pseudonymise"](columns=["name"], domain="client").apply(texts(["ann"]), Context(salt=SALT))
    assert other["name"][0].split("-")[1] != first[0].split("-")[1]
    assert step.apply(texts(["ann"]), Context(salt=b"another secret, too"))["name"][0] != first[0]


def test_pseudonyms_are_the_same_however_many_values_are_replaced_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    step = STEPS["pseudonymise"](columns=["name"], domain="person")
    frame = texts(["ann", None, "bob", "ann", "cy"]).set_axis([7, 8, 9, 20, 21])
    whole = step.apply(frame, Context(salt=SALT))
    monkeypatch.setattr("modelops_runtime.data.replacing.VALUES_AT_A_TIME", 2)
    pd.testing.assert_frame_equal(step.apply(frame, Context(salt=SALT)), whole)
    assert whole["name"][7] == f"person-{hmac.digest(SALT, b'person' + bytes(1) + b'ann', 'sha256').hex()[:16]}"


def test_a_number_has_one_pseudonym_whatever_its_columns_type() -> None:
    step = STEPS["pseudonymise"](columns=["name"], domain="person")
    whole = step.apply(pd.DataFrame({"name": [7, 8]}), Context(salt=SALT))["name"]
    floating = step.apply(pd.DataFrame({"name": [7.0, None]}), Context(salt=SALT))["name"]
    assert whole[0] == floating[0] == step.apply(texts(["7"]), Context(salt=SALT))["name"][0]


@pytest.mark.parametrize("name", ["hash", "pseudonymise"])
def test_a_short_salt_is_refused(name: str) -> None:
    fields = {"domain": "person"} if name == "pseudonymise" else {}
    with pytest.raises(ConfigurationError, match="16 bytes in MODELOPS_SALT"):
        STEPS[name](columns=["name"], **fields).apply(texts(["ann"]), Context(salt=b"short"))


def test_drop_leaves_the_column_out_and_says_so() -> None:
    context = Context()
    assert list(STEPS["drop"](columns=["name"]).apply(texts(["ann"]).assign(x=1), context).columns) == ["x"]
    assert context.report == [{"protected": "name", "by": "drop", "values": 1}]


PLANTED = {
    "EMAIL_ADDRESS": "ann.lee@example.com",
    "PHONE_NUMBER": "+1 212-555-0172",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89370400440532013000",
    "IP_ADDRESS": "192.0.2.7",
    "US_SSN": "536-22-8145",
}


@pytest.mark.parametrize(("kind", "value"), PLANTED.items())
def test_personal_data_in_free_text_is_found_and_redacted(kind: str, value: str) -> None:
    frame, context = texts([f"please note: {value}, thanks", "nothing here", None]), Context()
    result = STEPS["scan_text"](columns=["name"]).apply(frame, context)["name"]
    assert value not in result[0] and f"<{kind}>" in result[0]
    assert result[1] == "nothing here" and pd.isna(result[2])
    assert context.report[0]["found"] == {kind: 1}
    assert value not in str(context.report)


def test_a_scan_can_fail_or_only_report() -> None:
    frame = texts(["fine", f"mail {PLANTED['EMAIL_ADDRESS']}"])
    with pytest.raises(DataError, match=r"a\.csv, row 1, column name: has personal data \(EMAIL_ADDRESS\)") as caught:
        STEPS["scan_text"](columns=["name"], action="fail").apply(frame, Context(files=["a.csv"]))
    assert caught.value.code == Exit.PRIVACY
    reported = STEPS["scan_text"](columns=["name"], action="report").apply(frame, Context())
    assert list(reported["name"]) == list(frame["name"])


def test_numbers_that_are_redacted_become_text() -> None:
    frame = pd.DataFrame({"card": [4111111111111111, 7]})
    assert STEPS["scan_text"](columns=["card"]).apply(frame, Context())["card"].tolist() == ["<CREDIT_CARD>", "7"]
    reported = STEPS["scan_text"](columns=["card"], action="report").apply(frame, Context())
    assert reported["card"].dtype == "int64"
