"""Action and channel codes: the published table, by code and by name, and what is unknown."""

import pytest

from chalicelib.datasets import codes

ACTIONS = """1 SEND, 2 CLICK, 3 CLOSE, 4 VIEW, 13 ELIGIBLE_PROCEED, 14 ELIGIBLE_COUPON_PROCEED, 16 REPLY, 18 CAPPED,
19 CALL_API_SUCCESS, 20 CALL_API_FAILED, 21 CALL_API_SENT, 22 CALL_API_OPEN, 23 CALL_API_THROTTLED, 24 CALL_API_PROCEED,
25 GCM_DROPPED, 26 CALL_API_SAVED_ACTION_CODE, 27 PRIORITY_EXIT, 28 SMS_DROPPED, 29 SMS_UNDELIVERED, 30 WHATSAPP_OPEN,
32 SMS_UNSUBSCRIBE, 33 WHATS_APP_UNSUBSCRIBE, 34 SKIPPED, 35 LIVE_ACTION_PROCEED,
36 CALL_API_EMPTY_RESPONSE_ACTION_CODE"""
CHANNELS = """EM Email, WP Web Push, SMS SMS, WAB WhatsApp, APP App Push, IA InApp, WC On-Site, AC Call an API,
GCM Google Ads Customer Match, FB Facebook Custom Audiences"""
PUBLISHED_ACTIONS = [(int(code), name) for code, name in (row.split() for row in ACTIONS.split(","))]
PUBLISHED_CHANNELS = [tuple(row.split(maxsplit=1)) for row in CHANNELS.split(",")]
UNDEFINED = (*range(5, 13), 15, 17, 31, 99)


def test_the_tables_are_the_published_ones():
    assert list(codes.ACTIONS.items()) == PUBLISHED_ACTIONS
    assert len(codes.ACTIONS) == 25
    assert list(codes.CHANNELS.items()) == PUBLISHED_CHANNELS


@pytest.mark.parametrize(("code", "name"), PUBLISHED_ACTIONS)
def test_an_action_is_the_same_by_code_and_by_name(code, name):
    spellings = codes.Spellings((code,), (str(code), name))
    assert [codes.action(value) for value in (code, str(code), name, name.lower())] == [spellings] * 4
    assert codes.action_name(code) == name


@pytest.mark.parametrize("code", UNDEFINED)
def test_an_action_without_a_name_passes_as_unknown(code):
    assert codes.action_name(code) == f"UNKNOWN_{code}"
    assert (
        codes.action(code)
        == codes.action(f"UNKNOWN_{code}")
        == codes.Spellings((code,), (str(code), f"UNKNOWN_{code}"))
    )


@pytest.mark.parametrize(("code", "name"), PUBLISHED_CHANNELS)
def test_a_channel_is_the_same_by_code_and_by_name(code, name):
    for value in (code, name, code.lower(), name.upper()):
        assert codes.channel(value) is not None
        assert set(codes.channel(value).texts) == {code, name}


@pytest.mark.parametrize(
    "value", [True, None, 2.5, "CLIK", "", "UNKNOWN_", "UNKNOWN_X", "1" * 30, [], "２", "2.0", " 2"]
)
def test_what_names_no_action_is_none(value):
    assert codes.action(value) is None


@pytest.mark.parametrize("value", [True, None, 5, "TV", "", "UNKNOWN_", "e-mail"])
def test_what_names_no_channel_is_none(value):
    assert codes.channel(value) is None


def test_both_spellings_of_a_journey_event_are_one_event():
    assert codes.canonical_event("journey_entered") == codes.canonical_event("journey_enter") == "journey_enter"
    assert codes.canonical_event("journey_exited") == codes.canonical_event("journey_exit") == "journey_exit"
    assert codes.canonical_event("journey_product_action") == "journey_product_action"
