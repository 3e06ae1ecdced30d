//! Checks what must exist before an environment or an edge is created or changed, as far as AWS can tell: its
//! image, its subnets, its certificate, room in the account's quotas, and the rights of the caller.

pub(super) mod applicant;
pub(super) mod certificate;
pub(super) mod kind;
mod quotas;
pub(super) mod refresh;
mod rights;
mod room;
pub(super) mod subnets;

use std::collections::BTreeSet;

use self::applicant::Applicant;
use self::subnets::{Listed, unsuited};
use super::operator::Operator;
use super::output::talk;
use crate::aws::ec2::{self, Subnet};
use crate::aws::images;
use crate::deployment::course::Standing;
use crate::deployment::record::{Goal, Kind};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Environment, Mode, Tier};
use crate::stack::Account;

/// Checks that an environment of this goal can exist where fleet.yaml puts it.
pub(super) async fn holds(operator: &Operator, goal: &Goal, standing: Option<&Standing>, account: &Account) -> Result<(), Failure> {
    let arn = operator.environment().settings.load_balancer.certificate.as_ref().map(|arn| arn.as_str());
    let (found, certificate, quotas, room) = tokio::join!(
        found(operator, &goal.image),
        certificate::holds(Applicant::of(operator), arn, account),
        quotas::hold(operator, goal, standing),
        room::suffices(operator, standing)
    );
    found.and(certificate).and(quotas).and(room).and(refresh::is_allowed(operator, standing, account))
}

/// The same, and that the caller has the rights to deploy.
pub(super) async fn holds_for(
    operator: &Operator,
    kind: Kind,
    goal: &Goal,
    standing: Option<&Standing>,
    (account, caller): (&Account, &str),
) -> Result<(), Failure> {
    let (holds, rights, refreshes) = tokio::join!(
        holds(operator, goal, standing, account),
        rights::suffice(operator, kind, account, caller),
        refresh::is_over(operator, standing)
    );
    holds.and(rights).and(refreshes)
}

/// The same before a rollback, which must not depend on an answer that AWS cannot give at the moment.
pub(super) async fn holds_again(operator: &Operator, goal: &Goal, standing: Option<&Standing>) -> Result<(), Failure> {
    refresh::note(operator, standing).await;
    // The network and the certificate stay as they are.
    match images::fits(&operator.aws, &goal.image, None).await {
        Err(failure) if failure.exit == Exit::Document => Err(failure.hint(format!(
            "deploy the release with another image: `ingot-fleet deploy {} --release {} --image AMI`, or \
             without --image for that of fleet.yaml",
            operator.name(),
            goal.release.name
        ))),
        Err(failure) => {
            talk(&format!("note: {}", failure.sentence()));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn found(operator: &Operator, image: &str) -> Result<(), Failure> {
    if !operator.has_file() {
        return images::fits(&operator.aws, image, None).await;
    }
    let environment = operator.environment();
    let network = &environment.settings.network;
    let named: BTreeSet<&str> = network.subnets.iter().chain(&network.load_balancer_subnets).map(|subnet| subnet.as_str()).collect();
    let named: Vec<&str> = named.into_iter().collect();
    let architecture = environment.settings.instances.architecture();
    let ((), subnets) = tokio::try_join!(images::fits(&operator.aws, image, Some(&architecture)), ec2::subnets(&operator.aws, &named))?;
    of_environment(environment, &subnets).map_or(Ok(()), Err)
}

fn of_environment(environment: &Environment, found: &[Subnet]) -> Option<Failure> {
    let (name, network) = (&environment.key.name, &environment.settings.network);
    if let Some(other) = found.iter().find(|subnet| network.vpc.as_ref().is_some_and(|vpc| subnet.vpc != vpc.as_str())) {
        let vpc = network.vpc.as_ref()?.as_str();
        let message = format!("{} is a subnet of {}, but `network.vpc` of {name} is {vpc}", other.id, other.vpc);
        return Some(Failure::new(Exit::Document, message).hint("correct `network.vpc` or the subnets in fleet.yaml"));
    }
    if environment.mode != Mode::HighlyAvailable {
        return None;
    }
    // Without subnets of its own, a load balancer has those of the instances.
    let [own, of_balancer] =
        [&network.subnets, &network.load_balancer_subnets].map(|list| list.iter().map(|one| one.as_str()).collect::<Vec<_>>());
    let has_balancer = environment.tier == Tier::Web && environment.joined().is_none();
    let lists = [
        Listed { field: "network.subnets", named: own, of_balancer: has_balancer && of_balancer.is_empty() },
        Listed { field: "network.load_balancer_subnets", named: of_balancer, of_balancer: has_balancer },
    ];
    unsuited(name, &lists, found)
}
