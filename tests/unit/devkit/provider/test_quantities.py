"""Amounts in the server's form."""

import pytest

from devkit.pulumi_plugins.kubernetes_provider.objects.quantities import canonical


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (0.5, "500m"),
        (2, "2"),
        ("100m", "100m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("512", "512"),
        ("1e9", "1e9"),
        ("1000Mi", "1000Mi"),
        ("1000k", "1M"),
        ("128M", "128M"),
        ("0", "0"),
        ("0m", "0"),
        ("1500u", "1500u"),
        ("0.1Ki", "102400m"),
    ],
)
def test_amounts_are_written_as_the_server_writes_them(written: object, stored: str) -> None:
    assert canonical(written) == stored


@pytest.mark.parametrize("value", ["25%", "", "abc", "1 Gi", None, True, {"a": 1}])
def test_what_is_no_amount_stays(value: object) -> None:
    assert canonical(value) == value
