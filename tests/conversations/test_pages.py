"""What a participant sees at /c/ and where the browser is sent: safe, small, readable, in the visitor's language."""

import base64
import hashlib
import re
from dataclasses import fields
from html.parser import HTMLParser
from typing import get_args
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.conversations import pages
from chalicelib.conversations.words import WORDS, Language, Notice

LANGUAGES = get_args(Language)
NOTICES = get_args(Notice)
HOSTILE = "</title></h1><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
VOID = {"meta", "input", "link", "br", "img"}


class Reader(HTMLParser):
    """Reads a page: tags with attributes, the text inside each, and any tag not closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open, self.faults = [], {}, [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def every_page():
    for spoken in LANGUAGES:
        yield f"{spoken} start", spoken, pages.start(spoken, "Groceries", "?pid=x", "nonce")
        yield f"{spoken} stale", spoken, pages.start(spoken, "Groceries", "?pid=x", "nonce", stale=True)
        yield f"{spoken} start, three devices", spoken, pages.start(spoken, "Groceries", "?pid=x", "n", devices=3)
        yield f"{spoken} elsewhere", spoken, pages.elsewhere(spoken, "?pid=x")
        yield f"{spoken} entry", spoken, pages.entry(spoken, "?pid=x", "nonce")
        yield f"{spoken} entry, wrong", spoken, pages.entry(spoken, "?pid=x", "nonce", "wrong")
        yield f"{spoken} entry, stale", spoken, pages.entry(spoken, "?pid=x", "nonce", "stale_code")
        yield f"{spoken} choice", spoken, pages.choice(spoken, "?pid=x", "nonce")
        yield f"{spoken} code", spoken, pages.code(spoken, "?pid=x", "048213")
        yield f"{spoken} spent, with a button", spoken, pages.notice(spoken, "spent", "?pid=x")
        for kind in NOTICES:
            yield f"{spoken} {kind}", spoken, pages.notice(spoken, kind)


EVERY = [pytest.param(spoken, html, id=name) for name, spoken, html in every_page()]


@pytest.mark.parametrize(("spoken", "html"), EVERY)
def test_every_page_is_small_well_formed_and_fit_for_a_phone_and_a_screen_reader(spoken, html):
    page = Reader(html)
    assert len(html.encode()) < 8_000
    assert html.startswith("<!DOCTYPE html>\n")
    assert (page.faults, page.open) == ([], [])
    assert page.attributes("html") == [{"lang": spoken}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.attributes("meta")
    assert page.texts["title"]
    assert page.texts["h1"]
    assert [len(page.attributes(tag)) for tag in ("main", "h1", "title")] == [1, 1, 1]


@pytest.mark.parametrize(("spoken", "html"), EVERY)
def test_no_page_runs_a_script_or_asks_anybody_else_for_anything(spoken, html):
    page = Reader(html)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "h1", "p", "form", "input", "button", "ol", "li",
        "label",
    }  # fmt: skip
    assert not any(
        name.startswith("on") or name in ("style", "src", "href") for _, attrs in page.tags for name in attrs
    )
    assert "url(" not in html
    assert "@import" not in html
    assert "//" not in html


@pytest.mark.parametrize("spoken", LANGUAGES)
@pytest.mark.parametrize("onward", [None, "https://survey.example/a"])
def test_the_policy_permits_the_pages_own_style_and_nothing_else(spoken, onward):
    policy = dict(
        directive.split(" ", 1) for directive in pages.headers(spoken, onward)["Content-Security-Policy"].split("; ")
    )
    style = re.search(r"<style>(.*?)</style>", pages.notice(spoken, "ended"), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "form-action": "'self' https:" if onward else "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("onward", ["http://127.0.0.1:9000/", "HTTP://survey.example/"])
def test_the_form_may_lead_to_a_destination_without_tls_where_there_is_one(onward):
    assert "form-action 'self' http: https:;" in pages.headers("en", onward)["Content-Security-Policy"]


def test_a_page_is_kept_by_nobody_framed_by_nobody_and_tells_the_link_to_nobody():
    headers = pages.headers("fr")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Language"] == "fr"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Vary"] == "Accept-Language"
    assert pages.redirect_headers().items() <= headers.items()


def test_a_redirect_tells_the_destination_nothing_of_the_link():
    """Not no-referrer: browsers then post `Origin: null`, which a sandboxed frame of another site does too."""
    assert pages.redirect_headers()["Referrer-Policy"] == "same-origin"
    assert pages.redirect_headers()["Cache-Control"] == "no-store"


@pytest.mark.parametrize("spoken", LANGUAGES)
def test_the_button_posts_the_nonce_to_the_same_link(spoken):
    page = Reader(pages.start(spoken, "Groceries", "?pid=abc&utm=a%20b", "the-nonce"))
    assert page.attributes("form") == [{"method": "post", "action": "?pid=abc&utm=a%20b"}]
    assert page.attributes("input") == [{"type": "hidden", "name": "nonce", "value": "the-nonce"}]
    assert page.attributes("button") == [{"type": "submit"}]
    assert page.texts["button"] == WORDS[spoken].start


def test_a_hostile_title_action_or_nonce_stays_text():
    page = Reader(pages.start("en", HOSTILE, HOSTILE, HOSTILE))
    assert page.texts["title"] == HOSTILE
    assert page.texts["h1"] == HOSTILE
    assert page.attributes("form")[0]["action"] == HOSTILE
    assert page.attributes("input")[0]["value"] == HOSTILE
    assert (page.attributes("script"), page.attributes("img")) == ([], [])


def test_a_title_of_200_characters_leaves_the_page_small():
    assert len(pages.start("de", "\U0001f600" * 200, "?pid=x", "n", stale=True).encode()) < 8_000


def test_only_the_stale_page_says_why_the_button_is_there_again():
    assert WORDS["en"].stale in pages.start("en", "T", "?", "n", stale=True)
    assert WORDS["en"].stale not in pages.start("en", "T", "?", "n")


def test_each_notice_has_its_status():
    statuses = {
        "not_open": 403,
        "ended": 410,
        "bad_link": 404,
        "other_device": 403,
        "refused": 403,
        "failed": 500,
        "spent": 429,
        "not_asked": 403,
    }
    assert statuses == pages.STATUS


def said(words):
    """Every text of one language, by its place."""
    texts = {}
    for member in fields(words):
        value = getattr(words, member.name)
        parts = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, tuple) else [value])
        for place, part in parts:
            for number, text in enumerate(part if isinstance(part, tuple) else [part]):
                texts[member.name, place, number] = text
    return texts


def test_every_language_says_everything_and_nothing_in_another_language():
    texts = [said(words) for words in WORDS.values()]
    assert set(WORDS) == set(LANGUAGES)
    assert all(set(words.notices) == set(NOTICES) for words in WORDS.values())
    assert all(text.strip() == text != "" for one in texts for text in one.values())
    assert all(one.keys() == texts[0].keys() for one in texts)
    # "Continuar" and "Continuer" are near each other; no two languages say anything the same.
    assert all(len({one[place] for one in texts}) == len(LANGUAGES) for place in texts[0])
    assert ["{count}" in words.several_devices for words in WORDS.values()] == [True] * len(LANGUAGES)


@pytest.mark.parametrize("spoken", LANGUAGES)
def test_what_to_do_names_the_buttons_as_they_are(spoken):
    words = WORDS[spoken]
    assert words.move in words.steps[1]
    assert words.proceed in words.choice[0]
    assert words.move in words.choice[1]


@pytest.mark.parametrize("spoken", LANGUAGES)
def test_the_code_is_typed_into_a_field_that_says_what_it_is_for(spoken):
    """A keyboard of digits, filled in by the device where it can, and what was wrong read out with it."""
    page = Reader(pages.entry(spoken, "?pid=x", "nonce", "wrong"))
    (field,) = [one for one in page.attributes("input") if one.get("type") != "hidden"]
    assert (field["name"], field["inputmode"], field["autocomplete"]) == ("code", "numeric", "one-time-code")
    assert page.attributes("label") == [{"for": field["id"]}]
    assert page.texts["label"] == WORDS[spoken].figures
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "note")
    assert {"class": "note", "id": "note", "role": "status"} in page.attributes("p")
    assert "aria-invalid" not in pages.entry(spoken, "?pid=x", "nonce")


@pytest.mark.parametrize("spoken", LANGUAGES)
def test_each_button_posts_its_step_to_the_same_link(spoken):
    steps = {
        pages.elsewhere(spoken, "?pid=x"): ["ask"],
        pages.entry(spoken, "?pid=x", "n"): ["enter", "ask"],
        pages.choice(spoken, "?pid=x", "n"): ["proceed", "move"],
        pages.code(spoken, "?pid=x", "123456"): ["proceed"],
        pages.notice(spoken, "spent", "?pid=x"): ["proceed"],
        pages.notice(spoken, "spent"): [],
    }
    for html, expected in steps.items():
        page = Reader(html)
        assert [one["value"] for one in page.attributes("input") if one["name"] == "step"] == expected
        assert [(one["method"], one["action"]) for one in page.attributes("form")] == [("post", "?pid=x")] * len(
            expected
        )


def test_only_the_page_of_the_code_shows_it():
    assert '<p class="code">048213</p>' in pages.code("en", "?pid=x", "048213")
    assert re.findall(r"\b\d{6}\b", pages.choice("en", "?pid=x", "n") + pages.entry("en", "?", "n")) == []


def luminance(colour):
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_button_and_focus_ring_stand_out(scheme):
    """WCAG 2.2: 7:1 for text (1.4.6), 4.5:1 on the button (1.4.3), 3:1 for the ring (1.4.11)."""
    block = re.findall(r":root\{(.*?)\}", pages.STYLE, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+):#([0-9a-f]+)", block))
    assert contrast(colours["text"], colours["card"]) >= 7
    assert contrast(colours["quiet"], colours["card"]) >= 7
    assert contrast(colours["on"], colours["act"]) >= 4.5
    assert contrast(colours["act"], colours["card"]) >= 4.5
    assert contrast(colours["press"], colours["card"]) >= 4.5
    assert contrast(colours["text"], colours["page"]) >= 7
    assert contrast(colours["quiet"], colours["card"]) >= 3
    assert contrast(colours["on"], colours["press"]) >= 4.5
    assert contrast(colours["ring"], colours["card"]) >= 3


def test_the_button_is_large_enough_for_a_thumb_and_shows_its_focus():
    button = re.search(r"\nbutton\{(.*?)\}", pages.STYLE, re.DOTALL)[1]
    assert float(re.search(r"min-height:([\d.]+)rem", button)[1]) * 16 >= 44
    assert ":focus-visible{outline:3px" in pages.STYLE
    assert "outline:none" not in pages.STYLE


@pytest.mark.parametrize(
    ("accept", "spoken"),
    [
        (None, "en"),
        ("", "en"),
        ("fr", "fr"),
        ("FR-ca", "fr"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("ja,es;q=0.5,en;q=0.3", "es"),
        ("en;q=0.3,fr;q=0.7", "fr"),
        ("fr;q=0.5,es;q=0.5", "fr"),
        ("fr;q=0,es;q=0.1", "es"),
        ("fr;q=0", "en"),
        ("fr; q=0.2 , de ;q=0.30", "de"),
        ("*", "en"),
        ("ja, *;q=0.5", "en"),
        ("*;q=0.1, de;q=0.2", "de"),
        ("ja", "en"),
        ("frr", "en"),
        ("f", "en"),
        ("fr;q=2, de;q=0.1", "de"),
        ("fr;q=-1, de;q=0.1", "de"),
        ("fr;q=nan, de;q=0.1", "de"),
        ("fr;level=1, de;q=0.1", "de"),
        ("fr;q=1.000", "fr"),
        (";;,,;q=,=", "en"),
        ("fr\x00", "en"),
        ("\ud800", "en"),
        ("," * 100_000 + "es", "es"),
    ],
)
def test_the_language_is_the_one_of_ours_that_the_browser_prefers(accept, spoken):
    assert pages.language(accept) == spoken


@pytest.mark.parametrize(
    ("destination", "pid", "query", "onward"),
    [
        ("https://s.example/a", "abc", [], "https://s.example/a?pid=abc"),
        ("https://s.example", "abc", [], "https://s.example/?pid=abc"),
        ("https://s.example/a?x=1&y=2", "abc", [], "https://s.example/a?x=1&y=2&pid=abc"),
        ("https://s.example/a", "abc", [("utm", "1"), ("b", "2")], "https://s.example/a?pid=abc&utm=1&b=2"),
        ("https://s.example/a?x=1", "abc", [("x", "2"), ("y", "3")], "https://s.example/a?x=1&pid=abc&y=3"),
        ("https://s.example/a", "abc", [("pid", "evil"), ("b", "2")], "https://s.example/a?pid=abc&b=2"),
        ("https://s.example/a?pid=fixed&b=2", "abc", [], "https://s.example/a?b=2&pid=abc"),
        ("https://s.example/a?p%69d=fixed&b=2", "abc", [], "https://s.example/a?b=2&pid=abc"),
        ("https://s.example/a?pidx=1", "abc", [("Pid", "2")], "https://s.example/a?pidx=1&pid=abc&Pid=2"),
        ("https://s.example/a#/go?b=1", "abc", [], "https://s.example/a?pid=abc#/go?b=1"),
        ("https://s.example/a?x=%20a+b%2F&flag", "abc", [], "https://s.example/a?x=%20a+b%2F&flag&pid=abc"),
        ("https://s.example/a", "abc", [("q", "a b&c=d#e+é")], "https://s.example/a?pid=abc&q=a%20b%26c%3Dd%23e%2B%C3%A9"),
        ("https://s.example/a", "abc", [("a\r\nX-Y: 1", "\r\n\r\n<b>")], None),
        ("https://s.example/a", "abc", [("empty", "")], "https://s.example/a?pid=abc&empty="),
        ("https://s.example/a", "abc", [("q", "\ud800")], "https://s.example/a?pid=abc&q=%3F"),
        ("https://s.example/a?x=1", None, [("utm", "1")], "https://s.example/a?x=1&utm=1"),
        ("https://s.example/a", None, [("pid", "guessed")], "https://s.example/a"),
        ("https://s.example/a?pid=fixed", None, [("pid", "guessed")], "https://s.example/a?pid=fixed"),
        ("https://s.example/{pid}?{x}=1&q={\"a\":1}", "abc", [], None),
        ("https://s.example/a?rid={pid}", "abc", [("b", "{pid}")], "https://s.example/a?rid=abc&b=%7Bpid%7D"),
        ("https://xn--zca.example/", "abc", [], "https://xn--zca.example/?pid=abc"),
        ("https://S.example./", "abc", [], "https://s.example/?pid=abc"),
        ("https://bücher.example/ö?ü=ß#é", "abc", [], "https://xn--bcher-kva.example/%C3%B6?%C3%BC=%C3%9F&pid=abc#%C3%A9"),
        ("HTTPS://S.Example:8443/A", "abc", [], "https://s.example:8443/A?pid=abc"),
        ("http://[::1]:9000/a", "abc", [], "http://[::1]:9000/a?pid=abc"),
    ],
)  # fmt: skip
def test_the_destination_gets_the_pid_and_every_other_parameter(destination, pid, query, onward):
    url = pages.redirect_url(destination, pid, query)
    assert onward is None or url == onward
    assert re.fullmatch(r"[\x21-\x7e]+", url), "a Location header has no space, control or non-ASCII character"
    assert [value for name, value in parse_qsl(urlsplit(url).query) if name == "pid"] in ([pid], ["fixed"], [])


def test_what_a_link_carries_arrives_as_it_was():
    query = [("a", "1"), ("ü b", "x&y=z#?/+%41"), ("a", ""), ("<>", "\"'\r\n\x00")]
    url = pages.redirect_url("https://s.example/a", "abc", query)
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [("pid", "abc"), *query]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "survey",
        "/a",
        "//s.example/a",
        "https://",
        "https:///a",
        "https:s.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://s.example/",
        "https://s.example/a b",
        " https://s.example/",
        "https://s.example/\r\nX: 1",
        "java\tscript:alert(1)",
        "https://s.example/\x00",
        "https:\\\\s.example\\a",
        "https://user@s.example/",
        "https://user:password@s.example/",
        "https://@s.example/",
        "https://s.example:99999/",
        "https://s.example:x/",
        "https://[::1/",
        "https://a..b/",
        "https://" + "a" * 64 + ".example/",
        "https://s.example\u2100/",
        "https://\ud800/",
        "https://ß.example/",
        "https://βόλος.example/",
        "https://a\u200db.example/",
        "https://a\u1e9eb.example/",
        "https://a%0d%0a.example/",
        "https://a<b>.example/",
        "https://a;b.example/",
        "https://a\u0085b.example/",
        "https://[v1.x]/",
        "https://[fe80::1%25eth0]/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://s.example:0/",
        "https://./",
    ],
)
def test_a_destination_that_no_browser_should_be_sent_to_is_refused(url):
    with pytest.raises(ValueError, match=r"^must "):
        pages.destination(url)
