//! One field of a cron expression: the values that it allows. Pure.

use crate::failure::Objection;
use crate::text::shown_on_a_line;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One of the five fields.
pub(super) struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// The last value that `*` includes, since 7 also means Sunday.
    last: u8,
    /// The names of its values, starting at `low`.
    words: &'static [&'static str],
}

pub(super) const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, last: 59, words: &[] },
    Field { name: "hour", low: 0, high: 23, last: 23, words: &[] },
    Field { name: "day of the month", low: 1, high: 31, last: 31, words: &[] },
    Field { name: "month", low: 1, high: 12, last: 12, words: MONTHS },
    Field { name: "day of the week", low: 0, high: 7, last: 6, words: WEEKDAYS },
];

impl Field {
    /// One bit for each value that it allows.
    pub(super) fn parse(&self, text: &str) -> Result<u64, Objection> {
        let mut allowed = 0;
        for part in text.split(',') {
            let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let (low, high) = match (range.split_once('-'), step) {
                (None, _) if range == "*" => (self.low, self.last),
                (None, Some(step)) => {
                    return Err(self.wrong(part, format!("write a range before the step, as in {range}-{}/{step}", self.high)));
                }
                (None, None) => (self.value(range)?, self.value(range)?),
                (Some((low, high)), _) => (self.value(low)?, self.value(high)?),
            };
            if low > high {
                return Err(self.wrong(part, "write two ranges with a comma between them, such as 22-23,0-6".into()));
            }
            let step = match step.map(str::parse::<u8>) {
                None => 1,
                Some(Ok(step)) if step > 0 => step,
                Some(_) => return Err(self.wrong(part, "write a number from 1 on after the slash".into())),
            };
            for value in (low..=high).step_by(step.into()) {
                allowed |= 1_u64 << value;
            }
        }
        Ok(allowed)
    }

    fn value(&self, text: &str) -> Result<u8, Objection> {
        let word = || self.words.iter().position(|word| word.eq_ignore_ascii_case(text)).map(|at| at as u8 + self.low);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten().or_else(word);
        number.filter(|value| (self.low..=self.high).contains(value)).ok_or_else(|| {
            let words = match self.words {
                [first, .., last] => format!(", or a name from {first} to {last}"),
                _ => String::new(),
            };
            let hint = if text == "?" { "write `*`".into() } else { format!("write a number from {} to {}{words}", self.low, self.high) };
            self.wrong(text, hint)
        })
    }

    fn wrong(&self, part: &str, hint: String) -> Objection {
        Objection::new(format!("`{}` is not valid as the {} of a schedule", shown_on_a_line(part), self.name), hint)
    }
}
