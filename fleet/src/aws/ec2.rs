//! The few EC2 calls made here: images, subnets, and the number of elastic IP addresses.

use super::Aws;
use super::signed::{self, Api};
use super::trouble::{Call, Trouble};
use crate::exit::Exit;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html>
pub(super) const EC2: Api = Api { service: "ec2", id: "EC2", version: "2016-11-15", is_global: false };

/// An AMI as DescribeImages returns it.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Image.html>
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// `x86_64`, `arm64`, or an architecture that no instance type of an environment has.
    pub(crate) architecture: String,
    /// Instances can be launched only while this is `available`.
    pub(crate) state: String,
}

/// Looks up an AMI.
///
/// # Errors
///
/// If the region has no such image, or the call fails.
pub(crate) async fn image(aws: &Aws, id: &str) -> Result<Image, Failure> {
    let call = Call { action: "ec2:DescribeImages", doing: "look up", on: format!("the image {id}"), region: &aws.region };
    let none = || {
        Failure::new(Exit::Document, format!("there is no image {id} in {}", aws.region)).hint(
            "correct `image:` in fleet.yaml or `--image`, or share the image with this account: it may be deregistered, in another \
             region, or owned by another account",
        )
    };
    match signed::query(aws, &EC2, "DescribeImages", &[("ImageId.1", id)]).await {
        Ok(answer) => {
            let found = answer.items("imagesSet").next().map(|image| {
                let text = |name: &str| image.text(name).unwrap_or_default().to_owned();
                Image { id: text("imageId"), architecture: text("architecture"), state: text("imageState") }
            });
            found.ok_or_else(none)
        }
        Err(trouble) if is_missing(&trouble) => Err(none()),
        Err(trouble) => Err(trouble.failure(&call)),
    }
}

/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
fn is_missing(trouble: &Trouble) -> bool {
    trouble.has(&["InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"])
        || trouble.has(&["AuthFailure"]) && trouble.says("Not authorized for images")
}

/// A subnet and its location.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) zone: String,
}

/// Looks up subnets.
///
/// # Errors
///
/// If a subnet does not exist, or the call fails.
pub(crate) async fn subnets(aws: &Aws, ids: &[&str]) -> Result<Vec<Subnet>, Failure> {
    let call = Call { action: "ec2:DescribeSubnets", doing: "look up", on: "the subnets of `network:`".into(), region: &aws.region };
    let names: Vec<String> = (1..=ids.len()).map(|number| format!("SubnetId.{number}")).collect();
    let parameters: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(ids.iter().copied()).collect();
    match signed::query(aws, &EC2, "DescribeSubnets", &parameters).await {
        Ok(answer) => {
            let found = answer.items("subnetSet").map(|subnet| {
                let text = |name: &str| subnet.text(name).unwrap_or_default().to_owned();
                Subnet { id: text("subnetId"), vpc: text("vpcId"), zone: text("availabilityZone") }
            });
            Ok(found.collect())
        }
        // EC2's message names the first subnet it did not find.
        Err(Trouble::Answer { code, message, .. }) if code.starts_with("InvalidSubnetI") => {
            Err(Failure::new(Exit::Document, format!("`network:` names a subnet that is not in {}", aws.region))
                .why(message)
                .hint("correct `network.subnets` and `network.load_balancer_subnets` in fleet.yaml, or AWS_REGION and AWS_PROFILE"))
        }
        Err(trouble) => Err(trouble.failure(&call)),
    }
}

/// Counts the elastic IP addresses of the region.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAddresses.html>
pub(crate) async fn addresses(aws: &Aws) -> Result<u64, Failure> {
    let call = Call { action: "ec2:DescribeAddresses", doing: "count", on: "the elastic IP addresses".into(), region: &aws.region };
    let answer = signed::query(aws, &EC2, "DescribeAddresses", &[]).await.map_err(|trouble| trouble.failure(&call))?;
    Ok(answer.items("addressesSet").count() as u64)
}

#[cfg(test)]
mod tests;
