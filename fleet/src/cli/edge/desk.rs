//! What every edge command needs: fleet.yaml, AWS, and the names of the edge's resources.

use std::path::Path;

use ingot::desk::nearest;

use crate::aws::Aws;
use crate::aws::groups::Groups;
use crate::aws::s3::Bucket;
use crate::aws::stacks::{CloudFormation, Stacks as _};
use crate::aws::swaps::Swaps;
use crate::cli::input;
use crate::cli::operator::account;
use crate::deployment::course::Standing;
use crate::deployment::slot::Weights;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Edge, Read};
use crate::place::Place;
use crate::stack::Account;

/// An edge, and the AWS clients to work on it.
#[derive(Debug)]
pub(crate) struct EdgeDesk {
    read: Read,
    name: String,
    pub(crate) aws: Aws,
    pub(crate) place: Place,
    bucket: Bucket,
    pub(crate) stacks: CloudFormation,
    pub(crate) groups: Groups,
}

/// The name of the stack of an edge.
pub(crate) fn stack_of(application: &str, edge: &str) -> String {
    format!("{application}-edge-{edge}")
}

impl EdgeDesk {
    /// For an edge of fleet.yaml.
    pub(crate) async fn of(file: &Path, name: &str) -> Result<Self, Failure> {
        let read = input::sound(file).map_err(Failure::told)?;
        if !read.fleet.edges.iter().any(|edge| edge.key.name == name) {
            let names: Vec<&str> = read.fleet.edges.iter().map(|edge| edge.key.name.as_str()).collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "add `edges:` to fleet.yaml, as docs/fleet/blue-green.md shows".to_owned(),
                None => format!("name one of these edges: {}", names.join(", ")),
            };
            return Err(Failure::new(Exit::Usage, format!("there is no edge `{name}` in fleet.yaml")).hint(hint));
        }
        let (aws, place) = (Aws::connect().await?, read.fleet.releases.place(&read.fleet.application));
        let (bucket, stacks, groups) = (Bucket::new(&aws, &place.bucket), CloudFormation::new(&aws), Groups::new(&aws));
        Ok(Self { read, name: name.to_owned(), aws, place, bucket, stacks, groups })
    }

    pub(crate) fn edge(&self) -> &Edge {
        self.read.fleet.edges.iter().find(|edge| edge.key.name == self.name).expect("it was found when fleet.yaml was read")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn stack(&self) -> String {
        stack_of(&self.place.application, &self.name)
    }

    pub(crate) fn swaps(&self) -> Swaps<'_, Bucket> {
        Swaps::new(&self.bucket, &self.place, &self.name)
    }

    /// The state of its stack, if it exists. A stack that merely has the same name is refused.
    pub(crate) async fn standing(&self) -> Result<Option<Standing>, Failure> {
        let stack = self.stack();
        let Some(standing) = self.stacks.standing(&stack).await? else { return Ok(None) };
        let is_own = (standing.parameter("Application"), standing.parameter("Edge")) == (Some(&self.place.application), Some(&self.name));
        // A stack that consists of a change set only has no parameters yet.
        match is_own || standing.status == "REVIEW_IN_PROGRESS" {
            true => Ok(Some(standing)),
            false => Err(Failure::new(
                Exit::Usage,
                format!("the stack {stack} does not belong to the edge {} of {}", self.name, self.place.application),
            )
            .hint("rename the edge in fleet.yaml, or correct AWS_REGION and AWS_PROFILE")),
        }
    }

    /// The same for an edge that must exist, with its weights.
    pub(crate) async fn standing_with_weights(&self) -> Result<(Standing, Weights), Failure> {
        let standing = self.standing().await?.and_then(|standing| Weights::of(&standing).map(|weights| (standing, weights)));
        standing.ok_or_else(|| self.not_there())
    }

    pub(crate) fn not_there(&self) -> Failure {
        Failure::new(Exit::Usage, format!("the edge {} has not been created yet", self.name))
            .hint(format!("run `ingot-fleet edge {}`", self.name))
    }

    /// The resources of the stack `ingot-account`, and the identity of the caller.
    pub(crate) async fn account(&self) -> Result<(Account, String), Failure> {
        let caller = self.aws.caller().await?;
        Ok((account(&self.stacks, &self.aws.region, &caller).await?, caller))
    }
}
