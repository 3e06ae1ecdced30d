//! The signs that a machine is about to end, and what each requires.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::host::clock::moment;
use crate::json::of_bytes;

/// How much of the time after an EC2 notice is reserved for stopping units and reporting the end.
const RESERVE: Duration = Duration::from_secs(15);

/// How long after the time of its notice an interrupted machine counts as spared: until then no
/// boot restarts anything. After that, the notice is ignored.
pub(super) const SPARED: SignedDuration = SignedDuration::from_secs(30);

/// How far in the future the time of a notice may be. EC2 gives two minutes; the clock of this machine may be wrong.
const FAR: SignedDuration = SignedDuration::from_hours(1);

/// How long work in hand and requests may take at a shutdown. After 30 minutes systemd ends the machine by force,
/// whatever is still stopping (`JobTimeoutSec=` of poweroff.target and reboot.target).
const SHUTDOWN: Duration = Duration::from_mins(25);

/// A sign that this machine is about to end. Displays in the form that [`FromStr`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Auto Scaling terminates the instance.
    Terminated,
    /// EC2 interrupts a Spot Instance at this time.
    Interrupted(Timestamp),
    /// EC2 recommended at this time to replace the instance, which it may interrupt soon.
    Rebalance(Timestamp),
    /// systemd shuts the machine down.
    Shutdown,
    /// A person asked for it.
    ByHand,
}

impl Sign {
    /// Parses the lifecycle state that an Auto Scaling group wants for this instance.
    ///
    /// Source:
    /// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>
    pub(super) fn of_target_state(state: &str) -> Option<Self> {
        matches!(state, "Terminated" | "Warmed:Terminated").then_some(Self::Terminated)
    }

    /// Parses an interruption notice.
    ///
    /// # Errors
    ///
    /// Why the notice does not start a drain. The text is checked because a service that imitates
    /// EC2's metadata may answer anything.
    pub(super) fn of_interruption(notice: &str, now: Timestamp) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Told {
            action: String,
            time: String,
        }
        let told: Told = of_bytes(notice.as_bytes()).map_err(|_| "it is not an interruption notice".to_owned())?;
        if !matches!(told.action.as_str(), "terminate" | "stop") {
            return Err(format!("its action is `{}`, and only `terminate` and `stop` drain an instance", told.action));
        }
        let at = moment(&told.time).ok_or_else(|| format!("its time is `{}`", told.time))?;
        let (ahead, behind) = (at.duration_since(now), now.duration_since(at));
        if behind >= SPARED || ahead > FAR {
            return Err(format!("its time is {at}, and it is {now} now"));
        }
        Ok(Self::Interrupted(at))
    }

    /// Parses a rebalance recommendation.
    ///
    /// # Errors
    ///
    /// As [`of_interruption`](Self::of_interruption).
    pub(super) fn of_recommendation(notice: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Told {
            #[serde(rename = "noticeTime")]
            notice_time: String,
        }
        let told: Option<Told> = of_bytes(notice.as_bytes()).ok();
        match told.and_then(|told| moment(&told.notice_time)) {
            Some(at) => Ok(Self::Rebalance(at)),
            None => Err("it is not a rebalance recommendation".into()),
        }
    }

    /// Whether requests are served until the time is over, because nothing shows when the last one has arrived.
    pub(super) fn serves_to_the_end(self) -> bool {
        matches!(self, Self::Interrupted(_))
    }

    /// Whether ingot stops the units. At a shutdown, systemd stops them once the drain is over: it
    /// already has jobs for them.
    pub(super) fn stops_units(self) -> bool {
        self != Self::Shutdown
    }

    /// How certain and how close the end of the machine is. At a shutdown, every sign of IMDS is graver.
    pub(super) fn gravity(self) -> u8 {
        match self {
            Self::ByHand | Self::Shutdown => 0,
            Self::Rebalance(_) => 1,
            Self::Interrupted(_) => 2,
            Self::Terminated => 3,
        }
    }

    /// Whether an interrupted drain for this sign resumes by itself: such signs are not withdrawn.
    pub(super) fn is_resumed(self) -> bool {
        matches!(self, Self::Terminated | Self::Interrupted(_))
    }

    /// Whether repeated reads from IMDS are the same sign. Other signs are new each time, and start with the full time.
    pub(super) fn lasts(self) -> bool {
        self.gravity() > 0
    }

    /// Whether this is the last sign after which a lifecycle hook may wait.
    pub(super) fn is_last(self) -> bool {
        matches!(self, Self::Terminated | Self::Shutdown)
    }

    /// How long work in hand and requests may take in a drain that begins at `began` and is given `grace`.
    pub(super) fn time(self, began: Timestamp, grace: Duration) -> Duration {
        let at = match self {
            Self::Interrupted(at) => at,
            Self::Shutdown => return grace.min(SHUTDOWN),
            _ => return grace,
        };
        let left = Duration::try_from(at.duration_since(began)).unwrap_or_default();
        grace.min(left.saturating_sub(RESERVE))
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminated => f.write_str("terminated"),
            Self::Interrupted(at) => write!(f, "interrupted {at}"),
            Self::Rebalance(at) => write!(f, "rebalance {at}"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ByHand => f.write_str("by-hand"),
        }
    }
}

impl FromStr for Sign {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "terminated" => Self::Terminated,
            "shutdown" => Self::Shutdown,
            "by-hand" => Self::ByHand,
            _ => {
                let (what, at) = text.split_once(' ').ok_or(())?;
                let at = moment(at).ok_or(())?;
                match what {
                    "interrupted" => Self::Interrupted(at),
                    "rebalance" => Self::Rebalance(at),
                    _ => return Err(()),
                }
            }
        })
    }
}

impl Sign {
    /// The sign as text for people.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Terminated => "Auto Scaling is terminating this instance",
            Self::Interrupted(_) => "EC2 is interrupting this Spot Instance",
            Self::Rebalance(_) => "EC2 recommends replacing this Spot Instance",
            Self::Shutdown => "this machine is shutting down",
            Self::ByHand => "`ingot drain --now` was run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_end_of_an_instance_is_a_sign() {
        for state in ["Terminated", "Warmed:Terminated"] {
            assert_eq!(Sign::of_target_state(state), Some(Sign::Terminated), "{state}");
        }
        for state in ["InService", "Standby", "Detached", "Warmed:Stopped", "Warmed:Running", "terminated", ""] {
            assert_eq!(Sign::of_target_state(state), None, "{state}");
        }
    }

    #[test]
    fn an_interruption_leaves_the_time_that_its_notice_says() {
        let began = at("2026-11-30T15:00:00Z");
        let grace = Duration::from_secs(120);
        let seconds = |notice: &str| Sign::of_interruption(notice, began).unwrap().time(began, grace).as_secs();
        assert_eq!(seconds(r#"{"action": "terminate", "time": "2026-11-30T15:02:00Z"}"#), 105);
        assert_eq!(seconds(r#"{"action": "stop", "time": "2026-11-30T15:00:10Z"}"#), 0);
        assert_eq!(seconds(r#"{"action": "stop", "time": "2026-11-30T14:59:31Z"}"#), 0);
        assert_eq!(Sign::Terminated.time(began, grace), grace);
        let long = Duration::from_hours(2);
        assert_eq!([Sign::Terminated, Sign::Shutdown].map(|sign| sign.time(began, long)), [long, Duration::from_mins(25)]);
    }

    #[test]
    fn only_a_notice_of_ec2_is_a_sign() {
        let now = at("2026-11-30T15:00:00Z");
        let notices = [
            "<html>",
            "",
            "{}",
            "[]",
            r#"{"action": "terminate"}"#,
            r#"{"action": "hibernate", "time": "2026-11-30T15:00:00Z"}"#,
            r#"{"action": "terminate", "time": "soon"}"#,
            r#"{"action": "terminate", "time": "2026-11-30T14:59:30Z"}"#,
            r#"{"action": "terminate", "time": "2027-11-30T14:50:00Z"}"#,
        ];
        for notice in notices {
            assert!(Sign::of_interruption(notice, now).is_err(), "{notice}");
            assert!(Sign::of_recommendation(notice).is_err(), "{notice}");
        }
        // A recommendation stays in metadata for as long as it holds.
        assert_eq!(Sign::of_recommendation(r#"{"noticeTime": "2026-11-29T10:00:00Z"}"#), Ok(Sign::Rebalance(at("2026-11-29T10:00:00Z"))));
    }

    #[test]
    fn what_is_on_record_is_read_as_it_was_written() {
        let at = at("2026-11-30T15:02:00Z");
        let signs = [Sign::Terminated, Sign::Interrupted(at), Sign::Rebalance(at), Sign::Shutdown, Sign::ByHand];
        for sign in signs {
            assert_eq!(sign.to_string().parse(), Ok(sign));
        }
        assert!("".parse::<Sign>().is_err() && "interrupted x".parse::<Sign>().is_err());
    }
}
