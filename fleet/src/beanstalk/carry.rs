//! Converts option settings to an environment, as far as fleet.yaml has equivalent settings.

mod data;
mod deployment;
mod instances;
mod properties;
mod traffic;

use ingot::desk::Value;

use super::draft::Draft;
use super::options::{Options, Setting};
use super::reading::Described;
use super::rest::Left;
use crate::fleet::{Length, Mode, Tier};

/// Names given by the user, where Elastic Beanstalk has none or an invalid one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) application: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) releases: Option<String>,
}

/// Result of an import.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Text of the fleet.yaml.
    pub(crate) text: String,
    /// Each converted option and the setting it became, in order of conversion.
    pub(crate) carried: Vec<(Setting, String)>,
    pub(crate) left: Vec<Left>,
    /// Number of options that have Elastic Beanstalk's default value and need no mention.
    pub(crate) defaults: usize,
    /// What else the user must know or do.
    pub(crate) notes: Vec<String>,
}

/// An environment in the making.
#[derive(Debug)]
struct Carry {
    options: Options,
    draft: Draft,
    carried: Vec<(Setting, String)>,
    left: Vec<Left>,
    notes: Vec<String>,
    tier: Tier,
    mode: Mode,
}

/// Default names of application and environment.
const APPLICATION: &str = "app";
const ENVIRONMENT: &str = "prod";

/// Converts `described`. If several files set the same option, the last one wins.
pub(crate) fn import(described: Vec<Described>, named: Named) -> Imported {
    let mut options = Options::default();
    let mut left = Vec::new();
    let (mut application, mut environment, mut tier, mut platform) = (None, None, None, None);
    for one in described {
        one.settings.into_iter().for_each(|setting| options.add(setting));
        left.extend(one.left);
        application = one.application.or(application);
        environment = one.environment.or(environment);
        tier = one.tier.or(tier);
        platform = one.platform.or(platform);
    }
    let tier = match tier.as_deref() {
        Some("Worker") => Tier::Worker,
        None if options.has("aws:elasticbeanstalk:sqsd") => Tier::Worker,
        _ => Tier::Web,
    };
    let mut carry = Carry { options, draft: Draft::new(), carried: Vec::new(), left, notes: Vec::new(), tier, mode: Mode::HighlyAvailable };
    carry.kind();
    carry.network();
    carry.properties();
    carry.load_balancer();
    carry.instances();
    carry.schedule();
    carry.queue();
    carry.database();
    carry.deployment();
    carry.refresh();
    carry.alarms();
    carry.notes.push("write a boot document that runs the application, and name it in `document:`".into());
    if let Some(platform) = platform {
        carry.notes.push(format!("bake an image with the contents of the platform, and name it in `image:`; the platform is {platform}"));
    }
    let application = carry.name("application", named.application, application, APPLICATION);
    let environment = carry.name("environment", named.environment, environment, ENVIRONMENT);
    let releases = named.releases.unwrap_or_else(|| {
        carry.notes.push("write your bucket for releases in `releases:`, or name it with --releases".into());
        format!("s3://{application}-releases/")
    });
    carry.end(&application, &releases, &environment)
}

impl Carry {
    fn kind(&mut self) {
        let word = if self.tier == Tier::Worker { "worker" } else { "web" };
        self.draft.set("tier", string(word));
        if let Some(kind) = self.options.take("aws:elasticbeanstalk:environment", "EnvironmentType") {
            match kind.value.as_str() {
                "SingleInstance" => {
                    self.mode = Mode::SingleInstance;
                    self.carry(kind, "mode", string("single_instance"));
                }
                "LoadBalanced" => self.carry(kind, "mode", string("highly_available")),
                _ => self.leave(&kind, "write `mode: highly_available` or `mode: single_instance`"),
            }
        }
    }

    /// Sets `path` and records that `setting` became it.
    fn carry(&mut self, setting: Setting, path: &str, value: Value) {
        self.draft.set(path, value);
        self.carried.push((setting, path.to_owned()));
    }

    fn leave(&mut self, setting: &Setting, advice: impl Into<String>) {
        self.left.push(Left::because(setting, advice));
    }

    /// Converts an option with `value`. If that returns `None`, the option is left, with advice.
    fn take(&mut self, (namespace, name): (&str, &str), path: &str, value: impl Fn(&str) -> Option<Value>, advice: &str) {
        let Some(setting) = self.options.take(namespace, name) else { return };
        match value(&setting.value) {
            Some(value) => self.carry(setting, path, value),
            None => self.leave(&setting, advice),
        }
    }

    fn is_balanced(&self) -> bool {
        self.tier == Tier::Web && self.mode == Mode::HighlyAvailable
    }

    fn name(&mut self, what: &str, said: Option<String>, found: Option<String>, otherwise: &str) -> String {
        if let Some(said) = said {
            return said;
        }
        // A trailing plus marks the name of a group of environments.
        let Some(found) = found.map(|found| found.trim_end_matches('+').to_owned()).filter(|found| !found.is_empty()) else {
            self.notes.push(format!("no file names the {what}: `{otherwise}` is used; choose its name with --{what}"));
            return otherwise.to_owned();
        };
        let fitting = fitting(&found).unwrap_or_else(|| otherwise.to_owned());
        if fitting != found {
            self.notes
                .push(format!("the {what} `{found}` is renamed to `{fitting}`: names consist of lower-case letters, digits and hyphens"));
        }
        fitting
    }

    fn end(self, application: &str, releases: &str, environment: &str) -> Imported {
        let Self { options, draft, carried, mut left, notes, .. } = self;
        let mut defaults = 0;
        for setting in options.into_rest() {
            match Left::option(&setting) {
                Some(one) => left.push(one),
                None => defaults += 1,
            }
        }
        left.sort_by(|a, b| (&a.place.file, a.place.line, &a.what).cmp(&(&b.place.file, b.place.line, &b.what)));
        Imported { text: draft.text(application, releases, environment), carried, left, defaults, notes }
    }
}

/// Converts a name to one valid for stacks and target groups, of at most 16 characters so that two of them fit.
fn fitting(name: &str) -> Option<String> {
    let letters = name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let letters = letters.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short: String = letters.chars().take(16).collect();
    let whole = short.trim_end_matches('-').to_owned();
    Some(whole).filter(|name| !name.is_empty())
}

fn string(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

/// Parses a whole number between `least` and `most`.
fn whole(text: &str, least: u64, most: u64) -> Option<Value> {
    let number: u64 = text.trim().parse().ok()?;
    (least..=most).contains(&number).then(|| Value::Number(number.to_string()))
}

/// Parses a number of seconds and writes it with a unit.
fn seconds(text: &str, least: u64, most: u64) -> Option<Value> {
    let seconds: u64 = text.trim().parse().ok()?;
    (least..=most).contains(&seconds).then(|| string(Length::seconds(seconds).to_string()))
}

/// Parses `true` or `false`, in upper or lower case.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Splits a comma-separated list.
fn items(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Returns whether CloudFormation computes the value: `{ "Ref": "…" }` in backticks.
fn is_computed(text: &str) -> bool {
    text.trim().starts_with('`')
}
