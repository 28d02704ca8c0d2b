//! The inspection cycle: which calendar window a day belongs to, and when a home is next due.
//!
//! The district promises a free check of every bottled-gas home once in four months. Coverage is
//! counted by calendar windows (by default January-April, May-August, September-December); the
//! rolling due date stands beside it.

use jiff::ToSpan;
use jiff::civil::Date;

/// Windows of equal length in months that divide the year, the first beginning in January.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    months: i8,
}

/// A window, both days inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub first: Date,
    pub last: Date,
}

impl Cycle {
    /// Baiyun's promise: once in four months.
    pub const FOUR_MONTHS: Cycle = Cycle { months: 4 };

    /// A cycle of `months`, which must divide the year: 1, 2, 3, 4, 6 or 12.
    pub fn of_months(months: i8) -> Option<Cycle> {
        matches!(months, 1 | 2 | 3 | 4 | 6 | 12).then_some(Cycle { months })
    }

    /// The window that `day` belongs to; `None` only at the end of representable time.
    pub fn window(self, day: Date) -> Option<Window> {
        let first_month = (day.month() - 1) / self.months * self.months + 1;
        let first = Date::new(day.year(), first_month, 1).ok()?;
        let last = first.checked_add(i32::from(self.months).months()).ok()?.yesterday().ok()?;
        Some(Window { first, last })
    }

    /// The rolling due date after a completed visit: the same day of the month, or the month's last.
    pub fn due_after(self, last_completed: Date) -> Option<Date> {
        last_completed.checked_add(i32::from(self.months).months()).ok()
    }
}

impl Window {
    pub fn contains(&self, day: Date) -> bool {
        (self.first..=self.last).contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_year_has_three_windows() {
        let window = Cycle::FOUR_MONTHS.window(date(2026, 11, 24)).unwrap();
        assert_eq!(window, Window { first: date(2026, 9, 1), last: date(2026, 12, 31) });
        let leap = Cycle::FOUR_MONTHS.window(date(2028, 2, 29)).unwrap();
        assert_eq!(leap, Window { first: date(2028, 1, 1), last: date(2028, 4, 30) });
    }

    #[test]
    fn the_due_date_is_clamped_to_the_month() {
        assert_eq!(Cycle::FOUR_MONTHS.due_after(date(2026, 10, 31)), Some(date(2027, 2, 28)));
    }

    proptest! {
        #[test]
        fn windows_tile_the_calendar(year in 2000i16..2100, month in 1i8..=12, day in 1i8..=31, months in prop::sample::select(vec![1i8, 2, 3, 4, 6, 12])) {
            let cycle = Cycle::of_months(months).unwrap();
            let day = date(year, month, day.min(date(year, month, 1).days_in_month()));
            let window = cycle.window(day).unwrap();
            prop_assert!(window.contains(day));
            let next = cycle.window(window.last.tomorrow().unwrap()).unwrap();
            prop_assert_eq!(next.first, window.last.tomorrow().unwrap());
            let months_since_year_0 = |date: Date| i32::from(date.year()) * 12 + i32::from(date.month());
            let due = cycle.due_after(day).unwrap();
            prop_assert!(next.contains(due));
            prop_assert_eq!(months_since_year_0(due), months_since_year_0(day) + i32::from(months));
            prop_assert_eq!(due.day(), day.day().min(due.days_in_month()));
        }
    }
}
