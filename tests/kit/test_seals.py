"""Merkle roots by RFC 6962's vectors, and one spelling of a value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any, SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_secure_auth.kit import seals
from django_secure_auth.kit.keys import Secret
from django_secure_auth.kit.seals import (
    canonical,
    canonical_texts,
    commitment,
    commitment_fits,
    digest,
    leaf,
    mac,
    mac_fits,
    merkle_root,
    new_salt,
)

# Leaves and roots of the test data of Certificate Transparency's reference implementation.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(9))
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    assert merkle_root(map(leaf, LEAVES[:count])).hex() == ROOTS[count]


def test_a_leaf_is_no_node() -> None:
    """RFC 6962 §2.1: two leaves cannot pass as one."""
    two = [leaf(b"a"), leaf(b"b")]
    assert leaf(b"".join(two)) != merkle_root(two)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é\n\x7f"]}, '{"a":[true,null,"é\\n\x7f"],"b":1}'),
        (1.0, "1"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        (1e300, "1" + "0" * 300),
        (0.1, "0.1"),
        (2**63 + 1, "9223372036854775809"),
        ({2: "x", True: "y", None: (1, 2)}, '{"2":"x","null":[1,2],"true":"y"}'),
        ("\u2028 \\ \"", '"\u2028 \\\\ \\""'),
    ],
)  # fmt: skip
def test_a_value_has_one_spelling(value: Any, text: str) -> None:
    """RFC 8785, and what it leaves out."""
    assert canonical(value).decode() == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(JSON)
def test_a_round_through_json_changes_no_spelling(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return
    assert canonical(json.loads(json.dumps(value))) == canonical(value)


@pytest.mark.parametrize(
    ("value", "error"),
    [(float("nan"), ValueError), (float("inf"), ValueError), ("\ud800", ValueError), ({1}, TypeError)],
)
def test_what_is_no_json_has_no_spelling(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        canonical(value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_are_spelt_as_values_are(texts: list[str]) -> None:
    assert canonical_texts(*texts) == canonical(texts)


@pytest.mark.control("ASVS-11.4.3")
def test_macs_and_commitments_are_whole_and_fit_one_thing() -> None:
    secret = Secret("k", b"k" * 32)
    tag = mac(secret.value, b"data")
    assert len(tag) == 43
    assert mac_fits(secret, b"data", tag)
    for wrong in ("", tag[:-1], tag + "=", "é" * 43):
        assert not mac_fits(secret, b"data", wrong)
    assert not mac_fits(secret, b"dat", tag)
    assert commitment_fits("salt", b"data", commitment("salt", b"data"))
    assert not commitment_fits("", b"data", commitment("salt", b"data"))
    assert len(digest(b"")) == 64


def test_no_two_salts_are_the_same_in_threads_or_in_a_process_that_was_forked_off() -> None:
    drawn: list[str] = []
    threads = [threading.Thread(target=lambda: drawn.extend(new_salt() for _ in range(1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = """
        import os, sys
        from django_secure_auth.kit.seals import new_salt
        print(new_salt())
        sys.stdout.flush()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        print(*[new_salt() for _ in range(300)])
        sys.stdout.flush()
        os._exit(0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    drawn += done.stdout.split()
    assert len(drawn) == len(set(drawn)) == 8601
    assert {len(bytes.fromhex(one)) for one in drawn} == {16}


def test_a_salt_is_drawn_by_itself_when_others_have_taken_the_rest() -> None:
    class Taken(list[str]):
        def pop(self, index: SupportsIndex = -1) -> str:
            raise IndexError

    salts = seals._Salts()
    salts._pool = (os.getpid(), Taken(["x"]))
    assert len(salts.draw()) == 32
