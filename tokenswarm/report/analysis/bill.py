"""Cost: dollars per request, per million tokens, per developer-day and team-year.

Two ways to pay: a list price per token, or GPUs by the hour. Every figure comes twice, without
cache discounts (every input token at the input price) and with them:

    without = (input * P_input + output * P_output) / 1e6
    with    = (cached * P_read + (input - cached) * P_write + output * P_output) / 1e6

P_write is the price of putting tokens into the cache, the input price where there is none: a coding
agent sends its whole prompt again each turn, so all of it is meant for the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.report.analysis.interval import Interval

MILLION = 1e6
MINUTES_PER_HOUR = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A list price, US dollars per million tokens. None: the list has no such price."""

    model: str
    input_usd: float
    output_usd: float
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None
    as_of: str  # a date or a month: 2026-06-30, 2026-06
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A mean request. cached_tokens: of the input; None where no server or person says so."""

    input_tokens: float
    cached_tokens: float | None
    output_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """What a team asks for. The default is the published study's: 30 engineers, 1.5M TPM, 5 hours
    a day, 250 days a year."""

    developers: int = 30
    tpm: float = 1.5e6
    hours_per_day: float = 5.0
    days_per_year: float = 250.0

    def input_tokens_per_year(self) -> float:
        """tpm * 60 * hours a day * days a year."""
        return self.tpm * MINUTES_PER_HOUR * self.hours_per_day * self.days_per_year

    def requests_per_year(self, request: Request) -> float:
        return self.input_tokens_per_year() / request.input_tokens


@dataclass(frozen=True, slots=True)
class Amount:
    """US dollars, without and with cache discounts; None is unknown."""

    without_cache_usd: float | None
    with_cache_usd: float | None

    def times(self, factor: float) -> Amount:
        return Amount(
            None if self.without_cache_usd is None else self.without_cache_usd * factor,
            None if self.with_cache_usd is None else self.with_cache_usd * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What requests of one kind cost. All US dollars."""

    request: Amount
    input_million: Amount  # per million input tokens, cached or not; output apart
    cached_million_usd: float | None  # per million cached input tokens
    output_million_usd: float | None
    developer_day: Amount
    team_year: Amount


def per_request(price: Price, request: Request) -> Amount:
    """Unknown with cache where nothing says how much is cached or what reading it costs."""
    output_usd = request.output_tokens * price.output_usd / MILLION
    without_usd = request.input_tokens * price.input_usd / MILLION + output_usd
    input_usd = _input_with_cache_usd(price, request)
    return Amount(without_usd, None if input_usd is None else input_usd + output_usd)


def list_bill(price: Price, request: Request, team: Team) -> Bill:
    cost = per_request(price, request)
    cached_input_usd = _input_with_cache_usd(price, request)
    per_million = MILLION / request.input_tokens
    return Bill(
        request=cost,
        input_million=Amount(
            price.input_usd, None if cached_input_usd is None else cached_input_usd * per_million
        ),
        cached_million_usd=price.cache_read_usd,
        output_million_usd=price.output_usd,
        **_for_team(cost, request, team),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """Rented hardware, and the input TPM that it was seen to carry."""

    usd_per_gpu_hour: float
    count: int
    capacity_tpm: float

    def usd_per_input_token(self) -> float:
        """usd per GPU-hour * GPUs / 60 / capacity: at full use; half the use is twice the price."""
        return self.usd_per_gpu_hour * self.count / MINUTES_PER_HOUR / self.capacity_tpm


def gpu_bill(gpus: Gpus, request: Request, team: Team) -> Bill:
    """Output tokens ride along: capacity was measured with them. The capacity holds for the hit
    share it was measured at, so the figures are those with cache; without, another run tells."""
    input_million_usd = gpus.usd_per_input_token() * MILLION
    cost = Amount(None, input_million_usd * request.input_tokens / MILLION)
    return Bill(
        request=cost,
        input_million=Amount(None, input_million_usd),
        cached_million_usd=None,
        output_million_usd=None,
        **_for_team(cost, request, team),
    )


def usd_per_input_million(usd_per_gpu_hour: float, count: int, capacity_tpm: Interval) -> Interval:
    """Price per million input tokens over the interval of the capacity: more carried is cheaper."""

    def price(tpm: float | None) -> float | None:
        if not tpm:
            return None
        gpus = Gpus(usd_per_gpu_hour=usd_per_gpu_hour, count=count, capacity_tpm=tpm)
        return gpus.usd_per_input_token() * MILLION

    return Interval(price(capacity_tpm.value), price(capacity_tpm.high), price(capacity_tpm.low))


def saving_share(dear_usd: float, cheap_usd: float) -> float:
    """1 - cheap / dear."""
    return 1 - cheap_usd / dear_usd


def _input_with_cache_usd(price: Price, request: Request) -> float | None:
    if request.cached_tokens is None or price.cache_read_usd is None:
        return None
    write_usd = price.input_usd if price.cache_write_usd is None else price.cache_write_usd
    new_tokens = request.input_tokens - request.cached_tokens
    return (request.cached_tokens * price.cache_read_usd + new_tokens * write_usd) / MILLION


def _for_team(cost: Amount, request: Request, team: Team) -> dict[str, Amount]:
    year = cost.times(team.requests_per_year(request))
    return {
        "developer_day": year.times(1 / (team.developers * team.days_per_year)),
        "team_year": year,
    }
