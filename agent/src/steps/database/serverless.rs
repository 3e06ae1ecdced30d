//! The capacity of an Aurora Serverless v2 cluster, which a restore must set before the cluster can get an instance.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::aws::rds::Scaling;
use crate::failure::Objection;
use crate::step::fields::TimeLimit;

/// The class of an instance that scales.
pub(super) const CLASS: &str = "db.serverless";

/// Maximum number of capacity units in any version of Aurora.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ServerlessV2ScalingConfiguration.html>.
const MOST: f64 = 256.0;

/// The idle time in seconds after which an instance may pause. Source: as for [`MOST`].
const PAUSES: std::ops::RangeInclusive<u64> = 300..=86_400;

/// The range in which the instances of an Aurora Serverless v2 cluster scale, in Aurora capacity units.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Serverless {
    /// Minimum, in steps of 0.5. With 0, idle instances pause.
    min_capacity: Capacity,
    /// Maximum, in steps of 0.5, up to 256.
    max_capacity: Capacity,
    /// Idle time before an instance pauses, from `5m` to `24h`; only with a `min_capacity` of 0. Default: RDS's, 5 minutes.
    pause_after: Option<TimeLimit>,
}

/// An amount of capacity units, counted in halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64", extend("minimum" = 0, "maximum" = 256, "multipleOf" = 0.5))]
struct Capacity(u16);

impl TryFrom<f64> for Capacity {
    type Error = Objection;

    fn try_from(units: f64) -> Result<Self, Objection> {
        let halves = units * 2.0;
        match (0.0..=MOST).contains(&units) && halves.fract() == 0.0 {
            true => Ok(Self(halves as u16)),
            false => {
                Err(Objection::new(format!("{units} is not a capacity"), "write a number from 0 to 256 in steps of 0.5, as in 0.5 or 8"))
            }
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 2.0)
    }
}

impl Serverless {
    pub(super) fn scaling(&self) -> Scaling {
        let (least, most) = (self.min_capacity.to_string(), self.max_capacity.to_string());
        Scaling { least, most, seconds_until_pause: self.pause_after.map(|pause| pause.0.as_secs()) }
    }

    /// Contradictions between the fields.
    pub(super) fn contradictions(&self) -> Vec<Objection> {
        let mut wrong = Vec::new();
        if self.max_capacity < self.min_capacity || self.max_capacity < Capacity(2) {
            wrong.push(Objection::new(
                format!("a maximum of {} capacity units is too little", self.max_capacity),
                "raise `max_capacity` to at least 1, and to at least `min_capacity`",
            ));
        }
        if let Some(TimeLimit(pause)) = self.pause_after {
            if self.min_capacity > Capacity(0) {
                wrong.push(Objection::new(
                    format!("an instance with at least {} capacity units never pauses", self.min_capacity),
                    "set `min_capacity: 0`, or remove `pause_after`",
                ));
            }
            if !PAUSES.contains(&pause.as_secs()) {
                wrong.push(Objection::new(format!("{pause:?} is not a time after which RDS pauses"), "write a time from 5m to 24h"));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fields: serde_json::Value) -> Result<Serverless, serde_json::Error> {
        serde_json::from_value(fields)
    }

    #[test]
    fn capacity_is_told_in_decimals() {
        let scaling = |fields| of(fields).unwrap().scaling();
        let expected = Scaling { least: "0.5".into(), most: "8".into(), seconds_until_pause: None };
        assert_eq!(scaling(json!({"min_capacity": 0.5, "max_capacity": 8})), expected);
        let expected = Scaling { least: "0".into(), most: "1.5".into(), seconds_until_pause: Some(600) };
        assert_eq!(scaling(json!({"min_capacity": 0, "max_capacity": 1.5, "pause_after": "10m"})), expected);
    }

    #[test]
    fn objects_to_what_rds_would_refuse() {
        for units in [-1.0, 0.3, 256.5] {
            let wrong = of(json!({"min_capacity": units, "max_capacity": 8})).unwrap_err();
            assert!(wrong.to_string().contains("is not a capacity"), "{wrong}");
        }
        for (fields, message) in [
            (json!({"min_capacity": 8, "max_capacity": 4}), "a maximum of 4 capacity units"),
            (json!({"min_capacity": 0, "max_capacity": 0.5}), "a maximum of 0.5 capacity units"),
            (json!({"min_capacity": 0.5, "max_capacity": 4, "pause_after": "10m"}), "an instance with at least 0.5"),
            (json!({"min_capacity": 0, "max_capacity": 4, "pause_after": "1m"}), "60s is not a time"),
        ] {
            let found = of(fields.clone()).unwrap().contradictions();
            assert!(found.len() == 1 && found[0].message.starts_with(message), "{fields}: {found:?}");
        }
    }
}
