//! The types of EBS volumes, and what EBS allows each: its size, and the performance that can be asked for.
//!
//! Source: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>,
//! <https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html>,
//! <https://docs.aws.amazon.com/ebs/latest/userguide/provisioned-iops.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html>

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
    Standard,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gp2 => "gp2",
            Self::Gp3 => "gp3",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::St1 => "st1",
            Self::Sc1 => "sc1",
            Self::Standard => "standard",
        }
    }
}

/// The limits of one type.
struct Limits {
    size_gib: RangeInclusive<u32>,
    /// `None` for types whose performance follows from their size.
    iops: Option<RangeInclusive<u32>>,
    /// The most IOPS for each GiB; the least that the type allows are always allowed.
    iops_per_gib: u32,
    throughput_mib_s: Option<RangeInclusive<u32>>,
}

/// IOPS of a gp3 volume that asks for none.
const GP3_IOPS: u32 = 3_000;

/// IOPS that a gp3 volume needs for each MiB/s of throughput.
const GP3_IOPS_PER_MIB_S: u32 = 4;

fn of(kind: Kind) -> Limits {
    let plain = |size_gib| Limits { size_gib, iops: None, iops_per_gib: 0, throughput_mib_s: None };
    match kind {
        Kind::Gp2 => plain(1..=16_384),
        Kind::Gp3 => Limits { size_gib: 1..=65_536, iops: Some(GP3_IOPS..=80_000), iops_per_gib: 500, throughput_mib_s: Some(125..=2_000) },
        Kind::Io1 => Limits { size_gib: 4..=16_384, iops: Some(100..=64_000), iops_per_gib: 50, throughput_mib_s: None },
        Kind::Io2 => Limits { size_gib: 4..=65_536, iops: Some(100..=256_000), iops_per_gib: 1_000, throughput_mib_s: None },
        Kind::St1 | Kind::Sc1 => plain(125..=16_384),
        Kind::Standard => plain(1..=1_024),
    }
}

/// What EC2 would refuse to create, each with a hint.
pub(super) fn beyond_limits(kind: Kind, size_gib: Option<u32>, iops: Option<u32>, throughput_mib_s: Option<u32>) -> Vec<(String, String)> {
    let (name, limits) = (kind.name(), of(kind));
    let mut wrong = Vec::new();
    let mut within = |field: &str, given: Option<u32>, range: &Option<RangeInclusive<u32>>| {
        let (Some(given), Some(range)) = (given, range) else { return true };
        let (low, high) = (range.start(), range.end());
        if !range.contains(&given) {
            wrong.push((
                format!("`{field}` of type {name} is {low} to {high}, not {given}"),
                format!("write `{field}: {}`", given.clamp(*low, *high)),
            ));
        }
        range.contains(&given)
    };
    let is_size = within("size_gib", size_gib, &Some(limits.size_gib));
    let is_iops = within("iops", iops, &limits.iops);
    let is_throughput = within("throughput_mib_s", throughput_mib_s, &limits.throughput_mib_s);
    if let (Some(iops), Some(size), Some(range), true, true) = (iops, size_gib, &limits.iops, is_size, is_iops) {
        let most = size.saturating_mul(limits.iops_per_gib).max(*range.start());
        if iops > most {
            let enough = iops.div_ceil(limits.iops_per_gib);
            let message = format!("type {name} has at most {most} IOPS at {size} GiB, not {iops}");
            wrong.push((message, format!("write `iops: {most}`, or `size_gib: {enough}`")));
        }
    }
    if let (Kind::Gp3, Some(throughput), true, true) = (kind, throughput_mib_s, is_iops, is_throughput) {
        let most = iops.unwrap_or(GP3_IOPS) / GP3_IOPS_PER_MIB_S;
        if throughput > most {
            let message = format!("type gp3 has 1 MiB/s for each {GP3_IOPS_PER_MIB_S} IOPS, here {most}, not {throughput}");
            wrong.push((message, format!("write `iops: {}`, or `throughput_mib_s: {most}`", throughput * GP3_IOPS_PER_MIB_S)));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ebs_allows_is_accepted() {
        for (kind, size, iops, throughput) in [
            (Kind::Gp3, Some(1), Some(3_000), Some(750)),
            (Kind::Gp3, Some(160), Some(80_000), Some(2_000)),
            (Kind::Gp3, None, None, Some(125)),
            (Kind::Gp3, None, Some(80_000), None),
            (Kind::Io1, Some(4), Some(200), None),
            (Kind::Io2, Some(4), Some(4_000), None),
            (Kind::Gp2, Some(1), None, None),
            (Kind::St1, Some(125), None, None),
            (Kind::Standard, Some(1_024), None, None),
        ] {
            assert_eq!(beyond_limits(kind, size, iops, throughput), [], "{kind:?} {size:?} {iops:?} {throughput:?}");
        }
    }

    #[test]
    fn what_ebs_does_not_allow_is_refused_with_what_it_allows() {
        for ((kind, size, iops, throughput), message, hint) in [
            ((Kind::Gp3, Some(100), Some(100), None), "`iops` of type gp3 is 3000 to 80000, not 100", "iops: 3000"),
            ((Kind::Io1, Some(2_000), Some(70_000), None), "`iops` of type io1 is 100 to 64000, not 70000", "iops: 64000"),
            ((Kind::Gp3, None, None, Some(5_000)), "`throughput_mib_s` of type gp3 is 125 to 2000, not 5000", "throughput_mib_s: 2000"),
            ((Kind::St1, Some(10), None, None), "`size_gib` of type st1 is 125 to 16384, not 10", "size_gib: 125"),
            ((Kind::Gp3, Some(10), Some(6_000), None), "type gp3 has at most 5000 IOPS at 10 GiB, not 6000", "iops: 5000"),
            ((Kind::Gp3, Some(1), Some(3_001), None), "type gp3 has at most 3000 IOPS at 1 GiB, not 3001", "iops: 3000"),
            ((Kind::Io1, Some(10), Some(1_000), None), "type io1 has at most 500 IOPS at 10 GiB, not 1000", "iops: 500"),
            ((Kind::Gp3, None, None, Some(1_000)), "type gp3 has 1 MiB/s for each 4 IOPS, here 750, not 1000", "iops: 4000"),
        ] {
            let found = beyond_limits(kind, size, iops, throughput);
            assert_eq!(found.iter().map(|(message, _)| message.as_str()).collect::<Vec<_>>(), [message]);
            assert!(found[0].1.starts_with(&format!("write `{hint}`")), "{found:?}");
        }
    }
}
