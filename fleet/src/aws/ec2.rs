//! EC2's few calls: what an image is.

use super::Aws;
use super::signed::{self, Api};
use super::trouble::{Call, Trouble};
use crate::exit::Exit;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html>
const EC2: Api = Api { service: "ec2", variable: "AWS_ENDPOINT_URL_EC2", version: "2016-11-15" };

/// What DescribeImages says of an AMI.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Image.html>
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// `x86_64`, `arm64`, or one that no instance type of an environment has.
    pub(crate) architecture: String,
    /// Instances can be launched while it is `available`.
    pub(crate) state: String,
}

/// Looks an AMI up.
///
/// # Errors
///
/// What stands in the way: there is no such image in the region, or AWS does not say.
pub(crate) async fn image(aws: &Aws, id: &str) -> Result<Image, Failure> {
    let call = Call { action: "ec2:DescribeImages", doing: "look up", on: format!("the image {id}"), region: &aws.region };
    let none = || {
        Failure::new(Exit::Document, format!("there is no image {id} in {}", aws.region))
            .hint("correct `image:` in fleet.yaml or `--image`, or share the image with this account: it may be deregistered, of another region or of another account")
    };
    match signed::query(aws, &EC2, "DescribeImages", &[("ImageId.1", id)]).await {
        Ok(answer) => {
            let found = answer.items("imagesSet").next().map(|image| {
                let text = |name: &str| image.text(name).unwrap_or_default().to_owned();
                Image { id: text("imageId"), architecture: text("architecture"), state: text("imageState") }
            });
            found.ok_or_else(none)
        }
        Err(trouble) if missing(&trouble) => Err(none()),
        Err(trouble) => Err(trouble.failure(&call)),
    }
}

/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
fn missing(trouble: &Trouble) -> bool {
    trouble.has(&["InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"])
}
