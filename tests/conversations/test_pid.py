"""What a unique participant link's pid promises: unguessable, of one conversation, without order, the same for ever."""

import random
from itertools import islice, pairwise

import pytest

from chalicelib.conversations import pid

MASTER = bytes(range(32))
KEY = pid.key(MASTER, 1, "demo", "cnv_1")
ISSUED = 1_000_000


def genuine(count, pid_key=KEY):
    return [pid.mint(pid_key, index) for index in range(count)]


@pytest.mark.parametrize(
    ("pid_key", "index", "known"),
    [
        (KEY, 0, "zrncbxcnhr14a2m1s9ky1jx1"),
        (KEY, 1, "hh6nbr43c0kfd3wbcr15apkx"),
        (KEY, 999_999, "53ze2cqxcqx4jyew3q02nss2"),
        (KEY, 2**40 - 1, "s57jpa9v989bgpznvmbyt5zx"),
        (pid.key(MASTER, 2, "demo", "cnv_1"), 0, "pyh1b8r5vtm1rv55zxncxa40"),
        (pid.key(MASTER, 1, "other", "cnv_1"), 0, "4htgc4my1yhgpmq2b55rng9d"),
        (pid.key(MASTER, 1, "demo", "cnv_2"), 0, "azak25swh1zj1mcwb508tbgk"),
        (pid.key(bytes(64), 1, "demo", "cnv_1"), 0, "5x8wkvjxy22m8kpba7ds499s"),
    ],
)
def test_links_cannot_change_so_these_pids_are_fixed_for_ever(pid_key, index, known):
    assert pid.mint(pid_key, index) == known
    assert pid.read(pid_key, known, index + 1) == index


def test_a_pid_is_24_characters_that_no_url_escapes_and_no_eye_confuses():
    for text in genuine(5_000):
        assert len(text) == 24
        assert set(text) <= set("0123456789abcdefghjkmnpqrstvwxyz")


def test_every_issued_pid_is_read_back_to_its_index():
    rng = random.Random(1)
    for index in [*range(2_000), *(rng.randrange(ISSUED) for _ in range(2_000)), ISSUED - 1]:
        assert pid.read(KEY, pid.mint(KEY, index), ISSUED) == index


def test_pids_are_distinct():
    assert len(set(genuine(100_000))) == 100_000


@pytest.mark.parametrize("issued", [0, 1, 7])
def test_a_pid_past_the_issued_count_is_refused_and_the_last_one_taken(issued):
    taken = [index for index in range(20) if pid.read(KEY, pid.mint(KEY, index), issued) is not None]
    assert taken == list(range(issued))


@pytest.mark.slow
def test_none_of_1000000_guesses_is_accepted():
    """Half are wholly random; half keep the tag or the body of a genuine pid and guess the other part."""
    rng = random.Random(2)
    pairs = [a + b for a in pid.ALPHABET for b in pid.ALPHABET]

    def random_text(characters):
        bits = rng.getrandbits(5 * characters)
        return "".join([pairs[bits >> shift & 1023] for shift in range(0, 5 * characters, 10)])

    known = genuine(500)
    accepted = 0
    for _ in range(500_000):
        accepted += pid.read(KEY, random_text(24), ISSUED) is not None
    for index, text in enumerate(known):
        for _ in range(500):
            accepted += pid.read(KEY, text[:16] + random_text(8), pid.INDICES) not in (None, index)
            accepted += pid.read(KEY, random_text(16) + text[16:], pid.INDICES) is not None
    assert accepted == 0


@pytest.mark.slow
def test_none_of_100000_edits_of_one_character_is_accepted():
    edits = (
        text[:place] + other + text[place + 1 :]
        for text in genuine(135)
        for place in range(24)
        for other in pid.ALPHABET
        if other != text[place]
    )
    tried = list(islice(edits, 100_000))
    assert len(tried) == 100_000
    assert [text for text in tried if pid.read(KEY, text, pid.INDICES) is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "foreign",
    [
        pid.key(MASTER, 1, "demo", "cnv_2"),
        pid.key(MASTER, 1, "other", "cnv_1"),
        pid.key(MASTER, 2, "demo", "cnv_1"),
        pid.key(bytes(32), 1, "demo", "cnv_1"),
    ],
    ids=["another conversation", "another domain", "another key version", "another installation"],
)
def test_none_of_the_pids_of_another_key_is_accepted(foreign):
    assert [text for text in genuine(25_000, foreign) if pid.read(KEY, text, pid.INDICES) is not None] == []


def test_tag_and_body_of_two_genuine_pids_do_not_make_a_third():
    one, two = genuine(2)
    assert pid.read(KEY, one[:16] + two[16:], pid.INDICES) is None


@pytest.mark.parametrize(
    "spelling",
    [
        str.upper,
        str.title,
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: "+" + text[1:],
        lambda text: text[0] + "_" + text[2:],
        lambda text: "-" + text[:23],
        lambda text: text[:-1] + "i",
        lambda text: text[:-1] + "u",
        lambda text: text[:-1] + "\u0663",
        lambda text: text[:-1] + "\x00",
        lambda text: text[:-1] + "\ud800",
        lambda text: "",
        lambda text: text * 100_000,
    ],
)
def test_only_the_canonical_spelling_is_taken(spelling):
    text = pid.mint(KEY, 3)
    assert pid.read(KEY, text, ISSUED) == 3
    assert spelling(text) != text
    assert pid.read(KEY, spelling(text), ISSUED) is None


@pytest.mark.parametrize("part", [slice(0, 24), slice(0, 8), slice(8, 16), slice(16, 24)])
def test_no_part_of_a_pid_shows_its_order(part):
    """Spearman's rank correlation of 20,000 pids with their indices is within 4 standard errors of none."""
    count = 20_000
    # ASCII order is the alphabet's order, so text ranks as the number does.
    by_text = sorted(range(count), key=[text[part] for text in genuine(count)].__getitem__)
    distance = sum((rank - index) ** 2 for rank, index in enumerate(by_text))
    correlation = 1 - 6 * distance / (count * (count**2 - 1))
    assert abs(correlation) < 4 / count**0.5


@pytest.mark.parametrize("part", [slice(0, 8), slice(8, 16), slice(16, 24)])
def test_neighbours_differ_in_half_of_their_bits(part):
    """Neither a constant mask nor a counter would: of each part's 40 bits, 20 differ on average between neighbours."""
    values = [
        int(text[part].translate(str.maketrans(pid.ALPHABET, "0123456789abcdefghijklmnopqrstuv")), 32)
        for text in genuine(2_000)
    ]
    flips = sum((one ^ two).bit_count() for one, two in pairwise(values)) / (len(values) - 1)
    assert abs(flips - 20) < 4 * (10 / 2_000) ** 0.5


def test_a_larger_count_keeps_the_first_links_and_a_smaller_one_gives_the_first():
    ten = list(pid.link_rows(KEY, 10, "https://panel.example", "k3x9"))
    hundred = list(pid.link_rows(KEY, 100, "https://panel.example", "k3x9"))
    assert hundred[:10] == ten
    assert list(pid.link_rows(KEY, 0, "https://panel.example", "k3x9")) == []


@pytest.mark.parametrize("base_url", ["https://panel.example/v", "https://panel.example/v/"])
def test_a_link_is_the_base_url_the_code_and_the_pid(base_url):
    rows = list(pid.link_rows(KEY, 3, base_url, "k3x9"))
    assert rows == [(f"https://panel.example/v/c/k3x9?pid={text}", text) for text in genuine(3)]


def test_links_are_made_one_at_a_time():
    """The first of a number that would never be finished is there at once."""
    assert next(pid.link_rows(KEY, pid.INDICES, "https://panel.example", "k3x9"))[1] == pid.mint(KEY, 0)


@pytest.mark.parametrize("index", [-1, 2**40])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(ValueError, match="40 bits"):
        pid.mint(KEY, index)


@pytest.mark.parametrize("size", [0, 16, 31, 65])
def test_a_master_key_too_short_or_too_long_is_refused(size):
    with pytest.raises(ValueError, match="32 to 64"):
        pid.key(bytes(size), 1, "demo", "cnv_1")


def test_names_that_concatenate_alike_have_unrelated_keys():
    assert pid.key(MASTER, 1, "ab", "c") != pid.key(MASTER, 1, "a", "bc")
    assert pid.derived(MASTER, b"one", 1, "a") != pid.derived(MASTER, b"two", 1, "a")


def test_a_key_does_not_show_itself():
    assert repr(KEY) == "PidKey()"
