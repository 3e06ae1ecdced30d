//! Golden images: the AMI that an SSM parameter names.

use super::Aws;
use super::trouble::{self, Call};
use crate::exit::Exit;
use crate::failure::Failure;

/// Reads the AMI from an SSM parameter.
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
        false => Err(Failure::new(Exit::Document, format!("the SSM parameter {name} holds no image"))
            .why(format!("it holds `{value}`"))
            .hint("correct `image:` in fleet.yaml: the parameter holds the ID of an AMI, and nothing else")),
    }
}
