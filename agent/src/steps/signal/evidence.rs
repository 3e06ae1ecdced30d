//! Evidence: the report of a boot and the journal of its units, written to S3.
//!
//! It is written under one key at the first failure, before the first signal (its receiver may terminate the instance),
//! and again at the end of the boot. `docs/reference/evidence.md` describes its contents. [`execute`](crate::execute)
//! decides when signals are sent, whether or not the evidence has arrived.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::yield_now;

use super::trouble::SignalError;
use super::zstd;
use crate::aws::s3::{Only, Source};
use crate::failure::Objection;
use crate::step::{Account, Context, Progress, Verdict};
use crate::text::Text;

/// The version of the object's format.
const VERSION: u32 = 1;

/// Maximum size of the object, in bytes.
const LIMIT: usize = 1 << 20;

/// How many bytes of journal are read for it. Compressed, they are about a quarter of that.
const RAW: usize = 4 << 20;

/// Limit for journalctl.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Limit for reading and redacting together, because signals wait for it.
const CLEANED_WITHIN: Duration = Duration::from_millis(1800);

/// How many lines of a unit are redacted before the next unit has its turn.
const TURN: usize = 50;

/// When evidence is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum On {
    /// For failed boots.
    #[default]
    Failure,
    /// For every boot.
    Always,
}

#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) s3: Text,
    pub(super) logs: Vec<Text>,
    pub(super) on: On,
}

/// When the evidence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Failure,
    End,
    /// At the end of the machine.
    Drain,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::End => "end",
            Self::Drain => "drain",
        }
    }
}

/// The journal of each unit, oldest line first, and whether it was cut.
#[derive(Debug, Default)]
struct Journal {
    lines: BTreeMap<String, Vec<String>>,
    is_cut: bool,
    /// Why there is no journal.
    left_out: Option<String>,
}

impl Evidence {
    pub(super) fn objections(&self) -> Vec<Objection> {
        let place = self.s3.is_plain().then(|| place(self.s3.raw(), "x").err()).flatten();
        let units = self.logs.iter().filter(|unit| unit.is_plain()).filter_map(|unit| check_unit(unit.raw()).err());
        place.into_iter().chain(units).collect()
    }

    /// The location of the object. The same throughout a boot.
    pub(super) fn place(&self, cx: &Context<'_>) -> Result<Source, SignalError> {
        let prefix = cx.render(&self.s3).map_err(SignalError::Render)?;
        let Account { began, instance, .. } = (cx.world.account)();
        let key = key(&began, &instance, &cx.world.boot_id, cx.world.phase.word());
        place(prefix.expose(), &key).map_err(SignalError::Place)
    }

    /// Writes the evidence with the current state, in one attempt.
    pub(super) async fn send(&self, place: &Source, moment: Moment, cx: &Context<'_>) -> Result<(), SignalError> {
        let mut journal = match (cx.world.account)().unread.filter(|_| !self.logs.is_empty()) {
            Some(why) => Journal::left_out(why, cx),
            None => self.journal(cx).await?,
        };
        let account = (cx.world.account)();
        let reason = match cx.world.known.verdict() {
            Verdict::Failed { reason } => Some(reason),
            Verdict::Well => cx.world.waiting.unhealthy().or(account.failure),
        };
        let written_at = cx.host().clock.now().to_string();
        let packed = loop {
            let packed = zstd::packed(content(moment, &written_at, reason.as_deref(), &account.report, &journal).as_bytes());
            if packed.len() <= LIMIT {
                break packed;
            }
            if !journal.halve() {
                return Err(SignalError::TooLarge { size: packed.len() });
            }
            yield_now().await;
        };
        cx.asking(format!("for S3 to accept {place}"));
        cx.world
            .aws
            .objects
            .write(place, packed.into(), Only::Always, Some(&cx.world.waiting.upload))
            .await
            .map(drop)
            .map_err(SignalError::Refused)
    }

    /// The journal of its units since this boot, with secrets removed: from the newest line backwards, as far as time
    /// and size permit.
    async fn journal(&self, cx: &Context<'_>) -> Result<Journal, SignalError> {
        if !self.logs.is_empty() {
            cx.waiting("for the journal of its units");
        }
        let clock = &cx.host().clock;
        let until = clock.elapsed() + CLEANED_WITHIN;
        let mut units = Vec::new();
        for unit in &self.logs {
            let unit = cx.render(unit).map_err(SignalError::Render)?.expose().to_owned();
            check_unit(&unit).map_err(SignalError::Place)?;
            units.push(unit);
        }
        let share = RAW / units.len().max(1);
        let logs = join_all(units.iter().map(|unit| cx.host().units.log(unit, share, READ_WITHIN))).await;
        let mut clean: Vec<Vec<String>> = logs.iter().map(|_| Vec::new()).collect();
        let mut is_cut = logs.iter().any(|log| log.is_cut);
        let longest = logs.iter().map(|log| log.newest_first.len()).max().unwrap_or_default();
        // Units take turns, so that a unit with much output does not take time from the newest lines of the others.
        'turns: for from in (0..longest).step_by(TURN) {
            for (lines, log) in clean.iter_mut().zip(&logs).filter(|(_, log)| log.newest_first.len() > from) {
                yield_now().await;
                // Only lines that have been redacted are sent.
                if from > 0 && clock.elapsed() > until {
                    is_cut = true;
                    break 'turns;
                }
                lines.extend(log.newest_first.iter().skip(from).take(TURN).map(|line| cx.redact(line)));
            }
        }
        clean.iter_mut().for_each(|lines| lines.reverse());
        let journal = Journal { lines: units.into_iter().zip(clean).collect(), is_cut, left_out: None };
        if journal.is_cut {
            cx.progress(Progress::Output("older lines of the journal are left out of the evidence".into()));
        }
        Ok(journal)
    }
}

impl Journal {
    /// Omits the journal of programs that may know secrets which this process has not read, such as those of an earlier
    /// boot, because these could not be redacted.
    fn left_out(why: String, cx: &Context<'_>) -> Self {
        cx.progress(Progress::Output(format!("the journal is left out of the evidence: {why}")));
        Self { lines: BTreeMap::new(), is_cut: true, left_out: Some(why) }
    }

    /// Drops the older half of the lines of the largest units. Returns whether there was anything to drop. Small units
    /// keep all their lines.
    fn halve(&mut self) -> bool {
        self.is_cut = true;
        let size = |lines: &[String]| lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let largest = self.lines.values().map(|lines| size(lines)).max().unwrap_or_default();
        for lines in self.lines.values_mut().filter(|lines| 2 * size(lines) > largest) {
            lines.drain(..lines.len().div_ceil(2));
        }
        largest > 0
    }
}

/// What is known about a machine that shuts down.
pub(crate) struct Ended<'a> {
    pub(crate) instance: &'a str,
    pub(crate) boot_id: &'a str,
    /// When the drain began.
    pub(crate) began: &'a str,
    /// The report of the boot, as JSON.
    pub(crate) report: &'a str,
    /// The sign that caused its end.
    pub(crate) reason: &'a str,
    pub(crate) written_at: &'a str,
    /// Lines of ingot's own units. The output of applications may contain secrets that can no longer be redacted.
    pub(crate) journal: BTreeMap<String, Vec<String>>,
    pub(crate) journal_is_cut: bool,
}

/// The evidence about the end of a machine, for a place below `prefix`.
///
/// # Errors
///
/// If `prefix` is not a place in S3.
pub(crate) fn of_end(prefix: &str, ended: Ended<'_>) -> Result<(Source, Vec<u8>), Objection> {
    let Ended { instance, boot_id, began, report, reason, written_at, journal, journal_is_cut } = ended;
    let place = place(prefix, &key(began, instance, boot_id, Moment::Drain.word()))?;
    let journal = Journal { lines: journal, is_cut: journal_is_cut, left_out: None };
    Ok((place, zstd::packed(content(Moment::Drain, written_at, Some(reason), report, &journal).as_bytes())))
}

/// The location of an object below a prefix.
fn place(prefix: &str, key: &str) -> Result<Source, Objection> {
    let slash = if prefix.ends_with('/') { "" } else { "/" };
    match Source::parse(&format!("{prefix}{slash}{key}")) {
        Ok(source @ Source::S3 { .. }) => Ok(source),
        // What is wrong with the bucket.
        Err(objection) if prefix.starts_with("s3://") => Err(objection),
        _ => Err(Objection::new(format!("`{prefix}` is not a bucket and a prefix"), "write s3://BUCKET/PREFIX/")),
    }
}

/// Names that journalctl accepts: units, and patterns of them.
fn check_unit(name: &str) -> Result<(), Objection> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@*?[]".contains(&byte));
    match is_plain && !name.is_empty() && !name.starts_with('-') {
        true => Ok(()),
        false => {
            Err(Objection::new(format!("`{name}` is not the name of a unit"), "name units as in shop.service, or as a pattern: shop-*"))
        }
    }
}

/// `2026/11/30/153443Z-i-0123456789abcdef0-BOOT-serve.json.zst`, with the time at which the boot or the drain began.
fn key(began: &str, instance: &str, boot_id: &str, last: &str) -> String {
    let date = began.get(..10).unwrap_or_default().replace('-', "/");
    let time = began.get(11..19).unwrap_or_default().replace(':', "");
    let boot = if boot_id.is_empty() { "unknown".to_owned() } else { boot_id.replace('-', "") };
    format!("{date}/{time}Z-{instance}-{boot}-{last}.json.zst")
}

/// The whole object, in ASCII, because that compresses better.
fn content(moment: Moment, written_at: &str, reason: Option<&str>, report: &str, journal: &Journal) -> String {
    const PLAIN: &str = "it is plain data";
    let Journal { lines, is_cut, left_out } = journal;
    let (moment, reason) = (moment.word(), serde_json::to_string(&reason).expect(PLAIN));
    let (lines, left_out) = (serde_json::to_string(lines).expect(PLAIN), serde_json::to_string(left_out).expect(PLAIN));
    let content = format!(
        "{{\"version\":{VERSION},\"moment\":\"{moment}\",\"written_at\":\"{written_at}\",\"reason\":{reason},\"report\":{report},\
         \"journal\":{lines},\"journal_is_cut\":{is_cut},\"journal_left_out\":{left_out}}}"
    );
    if content.is_ascii() {
        return content;
    }
    let mut ascii = String::with_capacity(content.len());
    for character in content.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let mut halves = [0; 2];
            for half in character.encode_utf16(&mut halves) {
                write!(ascii, "\\u{half:04x}").expect("a string takes all");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_key_says_when_who_and_which_boot() {
        let boot = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(
            key("2026-11-30T15:34:43.123456789Z", "i-0123456789abcdef0", boot, "warm"),
            "2026/11/30/153443Z-i-0123456789abcdef0-0f8fad5bd9cb469fa16570867728950e-warm.json.zst"
        );
    }

    #[test]
    fn it_lies_below_a_prefix_of_a_bucket() {
        for prefix in ["s3://shop-evidence/shop/prod/", "s3://shop-evidence/shop/prod"] {
            assert_eq!(place(prefix, "k").unwrap().to_string(), "s3://shop-evidence/shop/prod/k");
        }
        assert_eq!(place("s3://shop-evidence", "k").unwrap().to_string(), "s3://shop-evidence/k");
        for wrong in ["", "shop-evidence", "https://shop.example/x/", "s3://x/", "s3:///x", "s3://shop/../"] {
            assert!(place(wrong, "k").is_err(), "{wrong}");
        }
    }

    #[test]
    fn units_and_patterns_are_named() {
        for good in ["shop.service", "shop", "shop-*.service", "dev-sda\\x2d1.device", "a@b.service"] {
            assert!(check_unit(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "a\n", "a/b"] {
            assert!(check_unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_ascii_comes_back_as_it_was() {
        let lines = BTreeMap::from([("shop.service".to_owned(), vec!["tür \u{1f600} \"x\"".to_owned()])]);
        let text =
            content(Moment::Failure, "now", Some("schön"), r#"{"outcome":"failed"}"#, &Journal { lines, is_cut: true, left_out: None });
        assert!(text.is_ascii());
        let expected = json!({
            "version": 1, "moment": "failure", "written_at": "now", "reason": "schön", "report": { "outcome": "failed" },
            "journal": { "shop.service": ["tür \u{1f600} \"x\""] }, "journal_is_cut": true, "journal_left_out": null,
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn the_newest_lines_stay_when_it_is_halved() {
        let mut journal = Journal { lines: BTreeMap::from([("a".into(), vec!["1".into(), "2".into(), "3".into()])]), ..Journal::default() };
        assert!(journal.halve());
        assert_eq!((&journal.lines["a"][..], journal.is_cut), (&["3".to_owned()][..], true));
        assert!(journal.halve() && !journal.halve());
    }

    /// Regression: the last lines of a service were dropped together with those of another one that printed a lot.
    #[test]
    fn a_small_unit_keeps_all_its_lines() {
        let lines = |count: usize| (0..count).map(|number| format!("line {number}")).collect::<Vec<_>>();
        let units = [("large", 1_000), ("also-large", 900), ("small", 10)];
        let lines_of = units.iter().map(|(name, count)| ((*name).to_owned(), lines(*count))).collect();
        let mut journal = Journal { lines: lines_of, ..Journal::default() };
        assert!(journal.halve() && journal.halve());
        let left = |name: &str| journal.lines[name].len();
        assert_eq!((left("large"), left("also-large"), left("small")), (250, 225, 10));
    }
}
