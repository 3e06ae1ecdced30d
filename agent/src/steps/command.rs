//! `commands:` — a program to run.
//!
//! ```yaml
//! commands:
//!   migrate:
//!   run: [/opt/shop/bin/migrate, --to, "{{values.version}}"]   # without a shell
//!     as: shop                                # default: the user ingot runs as
//!     environment: { PGPASSWORD: "{{secrets.db.password}}" }     # only these, plus PATH, HOME, USER, LOGNAME and LANG
//!     working_directory: /opt/shop            # default: the user's home, or /
//!     once: instance                          # or boot, always, release, fleet. Default: instance
//!     run_on: [bundles.app]                   # and again if one of these or its arguments have changed
//! ```
//!
//! The effects of a program cannot be inspected, so a record is kept: one before the program starts, and one after it
//! succeeded. A program that failed or was interrupted runs again at the next boot, so it must be safe to repeat. Its
//! output goes to the journal, with secrets removed.

mod once;
mod run_on;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::run_on::Start;
use crate::address::Address;
use crate::failure::{Failure, Objection};
use crate::host::state::{Entry, EntryState as Recorded};
use crate::host::{End, HostError, Invocation, SEARCH_PATH, User};
use crate::step::fields::Excerpt;
use crate::step::{AsksAws, Context, Outputs, Progress, Shape, Step};
use crate::steps::claiming::ClaimingError;
use crate::template::TemplateError;
use crate::text::{SecretText, Text, shown_on_a_line};

const PATIENCE: Duration = Duration::from_secs(600);

/// Maximum number of lines of a program's output that go to the journal, so that endless output cannot fill it.
const OUTPUT_LINES: usize = 10_000;

/// A program to run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    /// Program and arguments, one string each, without a shell.
    #[serde(deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    run: Vec<Text>,
    /// User that runs the program: a name or ID. Default: the user that runs ingot.
    #[serde(rename = "as")]
    user: Option<String>,
    /// Environment variables in addition to PATH, HOME, USER, LOGNAME and LANG. Nothing is inherited.
    #[serde(default)]
    environment: BTreeMap<String, Text>,
    /// Directory in which the program starts. Default: the home of `as`, or `/` without `as`.
    working_directory: Option<PathBuf>,
    /// How often the program runs, and on how many instances. Default: `instance`.
    #[serde(default)]
    once: Once,
    /// Files, credentials, commands and bundles whose change makes the program run again; so does a change of its
    /// arguments, variables, user or directory. With an empty list, only the latter count. Default: according to
    /// `once`.
    run_on: Option<Vec<Address>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Once {
    /// Once in the life of the instance.
    #[default]
    Instance,
    /// Once each time the operating system starts.
    Boot,
    /// Every time ingot runs.
    Always,
    /// Once for a release, on one instance of the fleet: the others wait for it. Needs `claims:`.
    Release,
    /// Once for the environment, on one instance of the fleet: the others wait for it. Needs `claims:`.
    Fleet,
}

fn not_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Text>, D::Error> {
    let argv = Vec::<Text>::deserialize(deserializer)?;
    if argv.is_empty() {
        Err(serde::de::Error::custom(Objection::new("`run` needs at least the name of a program", "write [PROGRAM, ARGUMENT, …]")))
    } else {
        Ok(argv)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The command line with facts and values filled in; secrets remain references.
    run: String,
    user: Option<String>,
    /// Whether an earlier run was recorded as not completed.
    again: bool,
    /// What has changed since the last run, if that is why it runs.
    because: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.run)?;
        if let Some(user) = &self.user {
            write!(f, " as {user}")?;
        }
        if !self.because.is_empty() {
            return write!(f, " again because of {}", self.because.join(", "));
        }
        if self.again { f.write_str(" again, since its last run did not succeed") } else { Ok(()) }
    }
}

impl Step for Command {
    type Change = Change;
    type Error = CommandError;

    fn summary(&self, _shown: &dyn Fn(&Text) -> String) -> String {
        match self.once {
            Once::Instance => "once for this instance".into(),
            Once::Boot => "once per boot".into(),
            Once::Always => "every time".into(),
            Once::Release => "once per release, on one instance".into(),
            Once::Fleet => "once for the fleet, on one instance".into(),
        }
    }

    fn programs(&self) -> Vec<&Text> {
        self.run.first().into_iter().collect()
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        let program = self.run.first().filter(|program| program.is_plain()).map(|program| Path::new(program.raw()));
        Shape {
            watches: self.run_on.iter().flatten().collect(),
            texts: self.run.iter().chain(self.environment.values()).collect(),
            paths: program.into_iter().chain(self.working_directory.as_deref()).map(Cow::Borrowed).collect(),
            patience: PATIENCE,
            claims: self.claiming(),
            asks_aws: if self.claiming().is_some() { AsksAws::UnlessDone } else { AsksAws::Never },
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, _secret: bool) -> Vec<Objection> {
        let is_relative = self.working_directory.as_ref().is_some_and(|path| !path.is_absolute());
        let relative =
            is_relative.then(|| Objection::new("`working_directory` is not an absolute path", "write the full path, as in /opt/shop"));
        let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_control());
        let wrong = self.environment.keys().filter(|name| !is_name(name));
        wrong
            .map(|name| {
                Objection::new(
                    format!("`{}` is not the name of an environment variable", shown_on_a_line(name)),
                    "write the name alone, without `=`, and its value after the colon",
                )
            })
            .chain(relative)
            .chain(run_on::objections(self.run_on.as_deref().unwrap_or_default()))
            .chain(self.run_on.as_ref().and(self.scope()).map(|_| {
                Objection::new(
                    "`run_on` repeats it on this instance, but `once` limits it to one instance of the fleet",
                    "remove `run_on`, or write `once: instance`",
                )
            }))
            .collect()
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, CommandError> {
        let recorded = cx.world.record.get(cx.address.as_str());
        let recorded = recorded.filter(|entry| entry.state != Recorded::Done || self.is_of_now(entry, cx));
        let changed = self.inputs(cx).map(|present| run_on::changed(recorded.as_ref().and_then(|entry| entry.detail.as_deref()), &present));
        let changed = changed.unwrap_or_default();
        Ok(self.due(recorded.as_ref(), &cx.world.boot_id, changed, &|text| cx.shown(text)).into_iter().collect())
    }

    async fn apply(&self, _change: Change, cx: &Context<'_>) -> Result<(), CommandError> {
        let invocation = self.invocation(cx).await?;
        match self.scope() {
            Some(scope) => self.run_once(scope, invocation, cx).await,
            None => {
                self.run(&invocation, cx).await?;
                self.record(Recorded::Done, cx).await
            }
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, CommandError> {
        Ok(Outputs { value: serde_json::Value::Null, stamp: cx.world.record.get(cx.address.as_str()).map(|entry| entry.at) })
    }
}

impl Command {
    /// Runs the program, after recording that it has started.
    async fn run(&self, invocation: &Invocation, cx: &Context<'_>) -> Result<(), CommandError> {
        self.record(Recorded::Started, cx).await?;
        cx.waiting(format!("for {} to finish", self.run[0]));
        let mut said = Excerpt::default();
        let mut lines = 0;
        let mut on_line = |line: &str| {
            let line = cx.redact(line);
            lines += 1;
            match lines {
                ..=OUTPUT_LINES => cx.progress(Progress::Output(line.clone())),
                n if n == OUTPUT_LINES + 1 => {
                    cx.progress(Progress::Warning(format!("more than {OUTPUT_LINES} lines; the rest is discarded")))
                }
                _ => {}
            }
            said.push(line);
        };
        let run = self.run[0].to_string();
        let end = cx.host().commands.run(invocation, &mut on_line).await;
        match end.map_err(|error| CommandError::Host(error.of_program(run.clone())))? {
            End::Exited(0) => Ok(()),
            End::Exited(status) => Err(CommandError::Exited { run, status, said }),
            End::Signalled(signal) => Err(CommandError::Signalled { run, signal, said }),
            End::TimedOut => Err(CommandError::TimedOut { run, after: cx.patience, said }),
        }
    }

    /// The inputs of a run now; `None` if they do not matter.
    fn inputs(&self, cx: &Context<'_>) -> Option<String> {
        let Self { run, environment, user, working_directory, run_on, .. } = self;
        let start = Start { run, environment, user: user.as_deref(), directory: working_directory.as_deref() };
        Some(run_on::present(run_on.as_ref()?, &start, cx))
    }

    /// Whether the program has to run, according to its record.
    fn due(&self, recorded: Option<&Entry>, boot_id: &str, changed: Vec<String>, shown: &dyn Fn(&Text) -> String) -> Option<Change> {
        let done = recorded.is_some_and(|entry| match self.once {
            Once::Instance | Once::Release | Once::Fleet => entry.state == Recorded::Done,
            // Without /proc, the current boot cannot be identified.
            Once::Boot => entry.state == Recorded::Done && entry.boot_id == boot_id && !boot_id.is_empty(),
            Once::Always => false,
        });
        let words: Vec<String> = self.run.iter().map(|word| quoted(&shown(word))).collect();
        let again = recorded.is_some_and(|entry| entry.state == Recorded::Started);
        // For a first run, and for one that was interrupted, changes are not the reason.
        let because = if done { changed } else { Vec::new() };
        (!done || !because.is_empty()).then(|| Change { run: words.join(" "), user: self.user.clone(), again, because })
    }

    async fn invocation(&self, cx: &Context<'_>) -> Result<Invocation, CommandError> {
        let render = |text: &Text| cx.render(text).map_err(CommandError::Render);
        let user = match self.user.as_deref() {
            Some(name) => Some(cx.host().users.user(name).await.map_err(CommandError::Host)?),
            None => None,
        };
        let mut environment = base_environment(user.as_ref());
        for (name, text) in &self.environment {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), render(text)?));
        }
        let home = user.as_ref().map_or(Path::new("/"), |user| &user.home);
        Ok(Invocation {
            argv: self.run.iter().map(render).collect::<Result<_, _>>()?,
            environment,
            directory: self.working_directory.clone().unwrap_or_else(|| home.to_owned()),
            user,
            timeout: cx.time_left(),
            lease: None,
        })
    }

    async fn record(&self, state: Recorded, cx: &Context<'_>) -> Result<(), CommandError> {
        let detail = self.mark(cx).or_else(|| self.inputs(cx));
        let entry = Entry { state, boot_id: cx.world.boot_id.clone(), at: cx.host().clock.now().to_string(), detail };
        cx.world.record.put(cx.address.as_str(), entry).await.map_err(CommandError::Host)
    }
}

fn base_environment(user: Option<&User>) -> Vec<(String, SecretText)> {
    let (name, home) = user.map_or(("root", Path::new("/root")), |user| (&user.name, &user.home));
    let home = home.display().to_string();
    [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8"), ("USER", name), ("LOGNAME", name), ("HOME", &home)]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into()
}

/// A word for display on a line, quoted if it is empty or contains whitespace.
fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace()) { format!("{word:?}") } else { word.to_owned() }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("cannot render an argument or a variable")]
    Render(#[source] TemplateError),
    #[error("{run} exited with {status}")]
    Exited {
        run: String,
        status: i32,
        #[source]
        said: Excerpt,
    },
    #[error("{run} was killed by signal {signal}")]
    Signalled {
        run: String,
        signal: i32,
        #[source]
        said: Excerpt,
    },
    #[error("{run} did not finish within {after:?} and was stopped")]
    TimedOut {
        run: String,
        after: Duration,
        #[source]
        said: Excerpt,
    },
    #[error(transparent)]
    Claiming(ClaimingError),
    #[error(transparent)]
    Host(HostError),
}

impl Failure for CommandError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::Exited { .. } | Self::Signalled { .. } => {
                Some("run `journalctl -t ingot` for its full output; it runs again at the next boot".into())
            }
            Self::TimedOut { .. } => Some("give the command a longer `timeout:`, or run it by hand to see what it waits for".into()),
            Self::Claiming(source) => source.hint(),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Claiming(source) if source.is_unreachable())
    }

    fn is_transient(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(once: &str) -> Command {
        serde_json::from_value(serde_json::json!({"run": ["/bin/migrate", "to here"], "as": "shop", "once": once})).unwrap()
    }

    fn entry(state: Recorded, boot_id: &str) -> Entry {
        Entry { state, boot_id: boot_id.into(), at: String::new(), detail: None }
    }

    #[test]
    fn runs_as_often_as_told() {
        let rows = [
            // once, recorded entry, is it due in boot `b`?
            ("instance", None, true),
            ("instance", Some(entry(Recorded::Started, "b")), true),
            ("instance", Some(entry(Recorded::Done, "a")), false),
            ("boot", Some(entry(Recorded::Done, "a")), true),
            ("boot", Some(entry(Recorded::Done, "b")), false),
            ("boot", Some(entry(Recorded::Started, "b")), true),
            ("always", Some(entry(Recorded::Done, "b")), true),
        ];
        for (once, recorded, due) in rows {
            assert_eq!(
                command(once).due(recorded.as_ref(), "b", Vec::new(), &|text| text.raw().to_owned()).is_some(),
                due,
                "{once} {recorded:?}"
            );
        }
    }

    #[test]
    fn says_that_it_runs_again() {
        let change = command("instance").due(Some(&entry(Recorded::Started, "a")), "b", Vec::new(), &|text| text.raw().to_owned()).unwrap();
        assert_eq!(change.to_string(), r#"run /bin/migrate "to here" as shop again, since its last run did not succeed"#);
    }

    #[test]
    fn runs_again_for_what_has_changed() {
        let due = |state| command("instance").due(Some(&entry(state, "b")), "b", vec!["files./a".into()], &|text| text.raw().to_owned());
        assert_eq!(due(Recorded::Done).unwrap().to_string(), r#"run /bin/migrate "to here" as shop again because of files./a"#);
        assert!(due(Recorded::Started).unwrap().to_string().ends_with("since its last run did not succeed"));
    }

    #[test]
    fn refuses_an_empty_command() {
        assert!(serde_json::from_value::<Command>(serde_json::json!({"run": []})).is_err());
    }
}
