//! `health:` — thresholds at which `status` rates an environment as unhealthy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::{Length, Percent};
use crate::fleet::site::Site;
use crate::story::Limits;

/// Default shares of instances that should serve but do not.
const SHARES: [(&str, u32); 3] = [("warning", 1), ("degraded", 50), ("severe", 75)];

/// Default duration after which a deployment is slow.
const SLOW: Length = Length::hours(1);

/// Thresholds of the health of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Health {
    /// Share of instances not serving at which the environment is in state Warning. Default: 1%.
    pub(crate) warning: Option<Percent>,
    /// Share at which the environment is Degraded. Default: 50%.
    pub(crate) degraded: Option<Percent>,
    /// Share at which the environment is Severe. Default: 75%.
    pub(crate) severe: Option<Percent>,
    /// How long a deployment may take before the state is Warning, 1m to 24h. Default: 1h.
    pub(crate) slow_after: Option<Length>,
}

impl Health {
    fn shares(&self) -> [(&'static str, Percent); 3] {
        let said = [self.warning, self.degraded, self.severe];
        let mut shares = SHARES.map(|(name, share)| (name, Percent(share)));
        shares.iter_mut().zip(said).for_each(|(share, said)| share.1 = said.unwrap_or(share.1));
        shares
    }

    /// Returns the effective thresholds.
    pub(crate) fn limits(&self) -> Limits {
        let [(_, warning), (_, degraded), (_, severe)] = self.shares();
        let slow_after = self.slow_after.unwrap_or(SLOW);
        Limits { warning: warning.0, degraded: degraded.0, severe: severe.0, slow_after: slow_after.0 }
    }

    pub(super) fn check(&self, site: &mut Site<'_>) {
        let why = "a deployment takes from a minute to a day";
        site.within("health.slow_after", self.slow_after, Length::minutes(1), Length::hours(24), why);
        let shares = self.shares();
        for (name, share) in shares.iter().filter(|(_, share)| share.0 == 0) {
            site.wrong(&format!("health.{name}"), format!("every environment reaches {share}"), "write 1% or more");
        }
        if !site.is_readable(&["health.warning", "health.degraded", "health.severe"]) {
            return;
        }
        for pair in shares.windows(2) {
            let [(low, below), (high, above)] = [pair[0], pair[1]];
            if below.0 > above.0 {
                let message = format!("`{low}` is {below}, more than `{high}`, which is {above}");
                let path = if self.said(low) { low } else { high };
                site.wrong(&format!("health.{path}"), message, format!("lower `{low}`, or set `{high}` to {below} or more"));
            }
        }
    }

    /// Returns whether fleet.yaml sets this threshold.
    fn said(&self, name: &str) -> bool {
        match name {
            "warning" => self.warning.is_some(),
            "degraded" => self.degraded.is_some(),
            _ => self.severe.is_some(),
        }
    }

    pub(super) fn complete(&mut self) {
        let [(_, warning), (_, degraded), (_, severe)] = self.shares();
        *self = Self {
            warning: Some(warning),
            degraded: Some(degraded),
            severe: Some(severe),
            slow_after: Some(self.slow_after.unwrap_or(SLOW)),
        };
    }
}
