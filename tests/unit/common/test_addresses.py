"""The identity of a client, for any notation of its address."""

import tracemalloc

import pytest

from services.common.addresses import LONGEST, REMEMBERED, canonical, network_of, parse

SPELLINGS = {
    "192.0.2.1": [
        *("192.0.2.1", " 192.0.2.1 ", "192.0.2.1:443", "192.0.2.1:_hidden", '"192.0.2.1:80"'),
        *(
            "::ffff:192.0.2.1",
            "::FFFF:c000:201",
            "0:0:0:0:0:ffff:192.0.2.1",
            "[::ffff:192.0.2.1]",
            "[::ffff:c000:201]:9",
            "64:ff9b::192.0.2.1",
            "[64:ff9b::c000:201]:9",
        ),
    ],
    "2001:db8:1:2::/64": [
        *(
            "2001:db8:1:2::",
            "2001:db8:1:2:3:4:5:6",
            "2001:DB8:1:2::7",
            "2001:0db8:0001:0002:0:0:0:0",
            "[2001:db8:1:2::1]",
        ),
        *("[2001:db8:1:2:ffff::]:65535", '"[2001:db8:1:2::1]:_p"', "2001:db8:1:2::192.0.2.1", "2001:db8:1:2::1%eth0"),
        "[2001:db8:1:2::1%25eth0]:80",
    ],
    "fe80::/64": ["fe80::1%eth0", "fe80::1", "[fe80::2%1]:5"],
    "::/64": ["::1", "::", "[::1]:3000"],
}
NONE = [
    *(
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "256.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
    ),
    *(
        "1.2.3.4:",
        "1.2.3.4:80:90",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]x",
        "[]",
        "1::2::3",
        "::ffff:1.2.3.256",
        "12345::",
    ),
    *("٣.٣.٣.٣", "1.2.3.4\n", "1.2.3.4/24", "1.2.3.4, 5.6.7.8", "x" * 100_000, "1" * 100_000, ":" * 79, "[" * 79),
]


@pytest.mark.parametrize(("network", "text"), [(network, text) for network, all_ in SPELLINGS.items() for text in all_])
def test_every_spelling_of_an_address_is_one_client(network: str, text: str) -> None:
    assert network_of(text) == network


@pytest.mark.parametrize("text", NONE)
def test_an_invalid_address_is_its_own_network(text: str) -> None:
    assert parse(text) is None
    assert network_of(text) == text[:64]


def test_neighbouring_addresses_have_different_networks() -> None:
    texts = ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2:2::1"]
    assert len({network_of(text) for text in texts}) == len(texts)


def test_addresses_of_unknown_clients_use_bounded_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(REMEMBERED * 2):
            text = f"{number:0{LONGEST * 100}}"
            assert canonical(text) is None
            assert network_of(text) == text[:64]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < REMEMBERED * LONGEST * 20
