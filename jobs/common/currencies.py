"""Minor units of currencies, as ISO 4217 publishes them (Babel's digits are not ISO's)."""

from functools import cache
from types import MappingProxyType

from iso4217 import Currency


@cache
def _table() -> MappingProxyType[str, int]:
    units = {str(currency.code): currency.exponent for currency in Currency}
    return MappingProxyType({code: int(exponent) for code, exponent in sorted(units.items()) if exponent is not None})


def minor_units() -> dict[str, int]:
    """Exponent by code, for currencies in force that have a minor unit: USD 2, JPY 0, KWD 3; not XAU, not XXX."""
    return dict(_table())
