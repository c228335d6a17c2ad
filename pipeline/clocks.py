"""Wall clocks that are set while the system runs.

A box without a battery for its clock starts in 1970, 1980 or 2000 and learns the time from the network, minutes later.
Ages and delays are therefore counted by the monotonic clock. What is left are times that were written down.
"""

from __future__ import annotations

from datetime import UTC, datetime

#: A time before this was stated by a clock that was never set: mistwatch is younger.
UNSET_BEFORE = datetime(2010, 1, 1, tzinfo=UTC)


def in_utc(at: datetime) -> datetime:
    """Return a time in UTC.

    Raises:
        ValueError: it is beyond the calendar there, as the last minute of the year 9999 at an offset of -01:00.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is beyond the calendar in UTC; expected a year from 1 to 9999") from None
