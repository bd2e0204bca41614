"""Amounts in words: counts, hours and bytes."""


def count(number: float) -> str:
    """Return a number in words: 0.42, 53, 1,512, 1e8."""
    if number >= 1e6:
        text = f"{number:.3g}"
        mantissa, _, power = text.partition("e+")
        return f"{mantissa}e{int(power)}" if power else text
    return f"{number:,.0f}" if number >= 20 else f"{number:.2g}"


def time(hours: float) -> str:
    """Return hours in words: 42 s, 3.5 min, 12 h, 40 d."""
    for limit, unit, factor in ((1 / 60, "s", 3600), (1, "min", 60), (100, "h", 1)):
        if hours < limit:
            value = hours * factor
            return f"{value:.0f} {unit}" if value >= 20 else f"{value:.2g} {unit}"
    return f"{hours / 24:,.0f} d"


def size(number: float) -> str:
    """Return bytes in words: 74 KB, 3.1 GB, 540 TB."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if number >= factor:
            value = number / factor
            return f"{value:,.0f} {unit}" if value >= 20 else f"{value:.2g} {unit}"
    return f"{number:.0f} B"
