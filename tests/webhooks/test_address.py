"""Where a webhook may not go: addresses, blocks of addresses, spellings of addresses, and URLs."""

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.base.errors import Fault
from chalicelib.webhooks.address import is_allowed, is_public, refusal, target


def words(text: str) -> list[str]:
    """The words of the text."""
    return text.split()


FORBIDDEN = words("""
0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
169.254.0.1 169.254.169.254 169.254.170.2 169.254.169.253 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.255 168.63.129.16 192.31.196.1 192.52.193.1 192.175.48.1 :: ::1 ::2 1::1 ::127.0.0.1 ::8.8.8.8
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
::5efe:7f00:1 2600::5efe:7f00:1 2600::200:5efe:808:808 2600:1f00::5efe:a00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
64:ff9b::10.0.0.1 64:ff9b:1::808:808 64:ff9b:0:1::808:808 100::1 100:0:0:1::1 2001::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:1ff::1 2001:db8::1 2002::1 2002:7f00:1::1
2002:808:808::1 2620:4f:8000::1 3fff::1 3ffe::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 fe80::a9fe:a9fe
fec0::1 febf::1 ff01::1 ff02::1 ff0e::1 1fff:ffff::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
""")

PUBLIC = words("""
8.8.8.8 1.1.1.1 93.184.216.34 52.94.236.248 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.1 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.1 192.88.98.1 192.167.1.1 192.169.0.0
198.17.1.1 198.20.0.0 223.255.255.255 2600:1f18::1 2606:4700:4700::1111 2a00:1450:4009:81f::200e 2001:4860:4860::8888
2001:200::1 2003::1 2606:2800:220:1:248:1893:25c8:1946 64:ff9b::808:808 ::ffff:8.8.8.8 3fff:1000::1 2600::1:5efe
""")

BLOCKS = words("""
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 ::/96 ::ffff:0:0:0/96 ::/8
64:ff9b:1::/48 100::/64 2001::/32 2001:2::/48 2001:10::/28 2001:20::/28 2001::/23 2001:db8::/32 2002::/16 3ffe::/16
3fff::/20 4000::/2 8000::/1 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 ::ffff:10.0.0.0/104 ::ffff:127.0.0.0/104
::ffff:169.254.0.0/112 ::ffff:192.168.0.0/112 ::ffff:224.0.0.0/100 64:ff9b::a00:0/104 64:ff9b::7f00:0/104
64:ff9b::a9fe:0/112 64:ff9b::c0a8:0/112 64:ff9b::e000:0/100
""")


def test_the_lists_are_long_enough():
    assert len(set(FORBIDDEN)) >= 55
    assert len(set(PUBLIC)) >= 12


@pytest.mark.parametrize("address", FORBIDDEN)
def test_forbidden_addresses(address):
    assert not is_public(address)
    assert not is_public(ip_address(address))
    bare = f"[{address}]" if ":" in address else address
    fault = refusal(f"https://{bare}/", allow_local=False)
    assert fault == Fault("", "not_allowed", "the URL's address is not a public one")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_public(address)
    bare = f"[{address}]" if ":" in address else address
    assert refusal(f"https://{bare}/", allow_local=False) is None


@pytest.mark.parametrize("block", BLOCKS)
def test_ten_thousand_addresses_of_each_forbidden_block(block):
    network = ip_network(block)
    low, size = int(network.network_address), network.num_addresses
    # ::/8 holds the mapped and translated addresses, which are judged by the IPv4 address that they carry.
    carriers = [ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")] if block == "::/8" else []
    rng = random.Random(block)
    make = IPv4Address if network.version == 4 else IPv6Address
    passed = [
        address
        for address in (make(low + rng.randrange(size)) for _ in range(10_000))
        if is_public(address) and not any(address in carrier for carrier in carriers)
    ]
    assert passed == []


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_judged_like_itself(address):
    assert is_public(IPv6Address((0xFFFF << 32) | int(address))) == is_public(address)
    assert is_public(IPv6Address((0x64FF9B << 96) | int(address))) == is_public(address)


@given(st.ip_addresses(v=4), st.integers(0, 2**64 - 1), st.sampled_from([0x5EFE, 0x0200_5EFE]))
def test_no_prefix_hides_an_isatap_address(address, prefix, mark):
    assert not is_public(IPv6Address((prefix << 64) | (mark << 32) | int(address)))


@given(st.ip_addresses(v=6))
def test_nothing_outside_global_unicast_is_public_but_what_carries_a_public_address(address):
    carried = address.ipv4_mapped is not None or int(address) >> 32 == 0x64FF9B << 64
    assert carried or address in ip_network("2000::/3") or not is_public(address)


@given(st.ip_addresses())
def test_what_pythons_own_registry_calls_private_is_never_public(address):
    """Another list, kept by others: stricter here is right, laxer is not."""
    if address.version == 4 or address.ipv4_mapped is None:
        assert not is_public(address) or address.is_global


@pytest.mark.parametrize(
    "text", ["", "example.com", "127.1", "1.2.3", "010.8.8.8", "2600::1%eth0", "8.8.8.8/32", "[::1]"]
)
def test_text_that_is_no_address_is_not_public(text):
    assert not is_public(text)
    assert not is_allowed(text, allow_local=True)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("8.8.8.8", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("::1%1", False),
    ],
)
def test_development_allows_loopback_and_no_more(address, allowed):
    assert is_allowed(address, allow_local=True) == allowed


ODD = words("""
https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://127.1/ https://127.0.1/ https://0177.0.0.1/
https://017700000001/ https://0x7f.0x0.0x0.0x1/ https://127.0.0.01/ https://127.0.0.0x1/ https://127.0.0.1./
https://１２７.０.０.１/ https://①②⑦.⓪.⓪.①/ https://127。0。0。1/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/
https://[0:0:0:0:0:ffff:127.0.0.1]/ https://[::127.0.0.1]/ https://[64:ff9b::127.0.0.1]/
https://[fe80::1%25eth0]/ https://[::1%251]/ https://localhost/ https://LOCALHOST/ https://localhost./
https://a.localhost/ https://ⓛocalhost/ https://localhost.localdomain/ https://ip6-localhost/
https://metadata.google.internal/ https://instance-data/ https://printer.local/ https://169.254.43518/
https://0xa9fea9fe/ https://2852039166/ https://1.2.3.4.5/ https://256.1.1.1/ https://example.com.127/
https://4294967295/ https://0/ https://0x/ https://127.0.0.1%2e/ https://127%2e0.0.1/
""")


@pytest.mark.parametrize("url", ODD)
def test_odd_spellings_of_local_hosts_are_refused(url):
    assert refusal(url, allow_local=False)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with https://"),
        ("example.com", "must begin with https://"),
        ("//example.com/", "must begin with https://"),
        ("http://example.com/", "must begin with https://"),
        ("ftp://example.com/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("gopher://example.com/", "must begin with https://"),
        ("https:", "name a host"),
        ("https:///hook", "name a host"),
        ("https://:443/", "name a host"),
        ("https://user@example.com/", "user name"),
        ("https://user:secret@example.com/", "user name"),
        ("https://@example.com/", "user name"),
        ("https://example.com:443@10.0.0.1/", "user name"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com#@10.0.0.1/", "fragment"),
        ("https://example.com:80/", "443 or 8443"),
        ("https://example.com:22/", "443 or 8443"),
        ("https://example.com:8080/", "443 or 8443"),
        ("https://example.com:0/", "1 to 65535"),
        ("https://example.com:65536/", "1 to 65535"),
        ("https://example.com:x/", "1 to 65535"),
        ("https://example.com:-443/", "1 to 65535"),
        ("https://example.com:４４３/", "1 to 65535"),
        ("https://example.com:443:443/", "1 to 65535"),
        (" https://example.com/", "spaces"),
        ("https://example.com/ ", "spaces"),
        ("https://example.com/a b", "spaces"),
        ("https://exa\tmple.com/", "control"),
        ("https://example.com/\r\nX: y", "control"),
        ("https://example.com/\x00", "control"),
        ("https://example.com/\x7f", "control"),
        ("https://example.com/\u00a0", "spaces"),
        ("https://example.com/\u202e", "control"),
        ("https://example.com/\ud800", "control"),
        ("https://exam\u200bple.com/", "control"),
        ("https:\\\\example.com\\", "backslashes"),
        ("https://example.com\\@10.0.0.1/", "backslashes"),
        ("https://[::1/", "malformed"),
        ("https://::1/", "1 to 65535"),
        ("https://[example.com]/", "malformed"),
        ("https://[v1.a]/", "not a name"),
        ("https://exa℀mple.com/", "malformed"),
        ("https://exam ple.com/", "spaces"),
        ("https://example..com/", "not a name"),
        ("https://.example.com/", "not a name"),
        ("https://example.com../", "not a name"),
        ("https://exa$mple.com/", "not a name"),
        ("https://*.example.com/", "not a name"),
        ("https://" + "a" * 64 + ".com/", "not a name"),
        ("https://" + "a." * 130 + "com/", "not a name"),
        ("https://straße.example/", "xn-- form"),
        ("https://intranet/", "not a public name"),
        ("https://example.com/" + "a" * 1_981, "2,000"),
    ],
)
def test_urls_that_are_refused(url, words):
    fault = refusal(url, allow_local=False)
    assert fault
    assert words in fault.detail
    assert "secret" not in fault.detail


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("https://example.com/", "example.com", 443, "/", "example.com"),
        ("https://example.com?a=b", "example.com", 443, "/?a=b", "example.com"),
        ("https://example.com/?", "example.com", 443, "/?", "example.com"),
        ("HTTPS://Example.COM/Hook", "example.com", 443, "/Hook", "example.com"),
        ("https://example.com:/x", "example.com", 443, "/x", "example.com"),
        ("https://example.com:443/x", "example.com", 443, "/x", "example.com"),
        ("https://example.com:8443/x?y=%20&z=a@b", "example.com", 8443, "/x?y=%20&z=a@b", "example.com:8443"),
        ("https://example.com./x", "example.com", 443, "/x", "example.com"),
        ("https://a_b.ex-ample.co.uk/", "a_b.ex-ample.co.uk", 443, "/", "a_b.ex-ample.co.uk"),
        (
            "https://bücher.example/ä?ö=ü",
            "xn--bcher-kva.example",
            443,
            "/%C3%A4?%C3%B6=%C3%BC",
            "xn--bcher-kva.example",
        ),
        ("https://XN--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("https://例え。テスト/", "xn--r8jz45g.xn--zckzah", 443, "/", "xn--r8jz45g.xn--zckzah"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/", "8.8.8.8"),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443, "/", "[2606:4700::1111]:8443"),
        ("https://1password.com/", "1password.com", 443, "/", "1password.com"),
        ("https://localhost.example.com/", "localhost.example.com", 443, "/", "localhost.example.com"),
        ("https://mylocal.example/x", "mylocal.example", 443, "/x", "mylocal.example"),
        ('https://example.com/a"<>{}|^`', "example.com", 443, "/a%22%3C%3E%7B%7D%7C%5E%60", "example.com"),
        ("https://example.com/" + "a" * 1_980, "example.com", 443, "/" + "a" * 1_980, "example.com"),
    ],
)
def test_urls_that_are_allowed(url, host, port, path, authority):
    found = target(url, allow_local=False)
    assert (found.scheme, found.host, found.port, found.path) == ("https", host, port, path)
    assert found.authority == authority


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://localhost:9000/hook", True),
        ("http://127.0.0.1:9000/hook", True),
        ("http://[::1]:9000/hook", True),
        ("https://a.localhost:1/", True),
        ("http://example.com/", False),
        ("http://example.com:8080/", False),
        ("https://example.com:8080/", False),
        ("https://example.com:8443/", True),
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://10.0.0.1/", False),
        ("http://192.168.1.1:9000/", False),
        ("http://0.0.0.0:9000/", False),
        ("http://[fd00:ec2::254]/", False),
        ("http://[::ffff:169.254.169.254]/", False),
        ("http://127.1:9000/", False),
        ("http://2130706433:9000/", False),
        ("http://0177.0.0.1/", False),
        ("http://metadata.google.internal/", False),
        ("http://intranet/", False),
        ("http://user@localhost/", False),
        ("ftp://localhost/", False),
        ("http://localhost:0/", False),
    ],
)
def test_development_allows_http_any_port_and_loopback(url, allowed):
    assert (refusal(url, allow_local=True) is None) == allowed


@given(
    st.lists(
        st.sampled_from([*words("https http :// 127.0.0.1 example.com [ ] :: @ : / ? % 443 . 0x7f １ 。 ß xn--"), "\0"])
        | st.text(max_size=3),
        max_size=9,
    ).map("".join),
    st.booleans(),
)
def test_any_text_is_judged_without_raising(text, allow_local):
    for url in (text, f"https://{text}"):
        if refusal(url, allow_local) is None:
            found = target(url, allow_local)
            assert found.host.isascii()
            assert found.path.isascii()
            assert not set(found.path) & set(" \r\n\t#")
            assert found.address is None or is_allowed(found.address, allow_local)


@given(st.integers(0, 2**32 - 1), st.data())
def test_no_number_spelling_of_an_ipv4_address_passes_but_the_plain_one(number, data):
    """Any of the ways in which a C library reads one: one to four parts, each decimal, octal or hexadecimal."""
    parts = data.draw(st.integers(1, 4))
    quads = number.to_bytes(4)
    values = [*quads[: parts - 1], int.from_bytes(quads[parts - 1 :])]
    spelled = ".".join(
        data.draw(st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "00{:o}"])).format(v) for v in values
    )
    if spelled != str(IPv4Address(number)):
        assert refusal(f"https://{spelled}/", allow_local=False)
        assert refusal(f"http://{spelled}/", allow_local=True)
