"""PKCS #11 URIs: what one may say, and that nothing else passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.errors import UsageError
from agent_pipeline.signing import pkcs11_uri
from agent_pipeline.signing.pkcs11_uri import Uri

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
PATHS = WORDS.map(lambda text: "/" + text.replace("//", "/").removeprefix("/"))


def test_the_examples_of_the_standard() -> None:
    """RFC 7512, 3, those that name a private key, and without the attributes that have no place here."""
    assert pkcs11_uri.read("pkcs11:") == Uri()
    text = (
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-key;"
    )
    found = pkcs11_uri.read(text + "type=private;serial=?pin-source=file:/etc/token")
    assert found.token == "The Software PKCS#11 Softtoken"
    assert (found.manufacturer, found.object, found.serial) == ("Snake Oil, Inc.", "my-key", "")
    assert found.pin_source == "/etc/token"
    assert pkcs11_uri.read("pkcs11:id=%69%95%3E%5C%F4%BD%EC%91").id == b"i\x95>\\\xf4\xbd\xec\x91"
    assert pkcs11_uri.read("pkcs11:slot-id=327?module-path=/mnt/libmypkcs11.so.1").slot_id == 327


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pkcs12:token=x", "begin"),
        ("pkcs11:token=x;token=x", "twice"),
        ("pkcs11:type=cert", "private"),
        ("pkcs11:type=public", "private"),
        ("pkcs11:token", "none of"),
        ("pkcs11:library-version=3", "none of"),
        ("pkcs11:x-vendor=1", "none of"),
        ("pkcs11:token=x?module-name=softhsm", "none of"),
        ("pkcs11:token=a b", "%XX"),
        ("pkcs11:token=%4", "%XX"),
        ("pkcs11:token=%ff", "UTF-8"),
        ("pkcs11:token=%0a", "control"),
        ("pkcs11:slot-id=one", "number"),
        ("pkcs11:?module-path=libp11.so", "absolute"),
        ("pkcs11:?pin-source=%7Cprompt", "absolute"),
        ("pkcs11:?pin-source=https://x", "absolute"),
        ("pkcs11:token=" + "x" * 5000, "4096"),
    ],
)
def test_what_is_refused(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word) as refused:
        pkcs11_uri.read(text)
    assert "keys list" in str(refused.value.hint)


def test_a_pin_in_the_uri_is_refused_and_not_repeated() -> None:
    for text in ("pkcs11:token=x?pin-value=4711", "pkcs11:pin-value=4711"):
        with pytest.raises(UsageError, match="a PIN in a PKCS #11 URI") as refused:
            pkcs11_uri.read(text)
        assert "4711" not in f"{refused.value.message} {refused.value.hint}"


@given(
    st.builds(
        Uri,
        *[st.none() | WORDS] * 4,
        st.none() | st.integers(0, 2**31),
        st.none() | WORDS,
        st.none() | st.binary(min_size=1, max_size=20),
        st.none() | PATHS,
        st.none() | PATHS,
    )
)
def test_what_is_written_is_read(uri: Uri) -> None:
    assert pkcs11_uri.read(uri.text()) == uri


@given(st.text(max_size=100))
def test_any_text_is_a_uri_or_our_own_error(text: str) -> None:
    for candidate in (text, f"pkcs11:{text}", f"pkcs11:token=x?{text}"):
        try:
            pkcs11_uri.read(candidate)
        except UsageError:
            continue
