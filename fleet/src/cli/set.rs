//! `ingot-fleet set`: changes properties of an environment, in fleet.yaml and in what runs.

use std::path::Path;

use ingot::desk::Objection;

use super::carry::carry_out;
use super::deploy::Manner;
use super::edit::{self, Edit};
use super::errand::Asked;
use super::input;
use super::operator::Operator;
use super::patience::Patience;
use super::settle::still_under_way;
use crate::deployment::history::Role;
use crate::deployment::record::{Kind, Record};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{self, Changes};

/// Set or remove properties of an environment: in fleet.yaml, and by deploying the current release again
///
/// Changes `properties` of the environment in fleet.yaml, keeping its comments and layout, and deploys the current
/// release and image. Any other change to fleet.yaml since the last deployment is deployed as well; the question names
/// it. If the deployment fails, the command that detects the failure restores the previous fleet.yaml. Needs the
/// permissions of the policies Reader and Deployer of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Property and its value. KEY= removes the property; to set an empty value, write `KEY: ""` in fleet.yaml
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = pair)]
    properties: Vec<(String, Option<String>)>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    patience: Patience,
}

fn pair(text: &str) -> Result<(String, Option<String>), String> {
    let Some((name, value)) = text.split_once('=') else { return Err("expected KEY=VALUE, or KEY= to remove it".to_owned()) };
    if !fleet::has_form(name, "[A-Za-z_][A-Za-z0-9_]*") {
        return Err(format!(
            "`{name}` is not the name of an environment variable: use only letters, digits and _, and begin with no digit"
        ));
    }
    Ok((name.to_owned(), Some(value.to_owned()).filter(|value| !value.is_empty())))
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    refuse_secrets(&args.properties)?;
    let read = Operator::of(file, &args.environment).await?;
    let before = input::text(file).map_err(Failure::told)?;
    let under_way = still_under_way(&read).await?;
    let former = input::text(file).map_err(Failure::told)?;
    // A deployment that had ended unnoticed was settled, which restored the previous text.
    if former != before {
        return Err(edit::is_taken_back(file));
    }
    let changes: Changes = args.properties.iter().cloned().collect();
    let wrong = |Objection { message, hint }: Objection| Failure::new(Exit::Usage, message).hint(hint);
    let new = fleet::edited(&former, &args.environment, &changes).map_err(wrong)?;
    if let Some(other) = under_way.filter(|_| new != former) {
        return Err(goes_on(&other.record));
    }
    let operator = Operator::of_text(file, &new, &args.environment).await?;
    let asked = asked(&operator, args, Edit::new(file, former, new)).await?;
    let done = carry_out(&operator, file, &asked, args.patience, as_json).await;
    let Some(edit) = &asked.edit else { return done };
    match &done {
        Ok(()) => edit.make()?,
        // The deployment may continue, and deploys what the file now says.
        Err(_) => edit.tell()?,
    }
    done
}

/// Another deployment would be followed instead of this one.
fn goes_on(record: &Record) -> Failure {
    let (name, release) = (&record.environment, &record.goal.release.name);
    let failure = Failure::new(Exit::Failed, "cannot set properties while a deployment is under way").why(record.told());
    failure.hint(format!("follow it with `ingot-fleet deploy {name} --release {release}`, or abort it with `ingot-fleet abort {name}`"))
}

/// What runs now, with the properties that fleet.yaml is going to have.
async fn asked(operator: &Operator, args: &Args, edit: Edit) -> Result<Asked, Failure> {
    let name = operator.name();
    let counting = operator.records().counting().await?;
    let Some(record) = counting.get(Role::InForce) else {
        return Err(Failure::new(Exit::Usage, format!("{name} has had no good deployment yet"))
            .hint(format!("write the properties into fleet.yaml, and run `ingot-fleet create {name} --release RELEASE`")));
    };
    let (release, image) = (record.goal.release.clone(), record.goal.image.clone());
    let (edit, seen) = (Some(edit), Some(counting.newest));
    let plain = Asked { kind: Kind::Deploy, release, image, document: None, policy: None, consent: None, despite: Vec::new(), edit, seen };
    Ok(args.manner.of(plain))
}

fn refuse_secrets(properties: &[(String, Option<String>)]) -> Result<(), Failure> {
    let looks = |(name, value): &(String, Option<String>)| Some((name.clone(), fleet::looks_secret(name, value.as_deref()?)?));
    match properties.iter().find_map(looks) {
        None => Ok(()),
        Some((name, why)) => {
            Err(Failure::new(Exit::Usage, format!("`{name}` may be a secret, but properties can be read in fleet.yaml and in S3"))
                .why(why)
                .hint(
                    "store it in Secrets Manager, list it in `secrets:`, and read it in the boot document; if it is \
                 not a secret, write it into fleet.yaml and deploy",
                ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_name_and_a_value_or_none() {
        assert_eq!(pair("A=b=c").unwrap(), ("A".to_owned(), Some("b=c".to_owned())));
        assert_eq!(pair("A=").unwrap(), ("A".to_owned(), None));
        assert!(pair("A").unwrap_err().contains("KEY=VALUE"));
        for wrong in ["=x", "A B=x", "1A=x", "A-B=x", "Ä=x"] {
            assert!(pair(wrong).unwrap_err().contains("not the name of an environment variable"), "{wrong}");
        }
    }
}
