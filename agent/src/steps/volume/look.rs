//! Interprets EC2's description of one volume.
//!
//! Pure: [`make`](super::make) and [`attach`](super::attach) only carry out the result.
//!
//! A look is one DescribeVolumes call, and each round of a wait makes one. A look may be stale: EC2 is only eventually
//! consistent, so a volume that was just created may be missing, and so may its attachment.

use std::fmt;
use std::time::Duration;

use super::waiting::UNSEEN;
use crate::aws::ec2::Volume;

/// A volume that is `attaching` for longer will never appear: it is detached, and attached under another device name.
///
/// Source: aws-ebs-csi-driver, which found that such a name must not be used again.
const ATTACHING: Duration = Duration::from_secs(90);

/// Consecutive looks that must show no attachment, since a single one may be stale.
const LOOKS: u32 = 4;

/// The state of a volume. Displays as EC2 spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VolumeState {
    /// EC2 does not show the volume.
    Unseen,
    Creating,
    Available,
    InUse,
    Deleting,
    Deleted,
    Error,
    Other(String),
}

impl From<&str> for VolumeState {
    fn from(state: &str) -> Self {
        match state {
            "creating" => Self::Creating,
            "available" => Self::Available,
            "in-use" => Self::InUse,
            "deleting" => Self::Deleting,
            "deleted" => Self::Deleted,
            "error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unseen => "not seen yet",
            Self::Creating => "creating",
            Self::Available => "available",
            Self::InUse => "in-use",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Error => "error",
            Self::Other(state) => state,
        })
    }
}

/// The state of an attachment. Displays as EC2 spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AttachmentState {
    Attaching,
    Detaching,
    /// `attached`, `busy` or `detached`: only the kernel knows whether the disk is there.
    Other(String),
}

impl From<&str> for AttachmentState {
    fn from(state: &str) -> Self {
        match state {
            "attaching" => Self::Attaching,
            "detaching" => Self::Detaching,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for AttachmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attaching => "attaching",
            Self::Detaching => "detaching",
            Self::Other(state) => state,
        })
    }
}

/// One attachment of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) instance: String,
    pub(super) device: String,
    pub(super) state: AttachmentState,
}

/// The description of a volume by one DescribeVolumes call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) state: VolumeState,
    /// False if EC2 does not show the volume.
    pub(super) encrypted: bool,
    pub(super) attachments: Vec<Held>,
}

/// What to do with a volume that should become available.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Ready,
    Wait,
    /// It is attached or gone: the volume has to be chosen again.
    Elsewhere,
    /// EC2 did not create it.
    NotMade {
        encrypted: bool,
    },
}

/// The holder of a volume that EC2 refused to attach.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This instance: the response to an earlier request was lost.
    Us,
    /// Other instances, by ID; empty if the volume is gone.
    Others(String),
    /// EC2 does not show the holder yet.
    Wait,
    /// EC2 still shows no holder after the time limit.
    Nobody,
}

/// The progress of an attachment to this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attaching {
    Shown(AttachmentState),
    /// This many consecutive looks showed no attachment.
    Missing(u32),
}

/// What to do about an attachment whose disk has not appeared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Wait(Attaching),
    /// Another instance has the volume.
    Leave,
    /// It takes too long, or was refused because the KMS key cannot be used.
    Detach,
}

impl Look {
    pub(super) fn of(known: Option<Volume>) -> Self {
        let Some(known) = known else { return Self { state: VolumeState::Unseen, encrypted: false, attachments: Vec::new() } };
        let attachments = known.attachments.into_iter();
        Self {
            state: known.state.as_str().into(),
            encrypted: known.encrypted,
            attachments: attachments
                .map(|held| Held { state: held.state.as_str().into(), instance: held.instance, device: held.device })
                .collect(),
        }
    }

    /// The attachment to an instance.
    pub(super) fn by(&self, instance: &str) -> Option<&Held> {
        self.attachments.iter().find(|held| held.instance == instance)
    }

    /// What to do with a volume that should become available. A volume to be `reused` has existed before, so if EC2
    /// does not show it, it is gone.
    pub(super) fn availability(&self, reused: bool, waited: Duration) -> Availability {
        match self.state {
            VolumeState::Available => Availability::Ready,
            VolumeState::Error => Availability::NotMade { encrypted: self.encrypted },
            VolumeState::Unseen if reused => Availability::Elsewhere,
            // EC2 drops a volume at once if its KMS key cannot be used.
            VolumeState::Unseen if waited >= UNSEEN => Availability::NotMade { encrypted: true },
            VolumeState::Unseen | VolumeState::Creating => Availability::Wait,
            VolumeState::InUse if self.attachments.iter().any(|held| held.state == AttachmentState::Detaching) => Availability::Wait,
            VolumeState::InUse | VolumeState::Deleting | VolumeState::Deleted | VolumeState::Other(_) => Availability::Elsewhere,
        }
    }

    /// The holder of a volume that EC2 refused to attach to `instance`.
    pub(super) fn holder(&self, instance: &str, reused: bool, waited: Duration) -> Holder {
        let gone = matches!(self.state, VolumeState::Unseen | VolumeState::Deleting | VolumeState::Deleted | VolumeState::Error);
        if self.by(instance).is_some() {
            Holder::Us
        } else if !self.attachments.is_empty() || (gone && reused) {
            Holder::Others(self.attachments.iter().map(|held| held.instance.as_str()).collect::<Vec<_>>().join(", "))
        } else if waited >= UNSEEN {
            Holder::Nobody
        } else {
            Holder::Wait
        }
    }
}

impl Attaching {
    /// The state when EC2 has just accepted the request.
    pub(super) fn begun() -> Self {
        Self::Shown(AttachmentState::Attaching)
    }

    /// What to do after another look, `waited` after the request.
    pub(super) fn next(&self, look: &Look, instance: &str, waited: Duration) -> Action {
        if look.attachments.iter().any(|held| held.instance != instance) {
            return Action::Leave;
        }
        match look.by(instance) {
            Some(held) if held.state == AttachmentState::Attaching && waited >= ATTACHING => Action::Detach,
            Some(held) => Action::Wait(Self::Shown(held.state.clone())),
            None => match self.missing() + 1 {
                LOOKS.. => Action::Detach,
                looks => Action::Wait(Self::Missing(looks)),
            },
        }
    }

    fn missing(&self) -> u32 {
        match self {
            Self::Shown(_) => 0,
            Self::Missing(looks) => *looks,
        }
    }
}

impl fmt::Display for Attaching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown(state) => state.fmt(f),
            Self::Missing(_) => f.write_str("detached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "i-us";
    const NOW: Duration = Duration::ZERO;

    fn look(state: &str, attachments: &[(&str, &str)]) -> Look {
        let held =
            |(instance, state): &(&str, &str)| Held { instance: (*instance).into(), device: "/dev/sdf".into(), state: (*state).into() };
        Look { state: state.into(), encrypted: false, attachments: attachments.iter().map(held).collect() }
    }

    fn unseen() -> Look {
        Look::of(None)
    }

    #[test]
    fn a_volume_is_waited_for_until_it_is_available() {
        for (look, reused, what) in [
            (look("creating", &[]), false, Availability::Wait),
            (look("available", &[]), false, Availability::Ready),
            (look("available", &[]), true, Availability::Ready),
            (look("in-use", &[(US, "attached")]), false, Availability::Elsewhere),
            (look("in-use", &[("i-other", "attached")]), true, Availability::Elsewhere),
            (look("in-use", &[("i-other", "detaching")]), true, Availability::Wait),
            (look("deleting", &[]), false, Availability::Elsewhere),
            (look("deleted", &[]), false, Availability::Elsewhere),
            (look("unheard-of", &[]), false, Availability::Elsewhere),
            (look("error", &[]), false, Availability::NotMade { encrypted: false }),
            (Look { encrypted: true, ..look("error", &[]) }, false, Availability::NotMade { encrypted: true }),
        ] {
            assert_eq!(look.availability(reused, NOW), what, "{look:?} {reused}");
        }
    }

    #[test]
    fn a_new_volume_may_be_missing_from_a_stale_look() {
        assert_eq!(unseen().availability(false, UNSEEN - Duration::from_secs(1)), Availability::Wait);
        assert_eq!(unseen().availability(false, UNSEEN), Availability::NotMade { encrypted: true });
        assert_eq!(unseen().availability(true, NOW), Availability::Elsewhere);
    }

    #[test]
    fn a_refusal_is_explained_by_who_has_the_volume() {
        for (look, reused, holder) in [
            (look("in-use", &[(US, "attaching")]), false, Holder::Us),
            (look("in-use", &[("i-a", "attached")]), false, Holder::Others("i-a".into())),
            (look("in-use", &[("i-a", "attached"), ("i-b", "busy")]), true, Holder::Others("i-a, i-b".into())),
            (look("deleted", &[]), true, Holder::Others(String::new())),
            (unseen(), true, Holder::Others(String::new())),
        ] {
            assert_eq!(look.holder(US, reused, NOW), holder, "{look:?} {reused}");
        }
    }

    /// EC2 refuses a volume that another instance took a moment ago, and may still show it as available.
    #[test]
    fn a_stale_look_explains_no_refusal() {
        for look in [look("available", &[]), look("in-use", &[]), unseen()] {
            assert_eq!(look.holder(US, false, NOW), Holder::Wait, "{look:?}");
            assert_eq!(look.holder(US, false, UNSEEN), Holder::Nobody, "{look:?}");
        }
    }

    #[test]
    fn an_attachment_is_waited_for_in_every_state() {
        for state in ["attaching", "attached", "busy", "detaching", "detached"] {
            let shown = Attaching::Shown(state.into());
            assert_eq!(Attaching::begun().next(&look("in-use", &[(US, state)]), US, NOW), Action::Wait(shown.clone()));
            assert_eq!(shown.to_string(), state);
        }
    }

    #[test]
    fn an_attachment_that_takes_too_long_is_taken_back() {
        let attaching = look("in-use", &[(US, "attaching")]);
        assert_eq!(Attaching::begun().next(&attaching, US, ATTACHING), Action::Detach);
        let attached = look("in-use", &[(US, "attached")]);
        assert_eq!(Attaching::begun().next(&attached, US, ATTACHING), Action::Wait(Attaching::Shown("attached".into())));
    }

    #[test]
    fn a_volume_that_another_instance_has_is_left_to_it() {
        let taken = look("in-use", &[("i-other", "attaching")]);
        assert_eq!(Attaching::begun().next(&taken, US, NOW), Action::Leave);
    }

    #[test]
    fn only_consecutive_looks_without_an_attachment_are_believed() {
        let without = look("available", &[]);
        let mut at = Attaching::begun();
        for looks in 1..LOOKS {
            let Action::Wait(next) = at.next(&without, US, NOW) else { panic!("{looks} looks may be stale") };
            assert_eq!((next.clone(), next.to_string()), (Attaching::Missing(looks), "detached".into()));
            at = next;
        }
        assert_eq!(at.next(&without, US, NOW), Action::Detach);
        let shown = Attaching::Shown(AttachmentState::Attaching);
        assert_eq!(at.next(&look("in-use", &[(US, "attaching")]), US, NOW), Action::Wait(shown.clone()));
        assert_eq!(shown.next(&without, US, NOW), Action::Wait(Attaching::Missing(1)));
    }
}
