//! The time that requests are signed with: this machine's, until AWS says that it is wrong.
//!
//! An instance may boot with a clock that is off by hours or years, before anything has set it, and AWS refuses
//! requests that are signed more than five minutes from its own time. Such a refusal carries AWS's time in its `Date`
//! header. From then on requests are signed with that time, advanced by the monotonic clock, so that a later jump of
//! the system clock does not matter either. The refused call is retried at once, and only once.
//!
//! Only the refusal of a signed request is trusted, and the machine's clock is never set here. Certificates are checked
//! against the machine's own time: see [`AwsErrorKind::Untimely`](super::error::AwsErrorKind::Untimely).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::classify::bare;

/// How far a signature's time must be from AWS's time before a refusal is attributed to it. AWS tolerates five minutes;
/// the limit is lower because `Date` has no fractions of a second and the answer took time to arrive.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const BORNE: Duration = Duration::from_secs(240);

/// Codes of refusals because of a signature's time, as the SDKs know them. Each can have other causes too, so AWS's
/// time decides.
const CODES: [&str; 8] = [
    // S3.
    "RequestTimeTooSkewed",
    // EC2 and the Query protocol.
    "RequestExpired",
    "InvalidSecurity.RequestHasExpired",
    "RequestInTheFuture",
    "SignatureDoesNotMatch",
    // EC2, which does not say what is wrong with the credentials.
    "AuthFailure",
    // Services that speak JSON.
    "InvalidSignatureException",
    "AccessDeniedException",
];

/// A handle on the time that requests are signed with. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SigningClock(Arc<Mutex<Option<Learnt>>>, Arc<Mutex<Option<(SystemTime, Instant)>>>);

/// How long AWS's time from one answer is used before it is read from another.
const FRESH: Duration = Duration::from_secs(60);

/// AWS's time, and when it was learned.
#[derive(Debug, Clone, Copy)]
struct Learnt {
    time: SystemTime,
    at: Instant,
    /// The offset of this machine's clock at that moment.
    off: Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Off {
    Behind(Duration),
    Ahead(Duration),
}

impl SigningClock {
    /// The time to sign with: AWS's if it is known, else this machine's.
    pub(crate) fn now(&self) -> SystemTime {
        let learnt = *self.learnt();
        learnt.map_or_else(SystemTime::now, |Learnt { time, at, .. }| time + at.elapsed())
    }

    /// AWS's time to within a second or two, regardless of this machine's clock. Use it to compare with times from AWS.
    pub(crate) fn by_aws(&self) -> SystemTime {
        let heard = *self.1.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or_else(|| self.now(), |(time, at)| time + at.elapsed())
    }

    /// Records the `Date` of an answer.
    pub(in crate::aws) fn heard(&self, date: Option<&str>) {
        let mut heard = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.is_none_or(|(_, at)| at.elapsed() > FRESH) {
            *heard = date.and_then(parsed).map(|time| (time, Instant::now())).or(*heard);
        }
    }

    /// Handles the refusal of a request that was signed for the time `signed`: its code and its `Date`. Returns
    /// whether that time was the cause, in which case a retry now is signed with another time.
    pub(in crate::aws) fn corrected_by(&self, code: Option<&str>, date: Option<&str>, signed: SystemTime) -> bool {
        let Some(time) = date.and_then(parsed) else { return false };
        let is_of_time = code.is_some_and(|code| CODES.contains(&bare(code)));
        if !is_of_time || distance(signed, time).length() < BORNE {
            return false;
        }
        // If several requests were refused together, the first refusal has already corrected the time.
        if distance(self.now(), time).length() >= BORNE {
            let off = distance(SystemTime::now(), time);
            *self.learnt() = Some(Learnt { time, at: Instant::now(), off });
            if let Some(warning) = self.warning() {
                log::warn!("{warning}");
            }
        }
        true
    }

    /// The warning for an operator if AWS has shown that this machine's clock is wrong.
    pub(crate) fn warning(&self) -> Option<String> {
        let off = self.learnt().as_ref()?.off;
        let how = match off {
            Off::Behind(length) => format!("{} behind", coarse(length)),
            Off::Ahead(length) => format!("{} ahead of", coarse(length)),
        };
        (off.length() >= BORNE).then(|| format!("this machine's clock is {how} AWS's: requests are signed with AWS's time"))
    }

    fn learnt(&self) -> MutexGuard<'_, Option<Learnt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Off {
    fn length(self) -> Duration {
        match self {
            Self::Behind(length) | Self::Ahead(length) => length,
        }
    }
}

/// How far `clock` is from the true `time`.
fn distance(clock: SystemTime, time: SystemTime) -> Off {
    match time.duration_since(clock) {
        Ok(length) => Off::Behind(length),
        Err(error) => Off::Ahead(error.duration()),
    }
}

/// The time that a `Date` header names.
pub(in crate::aws) fn parsed(date: &str) -> Option<SystemTime> {
    SystemTime::try_from(DateTime::from_str(date.trim(), Format::HttpDate).ok()?).ok()
}

/// A duration in the largest unit of which it holds at least two.
fn coarse(length: Duration) -> String {
    let minutes = (length.as_secs() + 30) / 60;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", (minutes + 30) / 60),
        _ => format!("{} days", (minutes + 720) / 1_440),
    }
}

#[cfg(test)]
impl SigningClock {
    pub(in crate::aws) fn set(&self, time: SystemTime) {
        *self.learnt() = Some(Learnt { time, at: Instant::now(), off: distance(time, time) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Mon, 23 Nov 2026 02:30:00 GMT";
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn date() -> SystemTime {
        parsed(DATE).unwrap()
    }

    fn is_near(time: SystemTime, other: SystemTime) -> bool {
        distance(time, other).length() < Duration::from_secs(60)
    }

    #[test]
    fn is_this_machines_until_aws_refuses_it() {
        let clock = SigningClock::default();
        assert!(is_near(clock.now(), SystemTime::now()) && clock.warning().is_none());
        assert!(clock.corrected_by(Some("RequestTimeTooSkewed"), Some(DATE), date() - 3 * YEAR));
        assert!(is_near(clock.now(), date()));
    }

    #[test]
    fn the_time_by_aws_is_that_of_its_answers() {
        let clock = SigningClock::default();
        clock.heard(None);
        assert!(is_near(clock.by_aws(), SystemTime::now()));
        clock.heard(Some(DATE));
        assert!(is_near(clock.by_aws(), date()) && is_near(clock.now(), SystemTime::now()));
    }

    #[test]
    fn believes_nothing_but_a_refusal_that_is_of_time() {
        let wrong = date() - YEAR;
        for (code, date, signed) in [
            (Some("ThrottlingException"), Some(DATE), wrong),
            (None, Some(DATE), wrong),
            (Some("RequestExpired"), None, wrong),
            (Some("RequestExpired"), Some("yesterday"), wrong),
            // The signature is wrong, but the time is right.
            (Some("SignatureDoesNotMatch"), Some(DATE), date() + Duration::from_secs(200)),
        ] {
            let clock = SigningClock::default();
            assert!(!clock.corrected_by(code, date, signed), "{code:?} {date:?}");
            assert!(is_near(clock.now(), SystemTime::now()));
        }
    }

    #[test]
    fn every_code_is_known_with_or_without_a_side() {
        for code in CODES {
            for code in [code.to_owned(), format!("Client.{code}")] {
                assert!(SigningClock::default().corrected_by(Some(&code), Some(DATE), date() + YEAR), "{code}");
            }
        }
    }

    #[test]
    fn of_requests_that_were_refused_together_each_is_tried_again() {
        let clock = SigningClock::default();
        let signed = date() + YEAR;
        assert!(clock.corrected_by(Some("AuthFailure"), Some(DATE), signed));
        assert!(clock.corrected_by(Some("AuthFailure"), Some(DATE), signed));
        // A request signed with the corrected time is not retried.
        assert!(!clock.corrected_by(Some("AuthFailure"), Some(DATE), clock.now()));
    }

    #[test]
    fn what_was_learnt_can_be_learnt_again() {
        let clock = SigningClock::default();
        clock.set(date() - YEAR);
        assert!(clock.corrected_by(Some("RequestExpired"), Some(DATE), clock.now()));
        assert!(is_near(clock.now(), date()));
    }

    #[test]
    fn says_by_how_much_the_clock_is_wrong() {
        let warned = |off| {
            let learnt = Learnt { time: date(), at: Instant::now(), off };
            SigningClock(Arc::new(Mutex::new(Some(learnt))), Arc::default()).warning()
        };
        let warning = warned(Off::Behind(3 * YEAR)).unwrap();
        assert_eq!(warning, "this machine's clock is 1095 days behind AWS's: requests are signed with AWS's time");
        let warning = warned(Off::Ahead(Duration::from_secs(7_200))).unwrap();
        assert_eq!(warning, "this machine's clock is 2 hours ahead of AWS's: requests are signed with AWS's time");
        // The clock was set in the meantime, and is now right.
        assert_eq!(warned(Off::Behind(Duration::from_secs(1))), None);
    }
}
