//! Instances: types, number, scaling and schedule.

use std::collections::BTreeMap;

use ingot::desk::{Node, Value};

use super::super::draft::{list, map};
use super::super::options::Setting;
use super::super::rest::Left;
use super::{Carry, boolean, items, string, whole};
use crate::fleet::{Mode, Tier, has_form};

const GROUP: &str = "aws:autoscaling:asg";
const LAUNCH: &str = "aws:autoscaling:launchconfiguration";
const EC2: &str = "aws:ec2:instances";
const TRIGGER: &str = "aws:autoscaling:trigger";
const ACTION: &str = "aws:autoscaling:scheduledaction";

/// Maximum number of instance types and of schedules in an environment.
const MOST_TYPES: usize = 2;
const MOST_SCHEDULES: usize = 2;

impl Carry {
    pub(super) fn instances(&mut self) {
        self.types();
        if self.mode == Mode::HighlyAvailable {
            let least = if self.tier == Tier::Worker { 0 } else { 1 };
            for (name, field, otherwise) in [("MinSize", "instances.min", "1"), ("MaxSize", "instances.max", "4")] {
                let least = if field == "instances.max" { 1 } else { least };
                self.take((GROUP, name), field, |text| whole(text, least, 1000), &format!("write {least} to 1000 in `{field}`"));
                if !self.draft.has(field) {
                    self.draft.set(field, Value::Number(otherwise.into()));
                }
            }
            self.scale_on();
        } else {
            for name in ["MinSize", "MaxSize"] {
                drop(self.options.take(GROUP, name));
            }
            drop(self.options.take_all(TRIGGER));
        }
        self.spot();
        let advice = "write the size in GiB in `instances.root_volume_gib`";
        self.take((LAUNCH, "RootVolumeSize"), "instances.root_volume_gib", |text| whole(text, 1, 16384), advice);
    }

    fn types(&mut self) {
        let obsolete = self.options.take(LAUNCH, "InstanceType");
        let setting = self.options.take(EC2, "InstanceTypes").or(obsolete);
        let Some(setting) = setting else { return };
        let types = items(&setting.value);
        if !types.iter().all(|name| has_form(name, "[a-z0-9-]+\\.[a-z0-9-]+")) {
            return self.leave(&setting, "write instance types in `instances.types`");
        }
        if types.len() > MOST_TYPES {
            let rest = types[MOST_TYPES..].join(", ");
            self.notes.push(format!("`instances.types` takes the first {MOST_TYPES} types of the list; these are left out: {rest}"));
        }
        let first: Vec<String> = types.iter().take(MOST_TYPES).map(|name| (*name).to_owned()).collect();
        self.carry(setting, "instances.types", list(first));
    }

    /// Elastic Beanstalk sets the On-Demand share above the base: 70% by default, 0% for a single instance.
    fn spot(&mut self) {
        let share = self.options.take(EC2, "SpotFleetOnDemandAboveBasePercentage");
        let Some(enabled) = self.options.take(EC2, "EnableSpot").filter(|setting| boolean(&setting.value) == Some(true)) else { return };
        let otherwise = if self.mode == Mode::SingleInstance { 0 } else { 70 };
        let on_demand = share.map_or(Some(otherwise), |share| share.value.trim().parse::<u64>().ok()).filter(|share| *share <= 100);
        match on_demand {
            Some(share) => self.carry(enabled, "instances.spot", string(format!("{}%", 100 - share))),
            None => self.leave(&enabled, "write the share of Spot Instances in `instances.spot`, such as 30%"),
        }
    }

    /// Converts a trigger on CPU to a target midway between its thresholds. Other triggers have no equivalent.
    fn scale_on(&mut self) {
        let trigger: Vec<Setting> = self.options.take_all(TRIGGER);
        if trigger.is_empty() {
            return;
        }
        let of_name = |name: &str| trigger.iter().find(|setting| setting.name == name);
        let threshold = |name: &str| of_name(name).and_then(|setting| setting.value.trim().parse::<f64>().ok());
        let target = match (threshold("LowerThreshold"), threshold("UpperThreshold")) {
            (Some(lower), Some(upper)) if (0.0..=upper).contains(&lower) && upper <= 100.0 => Some(f64::midpoint(lower, upper).round()),
            _ => None,
        };
        let of_cpu = of_name("MeasureName").filter(|measure| measure.value == "CPUUtilization").cloned();
        if let Some((target, measure)) = target.filter(|target| *target >= 1.0).zip(of_cpu) {
            self.notes.push(format!(
                "`cpu_percent` is {target}, midway between the previous thresholds: scaling holds a target instead of reacting to thresholds"
            ));
            return self.carry(measure, "instances.scale_on.cpu_percent", Value::Number(format!("{target}")));
        }
        let said = trigger.iter().map(|one| format!("{} {}", one.name, one.value)).collect::<Vec<_>>().join(", ");
        self.notes.push(format!("choose `instances.scale_on`, since the previous trigger has no equivalent: {said}"));
    }

    pub(super) fn schedule(&mut self) {
        let mut actions: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
        for setting in self.options.take_all(ACTION) {
            actions.entry(setting.resource.clone()).or_default().push(setting);
        }
        let mut schedule: Vec<Node> = Vec::new();
        for settings in actions.into_values() {
            let of_name = |name: &str| settings.iter().find(|setting| setting.name == name);
            let when = of_name("Recurrence").filter(|when| when.value.split_whitespace().count() == 5);
            let least = of_name("MinSize").and_then(|min| whole(&min.value, u64::from(self.tier == Tier::Web), 1000));
            let is_suspended = of_name("Suspend").is_some_and(|suspend| boolean(&suspend.value) == Some(true));
            let has_room = schedule.len() < MOST_SCHEDULES && self.mode == Mode::HighlyAvailable && !is_suspended;
            let is_carried = |name: &str| matches!(name, "Recurrence" | "MinSize");
            let carried = when.zip(least).filter(|_| has_room);
            if let Some((when, min)) = &carried {
                schedule.push(map([("cron", string(when.value.clone())), ("min", min.clone())]));
            }
            for setting in settings.iter().filter(|setting| setting.name != "Suspend" || is_suspended) {
                match carried.is_some() && is_carried(&setting.name) {
                    true => self.carried.push((setting.clone(), "schedule".into())),
                    false => self.left.extend(Left::option(setting)),
                }
            }
        }
        if !schedule.is_empty() {
            self.draft.set("schedule", Value::Sequence(schedule));
        }
    }
}
