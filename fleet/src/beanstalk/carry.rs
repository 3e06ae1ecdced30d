//! From option settings to an environment: what fleet.yaml has a setting for.

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

/// Names that Elastic Beanstalk does not have, or not as they have to be here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) application: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) releases: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Of fleet.yaml.
    pub(crate) text: String,
    /// Each option that it carries, and the setting that it became, in the order of settings.
    pub(crate) carried: Vec<(Setting, String)>,
    pub(crate) left: Vec<Left>,
    /// How many options have the value that Elastic Beanstalk gives them by itself, and need no word.
    pub(crate) defaults: usize,
    /// What the user has to know besides.
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

/// Names of applications and environments where nobody says one.
const APPLICATION: &str = "app";
const ENVIRONMENT: &str = "prod";

/// Carries over what `described` says: of one option in several files, the last one counts.
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
    carry.alarms();
    carry.notes.push("write a boot document, which runs the application, and name it in `document:`".into());
    if let Some(platform) = platform {
        carry.notes.push(format!("bake an image with what the platform has, and name it in `image:`: {platform}"));
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

    /// The setting of an option, by its value as it was found.
    fn carry(&mut self, setting: Setting, path: &str, value: Value) {
        self.draft.set(path, value);
        self.carried.push((setting, path.to_owned()));
    }

    fn leave(&mut self, setting: &Setting, advice: impl Into<String>) {
        self.left.push(Left::because(setting, advice));
    }

    /// Carries an option over as what `value` makes of it. Where that is nothing, it is left, with advice.
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
        // A plus stands for the name of a group of environments.
        let Some(found) = found.map(|found| found.trim_end_matches('+').to_owned()).filter(|found| !found.is_empty()) else {
            self.notes.push(format!("no file names the {what}: it is called `{otherwise}`; name it with --{what}"));
            return otherwise.to_owned();
        };
        let fitting = fitting(&found).unwrap_or_else(|| otherwise.to_owned());
        if fitting != found {
            self.notes.push(format!("the {what} `{found}` is called `{fitting}`: names have lower-case letters, digits and hyphens"));
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

/// A name as stacks and target groups have it, at most 16 characters so that two of them fit.
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

/// A whole number between two.
fn whole(text: &str, least: u64, most: u64) -> Option<Value> {
    let number: u64 = text.trim().parse().ok()?;
    (least..=most).contains(&number).then(|| Value::Number(number.to_string()))
}

/// So many seconds, as people write them.
fn seconds(text: &str, least: u64, most: u64) -> Option<Value> {
    let seconds: u64 = text.trim().parse().ok()?;
    (least..=most).contains(&seconds).then(|| string(Length::seconds(seconds).to_string()))
}

/// `true` or `false`, in any case.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// What stands between commas.
fn items(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Whether a value is computed by CloudFormation: `{ "Ref": "…" }` between backticks.
fn is_computed(text: &str) -> bool {
    text.trim().starts_with('`')
}
