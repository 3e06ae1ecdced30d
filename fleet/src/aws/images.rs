//! Golden images: reads the AMI ID from an SSM parameter and checks that instances can be launched from it.

use super::trouble::{self, Call};
use super::{Aws, ec2};
use crate::exit::Exit;
use crate::failure::Failure;

/// Reads an AMI ID from an SSM parameter.
pub(crate) async fn of_parameter(aws: &Aws, name: &str) -> Result<String, Failure> {
    let call = Call { action: "ssm:GetParameter", doing: "read", on: format!("the SSM parameter {name}"), region: &aws.region };
    let answer = aws_sdk_ssm::Client::new(&aws.sdk).get_parameter().name(name).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => match trouble::of(&error) {
            trouble if trouble.has(&["ParameterNotFound"]) => {
                return Err(Failure::new(Exit::Document, format!("there is no SSM parameter {name} in {}", aws.region))
                    .hint("correct `image:` in fleet.yaml, or bake an image: the pipeline writes the parameter"));
            }
            trouble => return Err(trouble.failure(&call)),
        },
    };
    let value = answer.parameter().and_then(|parameter| parameter.value()).unwrap_or_default();
    match value.strip_prefix("ami-").is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        true => Ok(value.to_owned()),
        false => Err(Failure::new(Exit::Document, format!("the SSM parameter {name} does not hold an AMI ID"))
            .why(format!("it holds `{value}`"))
            .hint("correct `image:` in fleet.yaml: the parameter must hold an AMI ID and nothing else")),
    }
}

/// Checks that an AMI is available and, where `architecture` is known, built for it.
pub(crate) async fn fits(aws: &Aws, id: &str, architecture: Option<&str>) -> Result<(), Failure> {
    let image = ec2::image(aws, id).await?;
    let not = |message: String| Failure::new(Exit::Document, message);
    if image.state != "available" {
        let hint = if image.state == "pending" { "wait until it is available, or use another one" } else { "use another image" };
        return Err(not(format!("the image {id} is {}", image.state)).hint(hint));
    }
    if let Some(architecture) = architecture.filter(|architecture| *architecture != image.architecture) {
        let message = format!("the image {id} is for {}, and `instances.types` are {architecture}", image.architecture);
        return Err(not(message).hint(format!("use an image for {architecture}, or instance types for {}", image.architecture)));
    }
    Ok(())
}
