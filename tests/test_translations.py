"""Translations: complete, compiled, with the placeholders of the English text, and in the mails."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import escape
from django.utils.translation import to_language
from django.utils.translation.template import templatize

import django_secure_auth
from django_secure_auth.exceptions import ChallengeInvalid
from django_secure_auth.mail import send_templated
from django_secure_auth.notices.tasks import KINDS
from django_secure_auth.otp.tasks import PURPOSES

PACKAGE = Path(django_secure_auth.__file__).resolve().parent
LOCALE = PACKAGE / "locale"
TEMPLATES = PACKAGE / "templates" / "django_secure_auth"
PAGE = PACKAGE.parent / "docs" / "translations.md"
LANGUAGES = ["de", "es", "fr", "zh_Hans"]
MAILS = sorted(path.name.removesuffix(".subject.txt") for path in TEMPLATES.glob("mail/*.subject.txt"))


class Message(NamedTuple):
    key: str
    """What gettext looks up: the English text, behind its context if it has one."""
    plural: str | None
    texts: dict[int, str]
    flags: frozenset[str]

    @property
    def english(self) -> str:
        return self.key.rpartition("\x04")[2]


FIELD = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr(?:\[\d+\])?) ((?:".*"\n?)+)', re.MULTILINE)


def read_messages(path: Path) -> Iterator[Message]:
    """What msgfmt reads, as far as makemessages writes it; the first one is the header."""
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        flags = re.findall(r"^#, (.*)$", block, re.MULTILINE)
        fields = {name: "".join(map(ast.literal_eval, lines.splitlines())) for name, lines in FIELD.findall(block)}
        context = f"{fields['msgctxt']}\x04" if "msgctxt" in fields else ""
        yield Message(
            key=context + fields["msgid"],
            plural=fields.get("msgid_plural"),
            texts={int(name[7:-1] or 0): text for name, text in fields.items() if name.startswith("msgstr")},
            flags=frozenset(", ".join(flags).split(", ")),
        )


def path_of(language: str, ending: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"django.{ending}"


@cache
def messages(language: str) -> list[Message]:
    return list(read_messages(path_of(language, "po")))


@cache
def compiled(language: str) -> gettext.GNUTranslations:
    with path_of(language, "mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def placeholders(text: str) -> set[str]:
    """All of `%(name)s`, `%d` and `{name}`; a lone percent sign or brace is an error, or a difference."""
    braced = {f"{{{name}}}" for _, name, _, _ in Formatter().parse(text) if name is not None}
    return braced | set(re.findall(r"%(?:\(\w+\))?.?", text))


# --- what the package says ---------------------------------------------------------------------------

_MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
_MARKS_IN_CONTEXT = {"pgettext", "pgettext_lazy"}


def marked(source: str) -> set[str]:
    """The keys of all texts that Python code marks."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if node.func.id in _MARKS and words:
            found.add(str(words[0]))
        elif node.func.id in _MARKS_IN_CONTEXT:
            found.add("\x04".join(map(str, words)))
    return found


def marked_in_a_template(path: Path) -> set[str]:
    """The keys of a template, which Django turns into something like Python for xgettext."""
    calls = re.findall(r"""\b(?:gettext|_)\(u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)""", templatize(path.read_text()))
    return {ast.literal_eval(call) for call in calls}


def said() -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        found |= marked(path.read_text(encoding="utf-8"))
    for path in TEMPLATES.rglob("*.*"):
        found |= marked_in_a_template(path)
    return found


def outside_of_tags(path: Path) -> str:
    """The letters that a template shows and that no translation reaches."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.DOTALL)
    return "".join(re.findall(r"[^\W\d_]+", re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", "", text, flags=re.DOTALL)))


# --- the catalogues ----------------------------------------------------------------------------------


def test_the_languages_are_those_of_the_page() -> None:
    assert sorted(path.name for path in LOCALE.iterdir()) == LANGUAGES
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_none_is_a_guess(language: str) -> None:
    header, *rest = messages(language)
    assert header.key == ""
    (forms,) = re.findall(r"nplurals=(\d)", header.texts[0])
    assert len({message.key for message in rest}) == len(rest) > 100
    for message in (header, *rest):
        assert "fuzzy" not in message.flags, message
        assert all(text.strip() for text in message.texts.values()), message
        assert sorted(message.texts) == list(range(int(forms) if message.plural else 1)), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_the_package_says_is_in_the_catalogue(language: str) -> None:
    assert said() - {message.key for message in messages(language)} == set(), "run makemessages, see the page"


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.*")), ids=lambda path: path.name)
def test_a_template_shows_no_word_that_cannot_be_translated(path: Path) -> None:
    assert outside_of_tags(path) == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    expected: dict[Any, str] = {}
    for message in messages(language):
        if message.plural is None:
            expected[message.key] = message.texts[0]
        else:
            expected |= {(message.key, number): text for number, text in message.texts.items()}
    found = dict(vars(compiled(language))["_catalog"])
    for catalogue in (found, expected):  # msgfmt leaves the date out, or not, by its version
        catalogue[""] = re.sub(r"^POT-Creation-Date: .*\n", "", catalogue[""], flags=re.MULTILINE)
    assert found == expected, "run compilemessages, see the page"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_of_the_english_text(language: str) -> None:
    _, *rest = messages(language)
    for message in rest:
        for text in message.texts.values():
            assert placeholders(text) == placeholders(message.plural or message.english), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_names_no_person_no_folder_and_no_line(language: str) -> None:
    text = path_of(language, "po").read_text(encoding="utf-8")
    assert "@" not in text
    assert not re.search(r"FULL NAME|FIRST AUTHOR|PACKAGE|YEAR", text)
    for reference in re.findall(r"^#: (.*)$", text, re.MULTILINE):
        assert all((PACKAGE / name).suffix in {".html", ".py", ".txt"} for name in reference.split()), reference
        assert not any(name.startswith(("/", "..")) for name in reference.split()), reference


@pytest.mark.parametrize("language", LANGUAGES)
def test_notices_and_purposes_are_told_in_the_language(language: str) -> None:
    for words in (*KINDS.values(), *PURPOSES.values()):
        with translation.override(None):
            english = str(words)
        with translation.override(to_language(language)):
            assert str(words) != english


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_admin_refuses_in_the_language_and_the_api_in_english(language: str, client: Client) -> None:
    with translation.override(to_language(language)):
        page = client.post(reverse("admin:login"), {"otp_code": "123456"}).content.decode()
        assert str(ChallengeInvalid().detail) == ChallengeInvalid.default_detail
    ours = compiled(language).gettext(ChallengeInvalid.default_detail)
    assert ours != ChallengeInvalid.default_detail
    assert escape(ours) in page


# --- the mails ---------------------------------------------------------------------------------------


class Asked:
    device_label = "Firefox on Linux"
    ip_address = "192.0.2.7"


def letter(name: str, language: str) -> tuple[str, str, str]:
    context: dict[str, Any] = {
        "code": "123456", "minutes": 5, "hours": 72, "link": "https://shop.example.org/l#t", "is_sign_in": True,
        "asked": Asked, "challenge": Asked, "at": timezone.now(), "purpose": PURPOSES["login"],
        "what": KINDS["password_changed"], "place": Asked.ip_address,
    }  # fmt: skip
    mail.outbox.clear()
    send_templated(name, to="ana@example.com", context=context, language=to_language(language))
    (message,) = mail.outbox
    assert isinstance(message, mail.EmailMultiAlternatives)
    return str(message.subject), str(message.body), str(message.alternatives[0][0])


@pytest.mark.parametrize("name", MAILS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_is_in_the_readers_language(language: str, name: str) -> None:
    english, ours = letter(name, "en"), letter(name, language)
    assert all(one != other for one, other in zip(english, ours, strict=True))
    for one, other in zip(english[1:], ours[1:], strict=True):
        for fact in ("123456", "https://shop.example.org/l#t", Asked.device_label, Asked.ip_address):
            assert (fact in one) is (fact in other), fact
    assert f'<html lang="{to_language(language)}">' in ours[2]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_code_is_named_in_its_mail(language: str) -> None:
    english, ours = letter("otp_code", "en"), letter("otp_code", language)
    assert ours != english
    assert "123456" in ours[1]
    assert "123456" in ours[2]
