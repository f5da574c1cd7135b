"""Cron expressions whose meaning is known, because they are made from that."""

from hypothesis import strategies as st

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class Expression:
    """A cron expression whose meaning is known, because it was made from that."""

    def __init__(self, minute, hour, day, month, weekday):
        self.text = " ".join(field[0] for field in (minute, hour, day, month, weekday))
        self.minutes, self.hours, self.months = minute[1], hour[1], month[1]
        self.days, self.weekdays = day[1], {number % 7 for number in weekday[1]}
        self.has_star = any("*" in field[0] for field in (minute, hour))
        self.both_days = day[0].startswith("*") or weekday[0].startswith("*")

    def __repr__(self):
        return repr(self.text)

    def is_day(self, day):
        by_date = day.day in self.days
        by_weekday = day.isoweekday() % 7 in self.weekdays
        is_day = (by_date and by_weekday) if self.both_days else (by_date or by_weekday)
        return day.month in self.months and is_day

    def matches(self, wall):
        return wall.minute in self.minutes and wall.hour in self.hours and self.is_day(wall)


def fields(low, high, *, star=5, all_up_to=None):
    """Make a field's text together with the numbers that it means."""
    numbers = st.integers(low, high)
    span = range(low, (all_up_to or high) + 1)

    def between(pair):
        first, last = sorted(pair)
        return f"{first}-{last}", set(range(first, last + 1))

    def stepped(values):
        pair, step = values
        first, last = sorted(pair)
        if first == last:
            return str(first), {first}
        return f"{first}-{last}/{step}", set(range(first, last + 1, step))

    def both(parts):
        return ",".join(text for text, _ in parts), set.union(*(meant for _, meant in parts))

    steps = st.integers(1, high + 3)
    whole = [st.just(("*", set(span)))] * star
    one = st.one_of(
        *whole,
        steps.map(lambda step: (f"*/{step}", set(span[::step]))),
        numbers.map(lambda number: (str(number), {number})),
        numbers.map(lambda number: (str(number), {number})),
        st.tuples(numbers, numbers).map(between),
        st.tuples(st.tuples(numbers, numbers), steps).map(stepped),
    )
    return st.one_of(one, st.lists(one, min_size=2, max_size=3).map(both))


def named_days():
    days = st.integers(0, 6)
    return st.one_of(
        st.just(("*", set(range(7)))),
        st.just(("mon-Fri", {1, 2, 3, 4, 5})),
        days.map(lambda day: (DAYS[day], {day})),
        st.just(("7", {0})),
        fields(0, 7, star=8),
    )


def months():
    return st.one_of(st.just(("*", set(range(1, 13)))), fields(1, 12), st.just(("MAR", {3})))


expressions = st.builds(
    Expression,
    fields(0, 59, star=1),
    fields(0, 23, star=1),
    fields(1, 28, star=10, all_up_to=31),
    months(),
    named_days(),
)
