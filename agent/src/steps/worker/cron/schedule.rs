//! When a task is due: a cron expression, as in crontab(5) and in Elastic Beanstalk's cron.yaml. Pure.
//!
//! ```text
//! ┌ minute 0-59 ┌ hour 0-23 ┌ day 1-31 ┌ month 1-12 or jan-dec ┌ weekday 0-7 or sun-sat, 0 and 7 are Sunday
//! 30            2           *          *                       mon-fri
//! ```
//!
//! A field is `*` or a list of values and ranges; `*` and ranges may have a step: `*/15`, `8-18/2`, `1,15`. A day
//! matches if both day fields allow it; if neither of them is `*`, it is enough that one does. `@hourly`, `@daily`,
//! `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually` have their usual meaning.
//!
//! Clock changes are handled as by cron(8). A task at a fixed time is due once on each of its days: at the end of the
//! gap if its time falls into one, and at the first of two equal times. A task whose minute or hour begins with `*` is
//! due whenever the local clock shows a matching time.

mod field;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use self::field::FIELDS;
use crate::failure::Objection;
use crate::text::shown_on_a_line;

/// Every date that exists occurs within this many days: in 2096, the next 29 February is eight years away.
const HORIZON: u32 = 366 * 8 + 2;

/// Upper bound for setting clocks back: an instant may come after one with a later local time.
const PUT_BACK: SignedDuration = SignedDuration::from_hours(3);

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// The longest possible length of each month.
const LENGTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Names that replace the five fields.
const SHORT: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The form of a schedule, for editors. Only ingot checks that ranges ascend, and that the days exist.
pub(super) const PATTERN: &str = concat!(
    r"^\s*(@[A-Za-z]+|((\*(/0*[1-9]\d*)?|0*[1-5]?\d(-0*[1-5]?\d(/0*[1-9]\d*)?)?)(,|(?=\s)|$))+",
    r"\s+((\*(/0*[1-9]\d*)?|0*(1?\d|2[0-3])(-0*(1?\d|2[0-3])(/0*[1-9]\d*)?)?)(,|(?=\s)|$))+",
    r"\s+((\*(/0*[1-9]\d*)?|0*([1-9]|[12]\d|3[01])(-0*([1-9]|[12]\d|3[01])(/0*[1-9]\d*)?)?)(,|(?=\s)|$))+",
    r"\s+((\*(/0*[1-9]\d*)?|(0*([1-9]|1[0-2])|[A-Za-z]{3})(-(0*([1-9]|1[0-2])|[A-Za-z]{3})(/0*[1-9]\d*)?)?)(,|(?=\s)|$))+",
    r"\s+((\*(/0*[1-9]\d*)?|(0*[0-7]|[A-Za-z]{3})(-(0*[0-7]|[A-Za-z]{3})(/0*[1-9]\d*)?)?)(,|(?=\s)|$))+)\s*$",
);

/// When a task is due, in the local time of any zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// One bit for each allowed value of each field.
    allowed: [u64; 5],
    /// Whether every day of the month is allowed. Below: whether every day of the week is.
    any_day: bool,
    any_weekday: bool,
    /// Whether it follows the local clock through all clock changes.
    is_elastic: bool,
}

/// Which of two equal local times is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

impl Schedule {
    /// # Errors
    ///
    /// What is wrong with the schedule.
    pub(crate) fn parse(written: &str) -> Result<Self, Objection> {
        let schedule = Self::read(written)?;
        if schedule.never_comes() {
            let message = format!("the schedule `{}` never comes", shown_on_a_line(written.trim()));
            return Err(Objection::new(message, "choose a day that one of these months has"));
        }
        Ok(schedule)
    }

    /// Parses a schedule, even one that never comes.
    pub(super) fn read(written: &str) -> Result<Self, Objection> {
        let text = match written.trim() {
            short if short.starts_with('@') => match SHORT.iter().find(|(name, _)| short.eq_ignore_ascii_case(name)) {
                Some((_, fields)) => fields,
                None => {
                    let known = SHORT.map(|(name, _)| name).join(", ");
                    return Err(Objection::new(
                        format!("`{}` is not a schedule", shown_on_a_line(short)),
                        format!("write five fields, or one of {known}"),
                    ));
                }
            },
            text => text,
        };
        let (mut words, mut fields) = (text.split_whitespace(), [""; 5]);
        let count = fields.iter_mut().zip(&mut words).map(|(field, word)| *field = word).count() + words.count();
        if count != fields.len() {
            return Err(Objection::new(
                format!("the schedule `{}` has {count} fields", shown_on_a_line(text)),
                "write five: minute, hour, day of the month, month, day of the week; seconds and years are not supported",
            ));
        }
        let mut allowed = [0; 5];
        for ((allowed, text), field) in allowed.iter_mut().zip(fields).zip(&FIELDS) {
            *allowed = field.parse(text)?;
        }
        // Sunday has two numbers.
        allowed[4] |= allowed[4] >> 7 & 1;
        let [minute, hour, day, _, weekday] = fields;
        Ok(Self { allowed, any_day: day == "*", any_weekday: weekday == "*", is_elastic: minute.starts_with('*') || hour.starts_with('*') })
    }

    fn never_comes(&self) -> bool {
        let lowest = self.allowed[2].trailing_zeros();
        let has_it = |(month, length): (usize, &u8)| self.allows(3, month as u32 + 1) && lowest <= u32::from(*length);
        self.any_weekday && !LENGTHS.iter().enumerate().any(has_it)
    }

    fn allows(&self, field: usize, value: u32) -> bool {
        self.allowed[field] >> value & 1 == 1
    }

    fn is_on(&self, date: Date) -> bool {
        let day = self.allows(2, date.day().unsigned_abs().into());
        let weekday = self.allows(4, date.weekday().to_sunday_zero_offset().unsigned_abs().into());
        let by_day = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        by_day && self.allows(3, date.month().unsigned_abs().into())
    }

    /// The first matching local time, starting at a minute of a day.
    fn local(&self, mut date: Date, mut minute: u16) -> Option<(Date, u16)> {
        for _ in 0..HORIZON {
            if self.is_on(date) {
                let at = |minute: &u16| self.allows(1, u32::from(minute / 60)) && self.allows(0, u32::from(minute % 60));
                if let Some(found) = (minute..MINUTES_OF_A_DAY).find(at) {
                    return Some((date, found));
                }
            }
            (date, minute) = (date.tomorrow().ok()?, 0);
        }
        None
    }

    /// The next due instant after `after`; `None` at the end of the calendar.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = self.next_of(after, zone, Which::First);
        let second = self.is_elastic.then(|| self.next_of(after, zone, Which::Second)).flatten();
        first.into_iter().chain(second).min()
    }

    /// The instants of these local times are in the same order as the local times.
    fn next_of(&self, after: Timestamp, zone: &TimeZone, which: Which) -> Option<Timestamp> {
        let from = zone.to_offset(after).to_datetime(after.checked_sub(PUT_BACK).unwrap_or(after));
        let (mut date, mut minute) = (from.date(), from.hour().unsigned_abs() as u16 * 60 + from.minute().unsigned_abs() as u16);
        loop {
            (date, minute) = self.local(date, minute)?;
            match self.instant(date, minute, zone, which) {
                Some(instant) if instant > after => return Some(instant),
                _ => minute += 1,
            }
        }
    }

    fn instant(&self, mut date: Date, mut minute: u16, zone: &TimeZone, which: Which) -> Option<Timestamp> {
        loop {
            let local = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
            let offset = match zone.to_ambiguous_timestamp(local).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset,
                AmbiguousOffset::Fold { before, .. } if which == Which::First => before,
                AmbiguousOffset::Fold { after, .. } => after,
                AmbiguousOffset::Gap { .. } if self.is_elastic => return None,
                AmbiguousOffset::Gap { .. } => {
                    minute += 1;
                    if minute == MINUTES_OF_A_DAY {
                        (date, minute) = (date.tomorrow().ok()?, 0);
                    }
                    continue;
                }
            };
            return offset.to_timestamp(local).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";
    /// Its clocks change by half an hour.
    const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    const KATHMANDU: &str = "<+0545>-5:45";
    const UTC: &str = "UTC0";

    /// The next times after an instant, without the year if that is the same.
    fn times(schedule: &str, zone: &str, after: &str, count: usize) -> String {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), TimeZone::posix(zone).unwrap());
        let mut at: Timestamp = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = schedule.next(at, &zone).unwrap();
            let text = at.to_string().replace(":00Z", "Z");
            found.push(text.strip_prefix(&after[..5]).map_or(text.clone(), str::to_owned));
        }
        found.join(" ")
    }

    #[test]
    fn the_usual_ones() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-11-30T12:00:59Z", "11-30T12:01Z 11-30T12:02Z"),
            // The last second before a due time, and exactly a due time.
            ("0 * * * *", "2026-11-30T12:59:59Z", "11-30T13:00Z 11-30T14:00Z"),
            ("0 * * * *", "2026-11-30T13:00:00Z", "11-30T14:00Z 11-30T15:00Z"),
            ("*/25 * * * *", "2026-11-30T12:26:00Z", "11-30T12:50Z 11-30T13:00Z"),
            ("10-40/15 8-18/5 * * *", "2026-11-30T08:20:00Z", "11-30T08:25Z 11-30T08:40Z 11-30T13:10Z"),
            ("*/90 * * * *", "2026-11-30T12:26:00Z", "11-30T13:00Z 11-30T14:00Z"),
            ("5,1,3-4 0 1 1 *", "2026-01-01T00:00:30Z", "01-01T00:01Z 01-01T00:03Z 01-01T00:04Z 01-01T00:05Z 2027-01-01T00:01Z"),
            ("59 23 31 12 *", "2026-11-30T00:00:00Z", "12-31T23:59Z 2027-12-31T23:59Z"),
            ("@hourly", "2026-11-30T12:00:00Z", "11-30T13:00Z"),
            ("@Weekly", "2026-11-30T12:00:00Z", "12-06T00:00Z 12-13T00:00Z"),
            ("@annually", "2026-11-30T12:00:00Z", "2027-01-01T00:00Z"),
        ] {
            assert_eq!(times(schedule, UTC, after, expected.split(' ').count()), expected, "{schedule}");
        }
    }

    #[test]
    fn days_of_month_and_week() {
        for (schedule, after, expected) in [
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "03-31T00:00Z 05-31T00:00Z 07-31T00:00Z 08-31T00:00Z"),
            ("0 0 30 2,4 *", "2026-01-31T00:00:00Z", "04-30T00:00Z 2027-04-30T00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00Z 2032-02-29T00:00Z"),
            ("0 0 29 feb *", "2096-03-01T00:00:00Z", "2104-02-29T00:00Z"),
            // One of the two is enough, since both are limited: the 13th, and Fridays.
            ("0 0 13 * FRI", "2026-11-30T00:00:00Z", "12-04T00:00Z 12-11T00:00Z 12-13T00:00Z 12-18T00:00Z"),
            ("0 0 30 2 1", "2026-11-30T00:00:00Z", "2027-02-01T00:00Z 2027-02-08T00:00Z"),
            ("0 0 */15 * 0", "2026-11-28T00:00:00Z", "11-29T00:00Z 12-01T00:00Z 12-06T00:00Z"),
            ("0 0 * * 5-7", "2026-11-30T00:00:00Z", "12-04T00:00Z 12-05T00:00Z 12-06T00:00Z 12-11T00:00Z"),
            ("0 0 * * 7", "2026-11-30T00:00:00Z", "12-06T00:00Z 12-13T00:00Z"),
            ("0 0 * * mon-fri/2", "2026-11-30T00:00:00Z", "12-02T00:00Z 12-04T00:00Z 12-07T00:00Z"),
            ("0 0 * * */2", "2026-11-30T00:00:00Z", "12-01T00:00Z 12-03T00:00Z 12-05T00:00Z 12-06T00:00Z"),
            ("0 0 1 Jan-Mar/2 *", "2026-11-30T00:00:00Z", "2027-01-01T00:00Z 2027-03-01T00:00Z 2028-01-01T00:00Z"),
        ] {
            assert_eq!(times(schedule, UTC, after, expected.split(' ').count()), expected, "{schedule}");
        }
    }

    #[test]
    fn clocks_that_are_changed() {
        for (zone, schedule, after, expected) in [
            // 02:00 to 03:00 does not exist: the task is due at the end of the gap, and only once.
            (BERLIN, "30 2 * * *", "2026-03-28T00:00:00Z", "03-28T01:30Z 03-29T01:00Z 03-30T00:30Z"),
            (BERLIN, "0,30 2 * * *", "2026-03-29T00:00:00Z", "03-29T01:00Z 03-30T00:00Z"),
            (BERLIN, "0 2,3 * * *", "2026-03-29T00:00:00Z", "03-29T01:00Z 03-30T00:00Z"),
            (NEW_YORK, "30 2 8 3 *", "2026-01-01T00:00:00Z", "03-08T07:00Z 2027-03-08T07:30Z"),
            (LORD_HOWE, "15 2 * * *", "2026-10-03T00:00:00Z", "10-03T15:30Z 10-04T15:15Z"),
            // 02:00 to 03:00 exists twice: the task is due at the first.
            (BERLIN, "30 2 * * *", "2026-10-24T00:00:00Z", "10-24T00:30Z 10-25T00:30Z 10-26T01:30Z"),
            (BERLIN, "30 2 * * *", "2026-10-25T00:30:00Z", "10-26T01:30Z"),
            (LORD_HOWE, "45 1 * * *", "2026-04-03T15:00:00Z", "04-04T14:45Z 04-05T15:15Z"),
            // Schedules that follow the local clock continue through both changes.
            (BERLIN, "*/30 * * * *", "2026-03-29T00:29:00Z", "03-29T00:30Z 03-29T01:00Z 03-29T01:30Z"),
            (BERLIN, "30 * * * *", "2026-10-24T23:00:00Z", "10-24T23:30Z 10-25T00:30Z 10-25T01:30Z 10-25T02:30Z"),
            (BERLIN, "*/30 2 * * *", "2026-10-24T23:00:00Z", "10-25T00:00Z 10-25T00:30Z 10-25T01:00Z 10-25T01:30Z 10-26T01:00Z"),
            (BERLIN, "*/30 2 * * *", "2026-03-29T00:00:00Z", "03-30T00:00Z"),
            (LORD_HOWE, "45 */1 * * *", "2026-04-04T14:00:00Z", "04-04T14:45Z 04-04T15:15Z 04-04T16:15Z"),
            // Zones with offsets of 45 minutes, and days that differ from those in UTC.
            (KATHMANDU, "0 0 1 * *", "2026-11-30T00:00:00Z", "11-30T18:15Z 12-31T18:15Z"),
            (KATHMANDU, "*/20 * * * *", "2026-11-30T00:00:00Z", "11-30T00:15Z 11-30T00:35Z 11-30T00:55Z 11-30T01:15Z"),
            (NEW_YORK, "0 20 * * sun", "2026-11-30T00:00:00Z", "11-30T01:00Z 12-07T01:00Z"),
        ] {
            assert_eq!(times(schedule, zone, after, expected.split(' ').count()), expected, "{schedule} in {zone} after {after}");
        }
    }

    /// Checks every minute of a day with a clock change and of the days around it: the next due time is the first one
    /// that is due, whatever instant it is asked for.
    #[test]
    fn none_is_left_out() {
        type Due = fn(jiff::civil::DateTime) -> bool;
        let schedules: [(&str, bool, Due); 4] = [
            ("30 2 * * *", false, |local| (local.hour(), local.minute()) == (2, 30)),
            ("0 0 * * *", false, |local| (local.hour(), local.minute()) == (0, 0)),
            ("*/20 1-3 * * *", true, |local| (1..=3).contains(&local.hour()) && local.minute() % 20 == 0),
            ("17 * * * *", true, |local| local.minute() == 17),
        ];
        for (zone, (text, follows, is_due)) in [BERLIN, LORD_HOWE].into_iter().flat_map(|zone| schedules.map(|schedule| (zone, schedule))) {
            let (schedule, zone) = (Schedule::parse(text).unwrap(), TimeZone::posix(zone).unwrap());
            for begin in ["2026-04-04T10:00:00Z", "2026-10-03T10:00:00Z", "2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"] {
                let begin: Timestamp = begin.parse().unwrap();
                let minute = |count: i64| begin.checked_add(SignedDuration::from_mins(count)).unwrap();
                let offset = |at: Timestamp| zone.to_offset(at).seconds();
                let is_due_at = |at: Timestamp| {
                    // By how much clocks were changed in the last two hours, and when.
                    let ago = |minutes| at.checked_sub(SignedDuration::from_mins(minutes)).unwrap();
                    let by = offset(at) - offset(ago(120));
                    let jump = (0..120).find(|back| by != 0 && offset(ago(*back)) != offset(ago(back + 1))).map(|back| (by, ago(back)));
                    let local = zone.to_datetime(at);
                    match jump {
                        Some((by, _)) if by < 0 && !follows => {
                            let before = at.checked_sub(SignedDuration::from_secs((-by).into())).unwrap();
                            is_due(local) && zone.to_datetime(before) != local
                        }
                        // Times skipped by the gap are due at its end.
                        Some((by, end)) if by > 0 && !follows && end == at => {
                            let skipped = (0..=i64::from(by) / 60).map(|back| local - SignedDuration::from_mins(back));
                            skipped.into_iter().any(is_due)
                        }
                        _ => is_due(local),
                    }
                };
                let due: Vec<Timestamp> = (0..4 * 24 * 60).map(minute).filter(|at| is_due_at(*at)).collect();
                for asked in (0..36 * 60).map(|count| minute(0).checked_add(SignedDuration::from_secs(59 * count)).unwrap()) {
                    let expected = due.iter().find(|at| **at > asked).copied();
                    assert_eq!(schedule.next(asked, &zone), expected, "{text} after {asked}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_schedule_is_told_with_a_way_out() {
        let wrong = [
            "",
            "* * * *",
            "* * * * * *",
            "@reboot",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "5/15 * * * *",
            "*/0 * * * *",
            "* 22-6 * * *",
            "a * * * *",
            "* * * january *",
            "* * ? * *",
            "1,,2 * * * *",
            "-1 * * * *",
            "* * L * *",
            "+5 * * * *",
            "0 0 30 2 *",
            "0 0 31 2,4,6,9,11 *",
            "1-2-3 * * * *",
            "300 * * * *",
        ];
        let told = |text: &&str| {
            let objection = Schedule::parse(text).unwrap_err();
            format!("{}; {}", objection.message, objection.hint)
        };
        insta::assert_snapshot!(wrong.iter().map(told).collect::<Vec<_>>().join("\n"), @"
        the schedule `` has 0 fields; write five: minute, hour, day of the month, month, day of the week; seconds and years are not supported
        the schedule `* * * *` has 4 fields; write five: minute, hour, day of the month, month, day of the week; seconds and years are not supported
        the schedule `* * * * * *` has 6 fields; write five: minute, hour, day of the month, month, day of the week; seconds and years are not supported
        `@reboot` is not a schedule; write five fields, or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually
        `60` is not valid as the minute of a schedule; write a number from 0 to 59
        `24` is not valid as the hour of a schedule; write a number from 0 to 23
        `0` is not valid as the day of the month of a schedule; write a number from 1 to 31
        `32` is not valid as the day of the month of a schedule; write a number from 1 to 31
        `13` is not valid as the month of a schedule; write a number from 1 to 12, or a name from jan to dec
        `8` is not valid as the day of the week of a schedule; write a number from 0 to 7, or a name from sun to sat
        `5/15` is not valid as the minute of a schedule; write a range before the step, as in 5-59/15
        `*/0` is not valid as the minute of a schedule; write a number from 1 on after the slash
        `22-6` is not valid as the hour of a schedule; write two ranges with a comma between them, such as 22-23,0-6
        `a` is not valid as the minute of a schedule; write a number from 0 to 59
        `january` is not valid as the month of a schedule; write a number from 1 to 12, or a name from jan to dec
        `?` is not valid as the day of the month of a schedule; write `*`
        `` is not valid as the minute of a schedule; write a number from 0 to 59
        `` is not valid as the minute of a schedule; write a number from 0 to 59
        `L` is not valid as the day of the month of a schedule; write a number from 1 to 31
        `+5` is not valid as the minute of a schedule; write a number from 0 to 59
        the schedule `0 0 30 2 *` never comes; choose a day that one of these months has
        the schedule `0 0 31 2,4,6,9,11 *` never comes; choose a day that one of these months has
        `2-3` is not valid as the minute of a schedule; write a number from 0 to 59
        `300` is not valid as the minute of a schedule; write a number from 0 to 59
        ");
    }
}
