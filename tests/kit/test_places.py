"""Places out of a GeoIP file: a hint, and nothing that can fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from django_secure_auth.kit.places import complaint_about, place_of

LYON: dict[str, Any] = {
    "city": {"names": {"en": "Lyon", "de": "Lyon", "zh-CN": "里昂"}},
    "country": {"names": {"en": "France", "de": "Frankreich", "zh-CN": "法国", "pt-BR": "França"}},
}


def geoip_file(folder: Path, networks: dict[str, Any], name: str = "city.mmdb", kind: str = "GeoLite2-City") -> str:
    writer = MMDBWriter(6, kind, ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    file = folder / name
    writer.to_db_file(str(file))
    return str(file)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return geoip_file(tmp_path, {
        "192.0.2.0/24": LYON,
        "2001:db8::/32": {"country": {"names": {"en": "Japan"}}},
        "198.51.100.0/24": {"city": {"names": {"en": "Monaco"}}, "country": {"names": {"en": "Monaco"}}},
        "203.0.113.0/28": {"city": "Lyon", "country": {"names": {"en": "Fra\nnce" + "e" * 100}}},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("address", "language", "place"),
    [
        ("192.0.2.7", "en", "Lyon, France"),
        ("192.0.2.7", "de", "Lyon, Frankreich"),
        ("192.0.2.7", "zh-hans", "里昂, 法国"),
        ("192.0.2.7", "pt", "Lyon, França"),
        ("192.0.2.7", "fi", "Lyon, France"),
        ("2001:db8::1", "en", "Japan"),
        ("198.51.100.1", "en", "Monaco"),
        ("10.0.0.1", "en", ""),
        ("not an address", "en", ""),
        ("", "en", ""),
        (None, "en", ""),
    ],
)
def test_an_address_is_somewhere(file: str, address: str | None, language: str, place: str) -> None:
    assert place_of(address, file=file, language=language) == place
    assert complaint_about(file) is None


def test_what_is_odd_in_a_file_is_made_fit_for_a_line(file: str) -> None:
    place = place_of("203.0.113.1", file=file)
    assert place.startswith("Fra nce")
    assert len(place) == 64
    assert place.isprintable()


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path, file: str) -> None:
    assert place_of("192.0.2.7", file=file) == "Lyon, France"
    other = geoip_file(tmp_path, {"192.0.2.0/24": {"country": {"names": {"en": "Spain"}}}}, "new.mmdb")
    os.replace(other, file)
    assert place_of("192.0.2.7", file=file) == "Spain"


def test_a_replacement_of_the_same_time_and_size_is_read_anew(tmp_path: Path) -> None:
    def country(name: str, file: str) -> str:
        return geoip_file(tmp_path, {"192.0.2.0/24": {"country": {"names": {"en": name}}}}, file)

    file, other = country("Spain", "city.mmdb"), country("Italy", "new.mmdb")
    for one in (file, other):
        os.utime(one, (1, 1))
    assert os.stat(file).st_size == os.stat(other).st_size
    assert place_of("192.0.2.7", file=file) == "Spain"
    os.replace(other, file)
    assert place_of("192.0.2.7", file=file) == "Italy"


def test_a_file_that_is_missing_or_broken_is_no_place(tmp_path: Path) -> None:
    nowhere, broken = str(tmp_path / "nowhere"), tmp_path / "broken.mmdb"
    broken.write_bytes(b"no database" * 100)
    for one in (nowhere, str(broken)):
        assert place_of("192.0.2.7", file=one) == ""
        assert complaint_about(one)


def test_without_the_library_there_are_no_places(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    assert place_of("192.0.2.7", file=file) == ""
    assert "maxminddb" in str(complaint_about(file))


@pytest.mark.parametrize(
    "record",
    [
        "Lyon",
        {"city": "Lyon"},
        {"city": {"names": "Lyon"}},
        {"city": {"names": ["Lyon"]}},
        {"city": {"names": {"en": 5}}},
    ],
)
def test_a_record_of_another_form_is_no_place(tmp_path: Path, record: Any) -> None:
    assert place_of("192.0.2.7", file=geoip_file(tmp_path, {"192.0.2.0/24": record})) == ""


def test_a_file_of_another_kind_is_complained_about(tmp_path: Path) -> None:
    record = {"autonomous_system_number": 64496}
    file = geoip_file(tmp_path, {"192.0.2.0/24": record}, "asn.mmdb", kind="GeoLite2-ASN")
    assert place_of("192.0.2.7", file=file) == ""
    assert "GeoLite2-ASN" in str(complaint_about(file))
