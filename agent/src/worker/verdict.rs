//! Decides what happens to a message, given the application's answer. Pure.

use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use jiff::Timestamp;

use super::gate::Sign;
use crate::net::posts::Answered;
use crate::steps::worker::settings::Retry;

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was handled.
    Delete,
    /// It failed, and is delivered again after this.
    Retry(Duration),
    /// The application is gone: the message is visible again at once, here or elsewhere.
    Release,
}

/// Only 200 is a success: 204 and 302 are failures, as with Elastic Beanstalk. `is_suspect` means that the message was
/// alone with an application that had crashed before, and so may be the cause.
pub(super) fn verdict(answered: &Answered, receive_count: u32, is_suspect: bool, retry: &Retry, now: Timestamp) -> Verdict {
    match answered {
        Answered::CutOff(_) if is_suspect => Verdict::Retry(delay(receive_count, retry)),
        Answered::Status { status: 200, .. } => Verdict::Delete,
        Answered::Status { status: 429 | 503, retry_after: Some(after) } => {
            Verdict::Retry(asked_for(after, now).unwrap_or_else(|| delay(receive_count, retry)))
        }
        Answered::Refused(_) | Answered::CutOff(_) => Verdict::Release,
        _ => Verdict::Retry(delay(receive_count, retry)),
    }
}

/// What the answer means for the application. A proxy answers in place of an application that
/// is gone, but asks for no pause.
pub(super) fn sign(answered: &Answered) -> Sign {
    match answered {
        Answered::Status { status: 200, .. } | Answered::Status { status: 429 | 503, retry_after: Some(_) } => Sign::Alive,
        Answered::Status { status: 502..=504, .. } => Sign::Suspect,
        Answered::Status { .. } => Sign::Failed,
        Answered::Silent | Answered::TooLong | Answered::Hindered(_) => Sign::Silent,
        Answered::Refused(_) | Answered::CutOff(_) | Answered::Foreign => Sign::Gone,
    }
}

/// The name under which a failure is counted and logged.
pub(super) fn named(answered: &Answered) -> String {
    match answered {
        Answered::Status { status, .. } => status.to_string(),
        Answered::Refused(_) => "refused".into(),
        Answered::CutOff(_) => "cut off".into(),
        Answered::Silent => "no response in time".into(),
        Answered::TooLong => "too long".into(),
        Answered::Foreign => "not HTTP".into(),
        Answered::Hindered(why) => format!("not sent: {why}"),
    }
}

/// The delay after a failed delivery.
fn delay(receive_count: u32, retry: &Retry) -> Duration {
    match retry.doubled_up_to {
        None => retry.delay,
        Some(longest) => {
            let doubled = 1_u32.checked_shl(receive_count.saturating_sub(1)).and_then(|times| retry.delay.checked_mul(times));
            doubled.filter(|_| receive_count <= 32).map_or(longest, |delay| delay.min(longest))
        }
    }
}

/// The delay that `Retry-After` asks for: seconds, or a date.
fn asked_for(after: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(after, Format::HttpDate).ok()?;
    u64::try_from(date.secs().saturating_sub(now.as_second())).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANT: Retry = Retry { delay: Duration::from_secs(2), doubled_up_to: None };
    const DOUBLED: Retry = Retry { delay: Duration::from_secs(2), doubled_up_to: Some(Duration::from_secs(900)) };

    fn now() -> Timestamp {
        "2019-11-14T00:47:00Z".parse().unwrap()
    }

    fn of(status: u16, retry_after: Option<&str>) -> Verdict {
        verdict(&Answered::Status { status, retry_after: retry_after.map(str::to_owned) }, 1, false, &CONSTANT, now())
    }

    const TWO: Verdict = Verdict::Retry(CONSTANT.delay);

    #[test]
    fn two_hundred_alone_is_success() {
        assert_eq!(of(200, None), Verdict::Delete);
        for status in [201, 202, 204, 301, 302, 400, 403, 404, 429, 500, 502, 503, 504] {
            assert_eq!(of(status, None), TWO, "{status}");
        }
    }

    #[test]
    fn who_asks_for_time_gets_it() {
        for status in [429, 503] {
            assert_eq!(of(status, Some("120")), Verdict::Retry(Duration::from_secs(120)));
            assert_eq!(of(status, Some("Thu, 14 Nov 2019 00:48:00 GMT")), Verdict::Retry(Duration::from_secs(60)));
            assert_eq!(of(status, Some("Thu, 14 Nov 2019 00:00:00 GMT")), TWO, "in the past");
            assert_eq!(of(status, Some("soon")), TWO);
        }
        assert_eq!(of(500, Some("120")), TWO);
    }

    #[test]
    fn delays_double_with_each_delivery() {
        let after = |count| verdict(&Answered::Silent, count, false, &DOUBLED, now());
        let seconds = [(0, 2), (1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (32, 900), (33, 900), (u32::MAX, 900)];
        for (count, expected) in seconds {
            assert_eq!(after(count), Verdict::Retry(Duration::from_secs(expected)), "{count}");
        }
    }

    #[test]
    fn an_application_that_is_gone_gives_back_what_it_has() {
        for gone in [Answered::Refused("x".into()), Answered::CutOff("x".into())] {
            assert_eq!(verdict(&gone, 1, false, &CONSTANT, now()), Verdict::Release);
            assert_eq!(sign(&gone), Sign::Gone);
        }
        let (cut, refused) = (Answered::CutOff("x".into()), Answered::Refused("x".into()));
        assert_eq!(verdict(&cut, 1, true, &CONSTANT, now()), TWO, "it was alone with it, after another end");
        assert_eq!(verdict(&refused, 1, true, &CONSTANT, now()), Verdict::Release, "it has not seen it");
    }

    #[test]
    fn one_that_asks_for_time_is_alive_and_a_proxy_that_asks_for_none_is_suspect() {
        let of = |status, retry_after: Option<&str>| sign(&Answered::Status { status, retry_after: retry_after.map(str::to_owned) });
        assert_eq!([of(200, None), of(503, Some("5")), of(429, Some("5"))], [Sign::Alive; 3]);
        assert_eq!([of(502, None), of(503, None), of(504, None)], [Sign::Suspect; 3]);
        assert_eq!([of(204, None), of(429, None), of(500, Some("5"))], [Sign::Failed; 3]);
    }
}
