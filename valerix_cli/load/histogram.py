"""A high dynamic range histogram: three significant digits from a microsecond to hours, in constant memory.

The buckets are those of Gil Tene's HdrHistogram, http://hdrhistogram.org. Its Python package needs a compiler on some
platforms and setuptools at run time, and the part used here takes a dozen lines.
"""

_PRECISION = 11  # bits kept of each value: neighbours are less than a thousandth apart
_HALF_BUCKETS = 1 << (_PRECISION - 1)
_MAX_MICROSECONDS = (1 << 40) - 1  # microseconds: twelve days


class Histogram:
    """Counts durations in seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (_HALF_BUCKETS * (_MAX_MICROSECONDS.bit_length() - _PRECISION + 2))
        self.count = 0
        self.total = 0.0
        self.longest = 0.0

    def record(self, seconds: float) -> None:
        micros = min(int(seconds * 1e6), _MAX_MICROSECONDS)
        shift = max(0, micros.bit_length() - _PRECISION)
        self._counts[shift * _HALF_BUCKETS + (micros >> shift)] += 1
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def at(self, percent: float) -> float | None:
        """Return the percentile in seconds; None if nothing was recorded."""
        if not self.count:
            return None
        rank = max(1, -int(-self.count * percent // 100))
        count_so_far = 0
        for index, count in enumerate(self._counts):
            count_so_far += count
            if count_so_far >= rank:
                shift = max(0, index // _HALF_BUCKETS - 1)
                highest = ((index - shift * _HALF_BUCKETS + 1) << shift) - 1
                return min(highest / 1e6, self.longest)
        return self.longest
