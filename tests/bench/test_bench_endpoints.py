"""A file of endpoints, each with its model, key and price, and errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from legato.bench.endpoint import Endpoint
from legato.cli.bench.endpoints import chosen_endpoints
from legato.cli.bench.options import EndpointOptions, PriceOptions
from legato.errors import LegatoError
from legato.metrics.price import MachinePrice, PriceList

ASKING = EndpointOptions(served_model="common", extra='{"seed": 1}', key_variable="COMMON_KEY")
PAYING = PriceOptions(price_per_hour=2.0)


def read(tmp_path: Path, text: str, urls: tuple[str, ...] = ()) -> list[Endpoint]:
    file = tmp_path / "endpoints.toml"
    file.write_text(text, encoding="utf-8")
    return chosen_endpoints(urls, file, ASKING, PAYING)


def test_each_endpoint_has_its_own_settings_and_else_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMON_KEY", "common")
    monkeypatch.setenv("VENDOR_KEY", "secret")
    first, ours, vendor = read(
        tmp_path,
        """
        [ours]
        url = "http://127.0.0.1:8000"
        [vendor]
        url = "https://api.example/v1"
        api = "completions"
        served_model = "small"
        key_variable = "VENDOR_KEY"
        extra = { reasoning = "none" }
        price_in = 0.5
        price_out = 2
        """,
        ("http://127.0.0.1:9",),
    )
    assert (first.name, first.key, first.price) == ("", "common", MachinePrice(2.0))
    assert (ours.name, ours.url) == ("ours", "http://127.0.0.1:8000/v1")
    assert (ours.model, ours.extra, ours.price) == ("common", {"seed": 1}, MachinePrice(2.0))
    assert (vendor.model, vendor.chat, vendor.key) == ("small", False, "secret")
    assert (vendor.extra, vendor.price) == ({"reasoning": "none"}, PriceList(0.5, 2.0))


def test_a_key_goes_only_to_those_of_the_file_that_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMON_KEY", "secret")
    (endpoint,) = read(tmp_path, '[other]\nurl = "https://other.example"')
    assert endpoint.key == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no endpoint"),
        ("[a", "cannot read the endpoints"),
        ('url = "http://x"', "not a table"),
        ("[a]", "url must be a text"),
        ("[a]\nurl = 3", "url must be a text"),
        ('[a]\nurl = "ftp://x"', "not the URL of an endpoint"),
        ('[a]\nurl = "http://x"\nkey = "s"', "keys do not belong into files"),
        ('[a]\nurl = "http://x"\nmodel = "m"', "no such setting: model; there are url, api"),
        ('[a]\nurl = "http://x"\napi = "chat2"', "give chat or completions"),
        ('[a]\nurl = "http://x"\nextra = "{}"', "extra must be a table"),
        ('[a]\nurl = "http://x"\nprice_in = "1"', "price_in must be a number"),
        ('[a]\nurl = "http://x"\nprice_in = -1', "price_in must be a number"),
        ('[a]\nurl = "http://x"\nprice_in = nan', "price_in must be a number"),
        ('[a]\nurl = "http://x"\nprice_in = true', "price_in must be a number"),
        ('[a]\nurl = "http://x"\nprice_in = 1\nprice_per_hour = 1', "not both"),
        ('[a]\nurl = "http://x"\nkey_variable = "NO_SUCH_KEY"', "NO_SUCH_KEY with its key"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(LegatoError, match=message) as failure:
        read(tmp_path, text)
    assert "endpoints.toml" in str(failure.value)


def test_without_any_endpoint_the_command_says_how_to_give_one() -> None:
    with pytest.raises(LegatoError, match="give a URL, or --endpoints FILE"):
        chosen_endpoints([], None, ASKING, PAYING)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LegatoError, match=r"missing\.toml"):
        chosen_endpoints([], tmp_path / "missing.toml", ASKING, PAYING)
