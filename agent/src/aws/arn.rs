//! ARNs of secrets, parameters and target groups: which region they point to, and whether they can be valid.

use crate::failure::Objection;

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) partition: &'a str,
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Parses a name that is an ARN with a region. `None` for all other names, which are the majority.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("arn:")?.splitn(5, ':');
        let mut next = || parts.next();
        let arn = Self { partition: next()?, service: next()?, region: next()?, account: next()?, resource: next()? };
        (!arn.region.is_empty()).then_some(arn)
    }
}

/// The partition of a region, by the prefix of the region's name.
///
/// Source: <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>, and
/// botocore's `partitions.json`.
pub(crate) fn partition(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

const PARAMETER_FORM: &str = "write it as in arn:aws:ssm:eu-central-1:123456789012:parameter/prod/token";

/// Checks the name of a secret of Secrets Manager. Only names that begin like an ARN can be wrong.
pub(crate) fn check_secret(id: &str) -> Result<(), Objection> {
    const FORM: &str = "write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3";
    let Some(arn) = of("secret", "secretsmanager", id, FORM)? else { return Ok(()) };
    match arn.resource.strip_prefix("secret:").map(|name| name.split_once(':')) {
        Some(None) if arn.resource.len() > "secret:".len() => Ok(()),
        // ECS task definitions name one field of a secret, and its version, in this form.
        Some(Some((name, rest))) if !name.is_empty() => {
            let field = rest.split(':').next().filter(|field| !field.is_empty()).unwrap_or("FIELD");
            let hint = format!("end the ARN before `:{rest}`, and refer to the field as in {{{{secrets.NAME.{field}}}}}");
            Err(Objection::new(format!("`{id}` names more than a secret"), hint))
        }
        _ => Err(Objection::new(format!("`{id}` is not the ARN of a secret"), FORM)),
    }
}

/// Checks the name of a parameter of Parameter Store. Only names that begin like an ARN can be wrong.
pub(crate) fn check_parameter(name: &str) -> Result<(), Objection> {
    let Some(arn) = of("parameter", "ssm", name, PARAMETER_FORM)? else { return Ok(()) };
    match arn.resource.strip_prefix("parameter/") {
        Some(name) if !name.is_empty() => Ok(()),
        _ => Err(Objection::new(format!("`{name}` is not the ARN of a parameter"), PARAMETER_FORM)),
    }
}

/// As [`check_parameter`], where a secret of Secrets Manager cannot be used instead.
pub(crate) fn check_nothing_but_parameter(name: &str) -> Result<(), Objection> {
    let is_secret = || Arn::parse(name).is_some_and(|arn| arn.service == "secretsmanager");
    check_parameter(name).map_err(|wrong| if is_secret() { Objection { hint: PARAMETER_FORM.into(), ..wrong } } else { wrong })
}

/// Checks the ARN of a target group of Elastic Load Balancing.
pub(crate) fn check_target_group(arn: &str) -> Result<(), Objection> {
    const FORM: &str = "write what `Ref` of a target group returns, as in \
                        arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
    let parts = of("target group", "elasticloadbalancing", arn, FORM)?;
    match parts.and_then(|arn| arn.resource.strip_prefix("targetgroup/")?.split_once('/')) {
        Some((name, id)) if !name.is_empty() && !id.is_empty() => Ok(()),
        _ => Err(Objection::new(format!("`{arn}` is not the ARN of a target group"), FORM)),
    }
}

/// Checks the parts that all ARNs share. `None` if `name` is not an ARN.
fn of<'a>(thing: &str, service: &str, name: &'a str, form: &str) -> Result<Option<Arn<'a>>, Objection> {
    if !name.starts_with("arn:") {
        return Ok(None);
    }
    let malformed = || Objection::new(format!("`{name}` is not the ARN of a {thing}"), form);
    let arn = Arn::parse(name).filter(|arn| is_region(arn.region) && (is_account(arn.account) || is_of_aws(arn)));
    let arn = arn.ok_or_else(malformed)?;
    let other = match arn.service {
        "ssm" => Some("parameter"),
        "secretsmanager" => Some("secrets_manager"),
        _ => None,
    };
    match other {
        _ if arn.service == service => {}
        Some(field) => return Err(Objection::new(format!("`{name}` is not the ARN of a {thing}"), format!("give it as `{field}:`"))),
        None => return Err(malformed()),
    }
    let partition = partition(arn.region);
    if arn.partition != partition {
        let message = format!("`{name}` names the partition {}, and {} is in {partition}", arn.partition, arn.region);
        return Err(Objection::new(message, format!("begin it with arn:{partition}:, or correct the region")));
    }
    Ok(Some(arn))
}

fn is_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let number = parts.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let words: Vec<&str> = parts.collect();
    number && words.len() >= 2 && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Whether the ARN names a public parameter of AWS, which belongs to no account.
///
/// Source: <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters.html>
fn is_of_aws(arn: &Arn<'_>) -> bool {
    arn.service == "ssm" && arn.account.is_empty() && arn.resource.starts_with("parameter/aws/")
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_arns_of_every_partition() {
        for id in [
            "prod/db",
            "arn",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3",
            "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:db",
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:db",
            "arn:aws-iso-b:secretsmanager:us-isob-east-1:123456789012:secret:db",
            "arn:aws-eusc:secretsmanager:eusc-de-east-1:123456789012:secret:db",
        ] {
            assert_eq!(check_secret(id), Ok(()), "{id}");
        }
        for name in [
            "/prod/token:3",
            "arn:aws:ssm:us-east-1:123456789012:parameter/prod/token:3",
            "arn:aws:ssm:us-east-1:123456789012:parameter/token",
            "arn:aws:ssm:us-east-1::parameter/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
        ] {
            assert_eq!(check_parameter(name), Ok(()), "{name}");
            assert_eq!(check_nothing_but_parameter(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn only_public_parameters_are_of_no_account() {
        for name in ["arn:aws:ssm:us-east-1::parameter/prod/token", "arn:aws:secretsmanager:us-east-1::secret:aws/db"] {
            assert!(check_parameter(name).is_err(), "{name}");
        }
        assert!(check_secret("arn:aws:secretsmanager:us-east-1::secret:parameter/aws/db").is_err());
    }

    #[test]
    fn no_secret_is_advised_where_only_a_parameter_will_do() {
        let wrong = check_nothing_but_parameter("arn:aws:secretsmanager:eu-central-1:123456789012:secret:db").unwrap_err();
        assert!(wrong.message.ends_with("is not the ARN of a parameter") && wrong.hint == PARAMETER_FORM, "{wrong:?}");
    }

    #[test]
    fn a_target_group_is_named_by_a_whole_arn() {
        let good = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
        assert_eq!(check_target_group(good), Ok(()));
        for wrong in [
            "web",
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web",
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/web/0123456789abcdef",
            "arn:aws:elasticloadbalancing:cn-north-1:123456789012:targetgroup/web/0123456789abcdef",
            "arn:aws:ec2:eu-central-1:123456789012:targetgroup/web/0123456789abcdef",
        ] {
            assert!(check_target_group(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_arn() {
        let secrets = [
            "arn:aws:secretsmanager:eu-central-1:123456789012",
            "arn:aws:secretsmanager::123456789012:secret:db",
            "arn:aws:secretsmanager:Frankfurt:123456789012:secret:db",
            "arn:aws:secretsmanager:eu-central-1:1234:secret:db",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-central-1:123456789012:db",
            "arn:aws:ssm:eu-central-1:123456789012:parameter/db",
            "arn:aws:iam:eu-central-1:123456789012:role/db",
            "arn:aws:secretsmanager:cn-north-1:123456789012:secret:db",
            "arn:amazon:secretsmanager:eu-central-1:123456789012:secret:db",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3:password::",
        ];
        let parameters = ["arn:aws:ssm:eu-central-1:123456789012:parameter/", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db"];
        let said = secrets.map(check_secret).into_iter().chain(parameters.map(check_parameter)).map(|judged| {
            let Objection { message, hint } = judged.unwrap_err();
            format!("{message}\n  {hint}")
        });
        insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @"
        `arn:aws:secretsmanager:eu-central-1:123456789012` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager::123456789012:secret:db` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager:Frankfurt:123456789012:secret:db` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager:eu-central-1:1234:secret:db` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager:eu-central-1:123456789012:secret:` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager:eu-central-1:123456789012:db` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:ssm:eu-central-1:123456789012:parameter/db` is not the ARN of a secret
          give it as `parameter:`
        `arn:aws:iam:eu-central-1:123456789012:role/db` is not the ARN of a secret
          write it as in arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-a1b2c3
        `arn:aws:secretsmanager:cn-north-1:123456789012:secret:db` names the partition aws, and cn-north-1 is in aws-cn
          begin it with arn:aws-cn:, or correct the region
        `arn:amazon:secretsmanager:eu-central-1:123456789012:secret:db` names the partition amazon, and eu-central-1 is in aws
          begin it with arn:aws:, or correct the region
        `arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3:password::` names more than a secret
          end the ARN before `:password::`, and refer to the field as in {{secrets.NAME.password}}
        `arn:aws:ssm:eu-central-1:123456789012:parameter/` is not the ARN of a parameter
          write it as in arn:aws:ssm:eu-central-1:123456789012:parameter/prod/token
        `arn:aws:secretsmanager:eu-central-1:123456789012:secret:db` is not the ARN of a parameter
          give it as `secrets_manager:`
        ");
    }
}
