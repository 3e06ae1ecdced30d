//! `ingot get-config`: replaces `/opt/elasticbeanstalk/bin/get-config` for applications that
//! are compatible with Elastic Beanstalk.
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/custom-platforms-scripts.html>

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::cli::output::{data, talk};
use crate::exit::Exit;
use crate::host::Files as _;
use crate::host::files::DiskFiles;
use crate::json::of_bytes;
use crate::sorting::Sort as _;

const VARIABLES: &str = "aws:elasticbeanstalk:application:environment";

const LIMIT: u64 = 16 << 20;

/// Print the configuration of an application as Elastic Beanstalk's get-config does
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File that ingot keeps for the application
    #[arg(long)]
    from: PathBuf,
    /// environment, optionsettings, container, addons or platformconfig
    what: String,
    /// Print the value of one key
    #[arg(short, long)]
    key: Option<String>,
    /// Namespace of option settings
    #[arg(short, long)]
    namespace: Option<String>,
    /// Option of a namespace
    #[arg(short, long)]
    option_name: Option<String>,
    /// JSON or YAML
    #[arg(long, default_value = "JSON")]
    output: String,
}

pub(crate) async fn run(args: Args) -> Exit {
    let at = args.from.display();
    let read = match DiskFiles::new(None).read(&args.from, LIMIT).await {
        Ok(Some(content)) => of_bytes(&content).map_err(|_| format!("{at} was not written by ingot")),
        Ok(None) => Err(format!("{at} does not exist\n  hint: wait for ingot.service, or run `ingot boot`")),
        Err(error) => Err(format!("{error}\n  hint: run this command as root: the output contains secrets")),
    };
    match read.and_then(|known| args.answer(known)) {
        Ok(text) => {
            data(&text);
            Exit::Done
        }
        Err(why) => {
            talk(&why);
            Exit::Failed
        }
    }
}

impl Args {
    /// The text to print. `known` is what ingot keeps for the application.
    fn answer(&self, mut known: Map<String, Value>) -> Result<String, String> {
        let variables = known.get("environment").cloned().unwrap_or_default();
        if let Some(Value::Object(settings)) = known.get_mut("optionsettings") {
            settings.insert(VARIABLES.to_owned(), variables);
        }
        let mut value = known.remove(&self.what).ok_or_else(|| {
            let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
            names.order();
            format!("`{}` cannot be printed\n  hint: ask for one of {}", self.what, names.join(", "))
        })?;
        for part in [&self.namespace, &self.option_name, &self.key].into_iter().flatten() {
            value = value.get_mut(part).map(Value::take).ok_or_else(|| format!("`{}` has no `{part}`", self.what))?;
        }
        Ok(match &value {
            Value::String(text) => text.clone(),
            map if self.output.eq_ignore_ascii_case("yaml") => yaml(map, 0),
            map => map.to_string(),
        })
    }
}

/// JSON is valid YAML, so a value's JSON text is quoted correctly whatever it contains.
fn yaml(value: &Value, depth: usize) -> String {
    let Value::Object(map) = value else { return value.to_string() };
    let lines = map.iter().map(|(name, value)| {
        let deeper = value.as_object().is_some_and(|map| !map.is_empty());
        let value = if deeper { format!("\n{}", yaml(value, depth + 1)) } else { format!(" {value}") };
        format!("{}{}:{value}", "  ".repeat(depth), Value::String(name.clone()))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn answer(asked: &str) -> Result<String, String> {
        let known = r#"{"environment":{"A":"it's \"x\"\ny $B","C":"2"},"platformconfig":{"AppUser":"webapp"},"optionsettings":{}}"#;
        let words = ["get-config", "--from", "/x"].into_iter().chain(asked.split(' '));
        Alone::try_parse_from(words).map_err(|error| error.to_string())?.args.answer(serde_json::from_str(known).unwrap())
    }

    #[test]
    fn answers_as_scripts_ask() {
        assert_eq!(answer("environment -k A").unwrap(), "it's \"x\"\ny $B");
        assert_eq!(answer("environment").unwrap(), r#"{"A":"it's \"x\"\ny $B","C":"2"}"#);
        assert_eq!(answer("environment --output YAML").unwrap(), "\"A\": \"it's \\\"x\\\"\\ny $B\"\n\"C\": \"2\"");
        assert_eq!(answer(&format!("optionsettings -n {VARIABLES} -o C")).unwrap(), "2");
        assert_eq!(answer(&format!("optionsettings --namespace {VARIABLES} --option-name C")).unwrap(), "2");
        assert_eq!(answer("platformconfig --key AppUser").unwrap(), "webapp");
        let nested = "\"aws:elasticbeanstalk:application:environment\":\n  \"A\": \"it's \\\"x\\\"\\ny $B\"\n  \"C\": \"2\"";
        assert_eq!(answer("optionsettings --output yaml").unwrap(), nested);
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(answer("environment -k D").unwrap_err(), "`environment` has no `D`");
        assert!(answer("nothing").unwrap_err().contains("hint: ask for one of environment, optionsettings, platformconfig"));
    }
}
