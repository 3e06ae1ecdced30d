//! What has to be there before an environment is made or changed, as far as AWS can be asked: its image, its subnets, its
//! certificate.

use std::collections::BTreeSet;

use super::operator::Operator;
use super::output::talk;
use crate::aws::ec2::{self, Subnet};
use crate::aws::images;
use crate::deployment::record::Goal;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Environment, Mode};

/// Looks whether an environment can stand where fleet.yaml puts it, with what it is to become.
pub(super) async fn holds(operator: &Operator, goal: &Goal) -> Result<(), Failure> {
    found(operator, &goal.image).await
}

/// The same before going back to what ran earlier, which must not need an answer that does not come for a moment.
pub(super) async fn holds_again(operator: &Operator, goal: &Goal) -> Result<(), Failure> {
    // Network and certificate stay as they are.
    match images::fits(&operator.aws, &goal.image, None).await {
        Err(failure) if failure.exit == Exit::Document => Err(failure.hint(format!(
            "deploy it as fleet.yaml is now, or with another image: `ingot-fleet deploy {} --release {} --image AMI`",
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
    if let Some(failure) = of_certificate(environment, &operator.aws.region) {
        return Err(failure);
    }
    let network = &environment.settings.network;
    let named: BTreeSet<&str> = network.subnets.iter().chain(&network.load_balancer_subnets).map(|subnet| subnet.as_str()).collect();
    let named: Vec<&str> = named.into_iter().collect();
    let architecture = environment.settings.instances.architecture();
    let ((), subnets) = tokio::try_join!(images::fits(&operator.aws, image, Some(&architecture)), ec2::subnets(&operator.aws, &named))?;
    of_subnets(environment, &subnets).map_or(Ok(()), Err)
}

/// A load balancer takes certificates of its own region alone.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>
fn of_certificate(environment: &Environment, region: &str) -> Option<Failure> {
    let certificate = environment.settings.load_balancer.certificate.as_ref()?.as_str();
    let of = certificate.split(':').nth(3).filter(|of| *of != region)?;
    let message = format!("the certificate of {} is in {of}, and the environment in {region}", environment.key.name);
    let hint = format!("write one of ACM in {region} to `load_balancer.certificate` in fleet.yaml, or correct AWS_REGION");
    Some(Failure::new(Exit::Document, message).why(certificate).hint(hint))
}

fn of_subnets(environment: &Environment, found: &[Subnet]) -> Option<Failure> {
    let network = &environment.settings.network;
    let vpc = network.vpc.as_ref()?.as_str();
    let wrong = |message: String| Failure::new(Exit::Document, message);
    if let Some(other) = found.iter().find(|subnet| subnet.vpc != vpc) {
        let message = format!("{} is a subnet of {}, and `network.vpc` of {} is {vpc}", other.id, other.vpc, environment.key.name);
        return Some(wrong(message).hint("correct `network.vpc`, or the subnets beside it, in fleet.yaml"));
    }
    if environment.mode != Mode::HighlyAvailable {
        return None;
    }
    let lists = [("network.subnets", &network.subnets), ("network.load_balancer_subnets", &network.load_balancer_subnets)];
    let (field, zone) = lists.into_iter().find_map(|(field, named)| {
        let is_named = |subnet: &&Subnet| named.iter().any(|name| name.as_str() == subnet.id);
        let zones: BTreeSet<&str> = found.iter().filter(is_named).map(|subnet| subnet.zone.as_str()).collect();
        Some((field, zones.first().copied().filter(|_| zones.len() == 1)?))
    })?;
    let message = format!("all of `{field}` of {} are in {zone}", environment.key.name);
    Some(wrong(message).hint(format!("add a subnet in another zone to `{field}` in fleet.yaml")))
}
