//! The alarms of a deployment: checked before it begins, and watched by CloudFormation while it runs.

use ingot::desk::{DocumentError, Mistake, nearest};

use super::operator::Operator;
use super::output::talk;
use crate::aws::alarms::{Alarm, Alarms};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Environment;

/// The alarms that fleet.yaml names.
pub(super) fn all(environment: &Environment) -> Vec<&str> {
    environment.settings.deployment.alarms.iter().map(|name| name.as_str()).collect()
}

/// The same without those that the command line ignores, in the order of fleet.yaml.
pub(super) fn counting<'a>(environment: &'a Environment, despite: &[String]) -> Result<Vec<&'a str>, Failure> {
    let all = all(environment);
    if let Some(unknown) = despite.iter().find(|name| !all.contains(&name.as_str())) {
        let hint = match nearest(unknown, all.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if all.is_empty() => "remove --despite: `deployment.alarms` is empty".to_owned(),
            None => format!("name one of `deployment.alarms`: {}", all.join(", ")),
        };
        let message = format!("`--despite {unknown}`: `deployment.alarms` of {} has no alarm of that name", environment.key.name);
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    Ok(all.into_iter().filter(|name| !despite.iter().any(|left_out| left_out == name)).collect())
}

/// Describes the raised alarms that the command line ignores.
pub(super) fn left_out(despite: &[String], found: &Alarms) -> Vec<String> {
    let raised = despite.iter().filter_map(|name| Some((name, found.get(name.as_str()).filter(|alarm| alarm.is_raised())?)));
    raised.map(|(name, alarm)| format!("{}; it is ignored because of --despite", told(name, alarm))).collect()
}

/// Refuses a deployment if one of these alarms does not exist, or is raised.
pub(super) fn judge(operator: &Operator, names: &[&str], found: &Alarms) -> Result<(), Failure> {
    let missing: Vec<Mistake> = missing(operator.environment(), names, found, &operator.aws.region);
    if !missing.is_empty() {
        talk(&DocumentError::new(missing, operator.sources()).to_string());
        return Err(Failure::told(Exit::Document));
    }
    raised(operator.name(), names, found).map_or(Ok(()), Err)
}

/// A mistake for each alarm that does not exist, since CloudFormation would refuse the update.
fn missing(environment: &Environment, names: &[&str], found: &Alarms, region: &str) -> Vec<Mistake> {
    let of_file = &environment.settings.deployment.alarms;
    let absent = names.iter().filter(|name| !found.contains_key(**name));
    let mistake = |name: &&str| {
        let at = of_file.iter().position(|alarm| alarm.as_str() == *name).unwrap_or_default();
        let place = environment.value_place(&format!("deployment.alarms.{at}"));
        Mistake::at(place, format!("there is no alarm `{name}` in {region}"), "correct the name, create the alarm, or remove it")
    };
    absent.map(mistake).collect()
}

/// Refuses a deployment while alarms are raised.
pub(super) fn raised(name: &str, names: &[&str], found: &Alarms) -> Option<Failure> {
    let raised: Vec<(&str, &Alarm)> =
        names.iter().filter_map(|name| Some((*name, found.get(*name).filter(|alarm| alarm.is_raised())?))).collect();
    let (first, _) = raised.first()?;
    let told = raised.iter().map(|(name, alarm)| told(name, alarm));
    let despite: Vec<String> = raised.iter().map(|(name, _)| format!("--despite {}", quoted(name))).collect();
    let failure = Failure::new(Exit::Failed, format!("cannot deploy {name} while an alarm is raised"));
    Some(failure.why(told.collect::<Vec<_>>().join("; ")).hint(format!(
        "see with `aws cloudwatch describe-alarm-history --alarm-name ALARM` why {} raised, or deploy with {}; `ingot-fleet rollback {name}` ignores alarms",
        if raised.len() == 1 { format!("{first} is") } else { "they are".to_owned() },
        despite.join(" ")
    )))
}

fn told(name: &str, alarm: &Alarm) -> String {
    match &alarm.why {
        Some(why) => format!("{name} is in ALARM: {why}"),
        None => format!("{name} is in ALARM"),
    }
}

/// Quotes a name for a shell.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&byte));
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet;

    fn found(states: &[(&str, &str)]) -> Alarms {
        let alarm = |state: &str| Alarm { state: state.into(), why: (state == "ALARM").then(|| "7 > 5".into()), is_composite: false };
        states.iter().map(|(name, state)| ((*name).to_owned(), alarm(state))).collect()
    }

    fn fleet() -> fleet::Read {
        let text = "version: 1\napplication: shop\nreleases: s3://shop-releases/\nenvironments:\n  prod:\n    tier: web\n    \
                    deployment: { alarms: [shop 5xx, queue-age] }\n";
        fleet::read("fleet.yaml", text)
    }

    #[test]
    fn a_raised_alarm_is_named_with_a_way_to_ignore_it() {
        let names = ["shop 5xx", "queue-age"];
        assert!(raised("prod", &names, &found(&[("shop 5xx", "OK"), ("queue-age", "INSUFFICIENT_DATA")])).is_none());
        let failure = raised("prod", &names, &found(&[("shop 5xx", "ALARM"), ("queue-age", "ALARM")])).unwrap();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.to_string(),
            "cannot deploy prod while an alarm is raised: shop 5xx is in ALARM: 7 > 5; queue-age is in ALARM: 7 > 5\n  \
              hint: see with `aws cloudwatch describe-alarm-history --alarm-name ALARM` why they are raised, or deploy with --despite 'shop 5xx' --despite queue-age; \
             `ingot-fleet rollback prod` ignores alarms"
        );
    }

    #[test]
    fn an_ignored_alarm_is_reported() {
        let found = found(&[("shop 5xx", "ALARM"), ("queue-age", "ALARM")]);
        assert_eq!(left_out(&["shop 5xx".to_owned()], &found), ["shop 5xx is in ALARM: 7 > 5; it is ignored because of --despite"]);
        assert!(left_out(&[], &found).is_empty());
    }

    #[test]
    fn a_missing_alarm_is_a_mistake_at_its_place() {
        let read = fleet();
        let mistakes = missing(&read.fleet.environments[0], &["queue-age"], &found(&[]), "eu-central-1");
        let place = mistakes[0].place.as_ref().unwrap();
        assert_eq!((place.line, place.column, mistakes[0].message.as_str()), (7, 38, "there is no alarm `queue-age` in eu-central-1"));
    }

    #[test]
    fn the_command_line_leaves_out_what_fleet_yaml_names() {
        let read = fleet();
        let environment = &read.fleet.environments[0];
        let of = |despite: &[&str]| counting(environment, &despite.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]).unwrap(), ["shop 5xx", "queue-age"]);
        assert_eq!(of(&["shop 5xx"]).unwrap(), ["queue-age"]);
        let failure = of(&["queue-ag"]).unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.to_string().contains("did you mean `queue-age`?"), "{failure}");
    }
}
