//! What the commands of an environment need: fleet.yaml, AWS, and the location of everything.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use ingot::desk::{DocumentError, Sources};

use super::input;
use super::output::talk;
use crate::aws::Aws;
use crate::aws::freezes::Freezes;
use crate::aws::groups::Groups;
use crate::aws::images;
use crate::aws::records::{Kept, Records};
use crate::aws::s3::Bucket;
use crate::aws::stacks::{CloudFormation, Stacks as _};
use crate::deployment::course::{Parameters, Standing};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Environment, Read};
use crate::place::Place;
use crate::stack::{self, Account, Stack};
use crate::story::Limits;

/// The stack with the resources that all environments share.
pub(super) const ACCOUNT: &str = "ingot-account";

/// The environment of a command that can do without fleet.yaml.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    /// Environment
    #[arg(value_name = "ENV")]
    pub(super) environment: String,
    /// Application of the environment, if its fleet.yaml is not available
    #[arg(long, value_name = "APP", conflicts_with = "file")]
    pub(super) application: Option<String>,
}

/// An environment, and the AWS clients to work on it.
#[derive(Debug)]
pub(super) struct Operator {
    /// fleet.yaml, if it is available, and its path.
    read: Option<Rc<Read>>,
    file: Option<PathBuf>,
    name: String,
    /// Its name in commands for the user to type.
    called: String,
    pub(super) aws: Aws,
    pub(super) place: Place,
    pub(super) bucket: Bucket,
    pub(super) stacks: CloudFormation,
    pub(super) groups: Groups,
}

impl Operator {
    /// For an environment of fleet.yaml.
    pub(super) async fn of(file: &Path, environment: &str) -> Result<Self, Failure> {
        Self::of_text(file, &input::text(file).map_err(Failure::told)?, environment).await
    }

    /// The same, with another text than the file has.
    pub(super) async fn of_text(file: &Path, text: &str, environment: &str) -> Result<Self, Failure> {
        let read = input::sound_text(file, text).map_err(Failure::told)?;
        input::environment(&read.fleet, environment).map_err(Failure::told)?;
        let place = read.fleet.releases.place(&read.fleet.application);
        Ok(Self::with(Aws::connect().await?, place, environment, Some((Rc::new(read), file))))
    }

    /// One for each environment of fleet.yaml.
    pub(super) async fn all(file: &Path) -> Result<Vec<Self>, Failure> {
        let read = Rc::new(input::sound(file).map_err(Failure::told)?);
        let (aws, place) = (Aws::connect().await?, read.fleet.releases.place(&read.fleet.application));
        let of = |name: &str| Self::with(aws.clone(), place.clone(), name, Some((Rc::clone(&read), file)));
        Ok(read.fleet.environments.iter().map(|environment| of(&environment.key.name)).collect())
    }

    /// One for each environment of an application that has a stack.
    pub(super) async fn all_of(application: &str) -> Result<Vec<Self>, Failure> {
        let aws = Aws::connect().await?;
        let stacks = CloudFormation::new(&aws).of_application(application).await?;
        let of = |(stack, standing): (String, Standing)| {
            let name = stack.strip_prefix(application)?.strip_prefix('-')?.to_owned();
            let place = standing.place(application).filter(|_| standing.is_of(application, &name))?;
            Some(Self::with(aws.clone(), place, &name, None))
        };
        let found: Vec<Self> = stacks.into_iter().filter_map(of).collect();
        if found.is_empty() {
            let message = format!("there is no environment of {application} in {}", aws.region);
            let hint = "correct --application, AWS_REGION or AWS_PROFILE, or run this in the directory of fleet.yaml";
            return Err(Failure::new(Exit::Usage, message).why("no stack has the tag ingot:application with its name").hint(hint));
        }
        Ok(found)
    }

    /// For an environment of fleet.yaml, or, with --application, for one that AWS knows.
    pub(super) async fn at(file: &Path, whose: &Whose) -> Result<Self, Failure> {
        let Whose { environment, application } = whose;
        let Some(application) = application else {
            let found = Self::of(file, environment).await;
            if found.as_ref().is_err_and(|failure| failure.exit == Exit::Document) {
                talk("  hint: if correcting fleet.yaml cannot wait, add `--application APP` to do without it");
            }
            return found;
        };
        let aws = Aws::connect().await?;
        let (stack, stacks) = (format!("{application}-{environment}"), CloudFormation::new(&aws));
        let place = match stacks.standing(&stack).await? {
            Some(standing) => standing.place(application),
            None => None,
        };
        let place = place.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no environment {environment} of {application} in {}", aws.region))
                .why(format!("no stack {stack} names the location of its releases"))
                .hint("correct --application, AWS_REGION or AWS_PROFILE, or run this in the directory of fleet.yaml")
        })?;
        Ok(Self::with(aws, place, environment, None))
    }

    fn with(aws: Aws, place: Place, environment: &str, read: Option<(Rc<Read>, &Path)>) -> Self {
        let (bucket, stacks, groups) = (Bucket::new(&aws, &place.bucket), CloudFormation::new(&aws), Groups::new(&aws));
        let called = match read {
            Some(_) => environment.to_owned(),
            None => format!("{environment} --application {}", place.application),
        };
        let (read, file) = read.map(|(read, file)| (read, file.to_owned())).unzip();
        Self { read, file, name: environment.to_owned(), called, aws, place, bucket, stacks, groups }
    }

    /// Whether there is a fleet.yaml.
    pub(super) fn has_file(&self) -> bool {
        self.read.is_some()
    }

    /// Where fleet.yaml is.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn read(&self) -> &Read {
        self.read.as_ref().expect("only commands that read fleet.yaml ask for it")
    }

    pub(super) fn environment(&self) -> &Environment {
        input::environment(&self.read().fleet, &self.name).expect("it was found when fleet.yaml was read")
    }

    /// The limits beyond which the environment is unhealthy. Without fleet.yaml, these are the defaults.
    pub(super) fn limits(&self) -> Limits {
        let own = if self.has_file() { self.environment().settings.health.clone() } else { Default::default() };
        own.limits()
    }

    /// The names of the alarms that fleet.yaml adds to those of the stack.
    pub(super) fn alarms(&self) -> Vec<String> {
        match self.has_file() {
            true => self.environment().settings.deployment.alarms.iter().map(|name| name.as_str().to_owned()).collect(),
            false => Vec::new(),
        }
    }

    /// fleet.yaml, so that a mistake can show its line.
    pub(super) fn sources(&self) -> Sources {
        self.read().sources.clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its name in commands for the user to type: without fleet.yaml, they need the application as well.
    pub(super) fn called(&self) -> &str {
        &self.called
    }

    /// The name of its stack.
    pub(super) fn stack(&self) -> String {
        format!("{}-{}", self.place.application, self.name)
    }

    /// The state of its stack, if it exists. The name is not enough: a stack of another application, or one that
    /// ingot-fleet did not create, may have the same name.
    pub(super) async fn standing(&self) -> Result<Option<Standing>, Failure> {
        let (application, stack) = (&self.place.application, self.stack());
        match self.stacks.standing(&stack).await? {
            Some(standing) if !standing.is_of(application, &self.name) => {
                let whose = match (standing.parameter("Environment"), standing.parameter("Application")) {
                    (Some(environment), Some(of)) => format!("it belongs to {environment} of {of}"),
                    _ => "ingot-fleet did not create it".to_owned(),
                };
                Err(Failure::new(Exit::Usage, format!("the stack {stack} does not belong to {} of {application}", self.name))
                    .why(whose)
                    .hint("rename the environment in fleet.yaml, or correct AWS_REGION and AWS_PROFILE"))
            }
            standing => Ok(standing),
        }
    }

    pub(super) fn records(&self) -> Records<'_, Bucket> {
        Records::new(&self.bucket, &self.place, &self.name)
    }

    pub(super) fn freezes(&self) -> Freezes<'_, Bucket> {
        Freezes::new(&self.bucket, &self.place, &self.name)
    }

    /// The newest record of a deployment.
    pub(super) async fn newest(&self) -> Result<Option<Kept>, Failure> {
        self.records().newest().await
    }

    /// The stack that fleet.yaml describes; mistakes are an error.
    pub(super) async fn planned(&self, file: &Path) -> Result<Stack, Failure> {
        let (stack, found) = stack::of(&self.read().fleet, self.environment(), input::directory(file)).await;
        match stack {
            Some(stack) if found.mistakes.is_empty() => {
                found.notes.iter().for_each(|note| talk(&format!("note: {note}")));
                Ok(stack)
            }
            _ => {
                let sources = self.read().sources.clone().into_iter().chain(found.sources).collect();
                talk(&DocumentError::new(found.mistakes, sources).to_string());
                Err(Failure::told(Exit::Document))
            }
        }
    }

    /// The identity of the caller, and the resources of the stack `ingot-account`.
    pub(super) async fn caller_and_account(&self) -> Result<(String, Account), Failure> {
        let (caller, outputs) = tokio::join!(self.aws.caller(), self.stacks.outputs(ACCOUNT));
        let (caller, outputs) = (caller?, outputs?);
        let account = account_of(outputs, &self.aws.region, &caller)?;
        Ok((caller, account))
    }

    /// The resources of the stack `ingot-account`.
    pub(super) async fn account(&self, caller: &str) -> Result<Account, Failure> {
        account(&self.stacks, &self.aws.region, caller).await
    }

    /// The image to launch from: that of the command line, or of fleet.yaml.
    pub(super) async fn image(&self, given: Option<&str>) -> Result<String, Failure> {
        let written = self.environment().settings.image.as_ref().map_or("", |image| image.as_str());
        let image = given.unwrap_or(written);
        match image.strip_prefix("ssm:") {
            Some(parameter) => images::of_parameter(&self.aws, parameter).await,
            None => Ok(image.to_owned()),
        }
    }
}

/// The resources of the stack `ingot-account`.
pub(super) async fn account(stacks: &CloudFormation, region: &str, caller: &str) -> Result<Account, Failure> {
    account_of(stacks.outputs(ACCOUNT).await?, region, caller)
}

fn account_of(outputs: Option<Parameters>, region: &str, caller: &str) -> Result<Account, Failure> {
    let missing = |what: &str| {
        Failure::new(Exit::Failed, format!("{what} in {region}"))
            .hint("set the account up once, as docs/fleet/account.md shows, or correct AWS_REGION")
    };
    let Some(outputs) = outputs else { return Err(missing(&format!("there is no stack {ACCOUNT}"))) };
    let output = |name: &str| outputs.get(name).cloned().ok_or_else(|| missing(&format!("the stack {ACCOUNT} has no output {name}")));
    Ok(Account {
        partition: caller.split(':').nth(1).unwrap_or("aws").to_owned(),
        id: caller.split(':').nth(4).unwrap_or_default().to_owned(),
        region: region.to_owned(),
        service_role: output("ServiceRole")?,
        boundary: output("Boundary")?,
        evidence: output("EvidenceBucket")?,
        has_schedules: outputs.contains_key("Schedules"),
    })
}
