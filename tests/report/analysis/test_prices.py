import pytest

from tokenswarm.report.analysis.prices import PriceError, read_prices

WHOLE = """[[price]]
model = "m"
input = 1
output = 2.5
as_of = 2026-06-30
source = "the list"
"""


def test_the_shipped_table_is_dated_and_has_sources():
    prices = read_prices()
    assert "claude-opus-4-6" in prices
    assert all(price.as_of == "2026-06" and price.source for price in prices.values())


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(WHOLE)
    price = read_prices(path)["m"]
    assert (price.input_usd, price.output_usd, price.cache_read_usd) == (1.0, 2.5, None)
    assert price.as_of == "2026-06-30"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[price]", "not TOML"),
        ("", "accepted are [[price]] tables"),
        ("price = 3", "accepted are [[price]] tables"),
        ("price = [3]", "price 1: not a table"),
        (WHOLE + "[[other]]\n", "accepted are [[price]] tables"),
        (WHOLE + "cached = 1\n", "price 1: unknown cached; accepted: model, input"),
        (WHOLE + WHOLE, "price 2: a second price for 'm'"),
        (WHOLE.replace("input = 1\n", ""), "price 1: input is missing"),
        (WHOLE.replace("input = 1", "input = -1"), "price 1: input -1; accepted"),
        (WHOLE.replace("input = 1", "input = nan"), "price 1: input nan; accepted"),
        (WHOLE.replace("input = 1", "input = true"), "price 1: input True; accepted"),
        (WHOLE.replace("2026-06-30", '"June"'), "price 1: as_of 'June'; accepted: a date"),
        (WHOLE.replace("2026-06-30", '"2026-13"'), "price 1: as_of '2026-13'; accepted: a date"),
        (WHOLE.replace('"the list"', '""'), "price 1: source ''; accepted: a text"),
    ],
)
def test_a_table_that_cannot_be_used_names_itself(tmp_path, text, reason):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PriceError) as caught:
        read_prices(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
