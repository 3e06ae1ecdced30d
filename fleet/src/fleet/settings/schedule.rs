//! `schedule:` — times at which the minimum number of instances changes.

use ingot::desk::check_cron;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::site::{Site, Tier};
use crate::fleet::words::Whole;

/// Number of schedules that the template supports.
const MOST: usize = 2;

/// A time at which `min` changes.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    /// When, as five cron fields in UTC: `0 22 * * *`.
    pub(crate) cron: String,
    /// Minimum number of instances from then on.
    pub(crate) min: Whole<0, 1000>,
}

pub(super) fn check(schedule: &[Schedule], max: u32, site: &mut Site<'_>) {
    if schedule.len() > MOST {
        let message = format!("{} schedules are listed, but an environment takes at most {MOST}", schedule.len());
        site.wrong(&format!("schedule.{MOST}"), message, format!("keep {MOST} of them"));
    }
    for (at, Schedule { cron, min }) in schedule.iter().enumerate() {
        let path = format!("schedule.{at}.cron");
        if cron.trim_start().starts_with('@') {
            site.wrong(&path, format!("Auto Scaling does not support `{cron}`"), "write five fields, such as `0 22 * * *`");
        } else if let Err(objection) = check_cron(cron) {
            site.object(&path, objection);
        }
        let path = format!("schedule.{at}.min");
        if min.0 > max && !site.is_broken("instances.max") {
            let message = format!("{} is more than `max`, which is {max}", min.0);
            site.wrong(&path, message, format!("write {max} or less, or raise `max`"));
        }
        if min.0 == 0 && site.tier == Tier::Web {
            site.wrong(&path, "a web environment without instances cannot serve requests", "write 1 or more");
        }
    }
}
