"""Deadlines of duties: within a time of some event, at intervals, or by a day."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, PlainValidator, model_validator

from steelyard.rules.values import Day, FactName, Words, refusal, text_schema

_PERIOD: Final = re.compile(r"([1-9][0-9]{0,3}) (hour|day|week|month|year)s?", re.ASCII)
_HOURS_OF_A_DAY: Final = 24


class Unit(StrEnum):
    """The unit of a period."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time as laws write it: `72 hours`, `14 days`, `3 months`."""

    number: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.number} {self.unit}{'' if self.number == 1 else 's'}"

    def after(self, day: date) -> date | None:
        """Return the day on which it ends when it begins on `day`; None beyond the calendar.

        Hours are rounded up to whole days. A month ends on the day of the same number, or on the
        month's last.
        """
        try:
            match self.unit:
                case Unit.HOUR:
                    return day + timedelta(days=-(-self.number // _HOURS_OF_A_DAY))
                case Unit.DAY:
                    return day + timedelta(days=self.number)
                case Unit.WEEK:
                    return day + timedelta(weeks=self.number)
                case Unit.MONTH:
                    return _months_after(day, self.number)
                case Unit.YEAR:
                    return _months_after(day, 12 * self.number)
        except (OverflowError, ValueError):
            return None


def _months_after(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _read_period(value: object) -> Period:
    found = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refusal(f"{value!r} is not a time", fix="write it like 72 hours, 14 days or 3 months")
    return Period(int(found[1]), Unit(found[2]))


PeriodText = Annotated[Period, PlainValidator(_read_period), text_schema(pattern=_PERIOD.pattern)]


class Deadline(BaseModel):
    """By when a duty is to be fulfilled."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    text: Words
    """For a person: `14 days after the threshold is met`."""
    within: PeriodText | None = None
    after: FactName | None = None
    """The date from which `within` counts."""
    every: PeriodText | None = None
    by: Day | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Deadline:
        if (self.within is None) is not (self.after is None):
            raise refusal("`within` and `after` belong together", fix="say how long after what")
        return self

    def due(self, event: date | None) -> date | None:
        """Return the day by which the duty is due, given the day of the event it counts from."""
        if self.within is not None and event is not None:
            return self.within.after(event)
        return self.by
