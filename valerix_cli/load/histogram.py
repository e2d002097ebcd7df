"""A high dynamic range histogram: three significant digits from a microsecond to hours, in constant memory.

The buckets are those of Gil Tene's HdrHistogram, http://hdrhistogram.org. Its Python package needs a compiler on some
machines and setuptools when it runs, for what takes a dozen lines here.
"""

_PRECISION = 11  # bits kept of each value: neighbours are less than a thousandth apart
_HALF = 1 << (_PRECISION - 1)
_MOST = (1 << 40) - 1  # microseconds: twelve days


class Histogram:
    """Counts times, given in seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (_HALF * (_MOST.bit_length() - _PRECISION + 2))
        self.count = 0
        self.total = 0.0
        self.longest = 0.0

    def record(self, seconds: float) -> None:
        micros = min(int(seconds * 1e6), _MOST)
        shift = max(0, micros.bit_length() - _PRECISION)
        self._counts[shift * _HALF + (micros >> shift)] += 1
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def at(self, percent: float) -> float | None:
        """The time, in seconds, within which `percent` of all were; None when there are none."""
        if not self.count:
            return None
        wanted = max(1, -int(-self.count * percent // 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                shift = max(0, index // _HALF - 1)
                highest = ((index - shift * _HALF + 1) << shift) - 1
                return min(highest / 1e6, self.longest)
        return self.longest
