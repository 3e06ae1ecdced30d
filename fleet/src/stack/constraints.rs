//! What a template requires of its parameters: patterns, bounds and rules, checked as CloudFormation would.

use serde_json::{Map, Value as Json};

use crate::fleet::{Site, has_form};
use crate::stack::functions::Chosen;
use crate::stack::parameters::Parameter;
use crate::stack::template::{Template, text};

/// The longest value of a parameter, in bytes.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const LONGEST_VALUE: usize = 4096;

/// Adds a mistake for each parameter that CloudFormation would refuse, alone or in combination.
pub(super) fn check(template: &Template, parameters: &[Parameter], chosen: &Chosen<'_>, site: &mut Site<'_>) {
    for parameter in parameters {
        let value = parameter.given.stand_in();
        if let Some((message, hint)) = template.parameter(parameter.name).and_then(|wanted| refused(parameter.name, wanted, value)) {
            site.wrong(parameter.from, message, hint);
        }
    }
    for rule in template.section("Rules").as_object().into_iter().flat_map(Map::values) {
        if !chosen.decides(&rule["RuleCondition"]) {
            continue;
        }
        for assertion in rule["Assertions"].as_array().into_iter().flatten().filter(|one| !chosen.decides(&one["Assert"])) {
            let says = assertion["AssertDescription"].as_str().unwrap_or_default();
            site.wrong_key("", format!("the template refuses this environment: {says}"), "change the settings that this names");
        }
    }
}

/// Why CloudFormation would refuse a value, and what to do.
fn refused(name: &str, wanted: &Json, value: &str) -> Option<(String, String)> {
    if value.len() > LONGEST_VALUE {
        let message = format!("the parameter {name} is {} bytes long, but CloudFormation accepts at most {LONGEST_VALUE}", value.len());
        return Some((message, "use fewer names: a name that ends with `*` stands for many".into()));
    }
    let number = value.parse::<f64>().ok();
    let says = wanted["ConstraintDescription"].as_str().unwrap_or("must be another value");
    let each: Vec<&str> = if wanted["Type"] == "CommaDelimitedList" { value.split(',').collect() } else { vec![value] };
    if let Some(pattern) = wanted["AllowedPattern"].as_str()
        && let Some(wrong) = each.into_iter().find(|one| !has_form(one, pattern))
    {
        return Some((format!("the template does not accept `{wrong}` as {name}"), format!("correct it: it {says}")));
    }
    if let Some(allowed) = wanted["AllowedValues"].as_array()
        && !allowed.iter().any(|one| text(one) == value)
    {
        let allowed: Vec<String> = allowed.iter().map(text).collect();
        return Some((format!("the template does not accept `{value}` as {name}"), format!("write one of {}", allowed.join(", "))));
    }
    let (low, high) = (wanted["MinValue"].as_f64(), wanted["MaxValue"].as_f64());
    let is_low = low.zip(number).is_some_and(|(low, number)| number < low);
    let is_high = high.zip(number).is_some_and(|(high, number)| number > high);
    if is_low || is_high {
        let bounds = [low.map(|low| format!("{low} or more")), high.map(|high| format!("{high} or less"))];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        return Some((format!("the template does not accept {value} as {name}"), format!("write {}", bounds.join(" and "))));
    }
    None
}
