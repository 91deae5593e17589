"""What one device per link rests on: tokens and nonces that cannot be made up, and posts from our own page only."""

import pytest

from chalicelib.conversations import devices, pid

MASTER = bytes(range(32))
KEY = devices.key(MASTER, 1, "demo", "cnv_1")
PID_KEY = pid.key(MASTER, 1, "demo", "cnv_1")
PID, OTHER_PID = pid.mint(PID_KEY, 0), pid.mint(PID_KEY, 1)
DEVICE = bytes(range(16))
NOW = 1_800_000_000
TOKEN = devices.bind(KEY, PID, DEVICE, NOW)
NONCE = devices.nonce(KEY, PID, DEVICE, NOW)
OWN = "https://panel.example"


def edits(text):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return [text[:at] + other + text[at + 1 :] for at in range(len(text)) for other in alphabet if other != text[at]]


def test_tokens_outlive_releases_so_these_are_fixed():
    assert TOKEN == "AGtJ0gAAAQIDBAUGBwgJCgsMDQ4PH75ofon2nFK5PwKFlEqxNQ"
    assert NONCE == "AGtJ0gAAAQIDBAUGBwgJCgsMDQ4PedvyeRRYLVvOmWyJDjBiwQ"
    assert devices.code(KEY, PID, DEVICE.hex(), NOW) == "702123"
    assert devices.cookie_name("k3x9", PID) == "__Host-pp-n8kIFuNRCbxM_g"


def test_a_device_is_recognised_by_its_token():
    assert devices.read(KEY, PID, [TOKEN]) == DEVICE.hex()


def test_a_token_is_good_for_its_own_pid_conversation_domain_and_version_only():
    assert devices.read(KEY, OTHER_PID, [TOKEN]) is None
    for version, domain, conversation in [(1, "demo", "cnv_2"), (1, "other", "cnv_1"), (2, "demo", "cnv_1")]:
        assert devices.read(devices.key(MASTER, version, domain, conversation), PID, [TOKEN]) is None


def test_no_edit_of_one_character_of_a_token_is_taken():
    assert [text for text in edits(TOKEN) if devices.read(KEY, PID, [text]) is not None] == []


@pytest.mark.parametrize(
    "forged",
    ["", "x", "=", TOKEN + "=", TOKEN + "A", TOKEN[:-1], " " + TOKEN, TOKEN + "\n", "é" * 50, "\ud800", "A" * 50],
)
def test_what_is_no_token_is_no_device(forged):
    assert devices.read(KEY, PID, [forged]) is None


def test_a_nonce_is_no_token_and_a_token_no_nonce():
    assert devices.read(KEY, PID, [NONCE]) is None
    assert devices.nonce_device(KEY, PID, TOKEN, NOW) is None


def test_a_planted_cookie_of_the_same_name_does_not_hide_the_genuine_one():
    assert devices.read(KEY, PID, ["planted", TOKEN]) == DEVICE.hex()
    assert devices.read(KEY, PID, []) is None


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_device_id_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="16 bytes"):
        devices.bind(KEY, PID, bytes(size), NOW)


@pytest.mark.parametrize(
    ("later", "holds"), [(-61, False), (-60, True), (0, True), (3600, True), (3601, False), (10**9, False)]
)
def test_a_nonce_is_good_for_an_hour_and_carries_the_id_that_the_device_gets(later, holds):
    assert devices.nonce_device(KEY, PID, NONCE, NOW + later) == (DEVICE.hex() if holds else None)


def test_a_nonce_is_good_for_its_own_pid_and_conversation_only():
    assert devices.nonce_device(KEY, OTHER_PID, NONCE, NOW) is None
    assert devices.nonce_device(KEY, "", NONCE, NOW) is None
    assert devices.nonce_device(devices.key(MASTER, 1, "demo", "cnv_2"), PID, NONCE, NOW) is None
    assert devices.nonce_device(KEY, "", devices.nonce(KEY, "", DEVICE, NOW), NOW) == DEVICE.hex()


def test_no_edit_of_one_character_of_a_nonce_is_taken():
    assert [text for text in edits(NONCE) if devices.nonce_device(KEY, PID, text, NOW) is not None] == []


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http():
    name = devices.cookie_name("k3x9", PID)
    value, *attributes = devices.set_cookie(name, TOKEN).split("; ")
    assert value == f"{name}={TOKEN}"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert name.startswith("__Host-")
    assert PID not in name


def test_the_links_of_a_household_have_a_cookie_each():
    assert len({devices.cookie_name(code, text) for code in ("a", "b") for text in (PID, OTHER_PID)}) == 4


def test_removing_a_cookie_names_it_as_setting_it_did():
    """A browser removes only what has the same path and prefix."""
    name = devices.cookie_name("k3x9", PID)
    assert devices.unset_cookie(name).startswith(f"{name}=; Max-Age=0; Path=/; Secure;")


@pytest.mark.parametrize(
    "header",
    [
        "{name}={token}",
        "theme=dark; {name}={token}; lang=fr",
        "  {name}={token}  ;",
        ';;=;x;"; a="b; {name}={token}',
        '{name}="{token}"',
    ],
)
def test_our_cookie_is_found_beside_whatever_else_a_browser_sends(header):
    name = devices.cookie_name("k3x9", PID)
    assert devices.presented(header.format(name=name, token=TOKEN), name) == (TOKEN,)


@pytest.mark.parametrize("header", [None, "", "theme=dark", "__Host-pp-other=1", "x__Host-pp-=1"])
def test_a_header_without_our_cookie_presents_nothing(header):
    assert devices.presented(header, devices.cookie_name("k3x9", PID)) == ()


def test_a_shared_tablet_keeps_its_latest_40_links():
    names = [devices.cookie_name("k3x9", pid.mint(PID_KEY, index)) for index in range(45)]
    header = "; ".join(
        f"{name}={devices.bind(KEY, pid.mint(PID_KEY, index), DEVICE, NOW + index)}" for index, name in enumerate(names)
    )
    new = devices.cookie_name("k3x9", pid.mint(PID_KEY, 99))
    assert devices.crowding(header, new) == tuple(names[:6])
    assert devices.crowding(header, names[0]) == tuple(names[1:6])
    assert devices.crowding("theme=dark", new) == ()
    assert len(header) / 45 <= 77


def test_a_cookie_of_ours_that_makes_no_sense_goes_first():
    names = [devices.cookie_name("k3x9", str(index)) for index in range(40)]
    header = "; ".join(f"{name}={TOKEN}" for name in names[:39]) + f"; {names[39]}=nonsense"
    assert devices.crowding(header, "new") == (names[39],)


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"Origin": OWN}, True),
        ({"origin": OWN, "sec-fetch-site": "same-origin"}, True),
        ({"ORIGIN": "https://PANEL.example:443", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "nonsense"}, False),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://panel.example"}, False),
        ({"Origin": "https://panel.example:8443"}, False),
        ({"Origin": "https://panel.example.evil.example"}, False),
        ({"Origin": "https://evil.example/https://panel.example"}, False),
        ({"Origin": "https://panel.example:x"}, False),
        ({"Origin": "https://["}, False),
        ({"Origin": ""}, False),
    ],
)
def test_a_post_from_another_site_is_refused(headers, same):
    assert devices.is_same_site(headers, OWN) is same


def test_the_own_origin_may_be_the_base_url_with_its_path():
    assert devices.is_same_site({"Origin": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000/stage")


def test_a_device_key_does_not_show_itself_and_is_not_that_of_the_pids():
    assert repr(KEY) == "DeviceKey()"
    assert KEY.secret not in (PID_KEY.tag, PID_KEY.mask)


def test_a_code_is_of_its_own_pid_conversation_form_and_second():
    code = devices.code(KEY, PID, DEVICE.hex(), NOW)
    others = {
        devices.code(KEY, OTHER_PID, DEVICE.hex(), NOW),
        devices.code(devices.key(MASTER, 1, "demo", "cnv_2"), PID, DEVICE.hex(), NOW),
        devices.code(KEY, PID, "00" * 16, NOW),
        devices.code(KEY, PID, DEVICE.hex(), NOW + 1),
    }
    assert len(others | {code}) == 5


def test_codes_have_six_figures_and_are_spread_evenly():
    codes = [devices.code(KEY, PID, DEVICE.hex(), NOW + second) for second in range(5_000)]
    assert all(len(code) == 6 and code.isascii() and code.isdecimal() for code in codes)
    firsts = [sum(code[0] == str(figure) for code in codes) for figure in range(10)]
    assert min(firsts) > 400
    assert max(firsts) < 600


@pytest.mark.parametrize(
    ("typed", "figures"),
    [
        ("048213", "048213"), (" 048 213 ", "048213"), ("048-213", "048213"), ("\uff10\uff14\uff18\uff12\uff11\uff13", "048213"),
        ("\u0660\u0664\u0668\u0662\u0661\u0663", "048213"), ("048\u2011213", "048213"), ("048\u00a0213", "048213"),
        ("", None), ("04821", None), ("0482133", None), ("04821a", None), ("+48213", None), ("\u00b2" * 6, None),
        ("\u2460" * 6, None), ("0.8213", None), ("\ud800" * 6, None),
    ],
)  # fmt: skip
def test_what_is_typed_is_read_kindly(typed, figures):
    assert devices.figures(typed) == figures
