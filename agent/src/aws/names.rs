//! Names that AWS refuses, whatever exists in the account: a call that uses one would fail only on the instance.
//!
//! Each rule gives its source. A name that AWS takes anywhere, such as an ARN, is never refused.

use crate::failure::Objection;

/// An EC2 ID: a prefix for its kind, followed by 8 or 17 hexadecimal digits.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html>
pub(crate) fn is_id(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|digits| matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

pub(crate) fn id(what: &str, prefix: &str, name: &str) -> Option<Objection> {
    let hint = match name.split_once('-') {
        Some(("snap", _)) if prefix == "vol-" && is_id("snap-", name) => format!("write `snapshot: {name}`"),
        Some(("vol", _)) if prefix == "snap-" && is_id("vol-", name) => format!("write `volume: {name}`"),
        _ => format!("write the ID that AWS shows, as in {prefix}0123456789abcdef0"),
    };
    (!is_id(prefix, name)).then(|| Objection::new(format!("`{name}` is not the ID of {what}"), hint))
}

/// Only examines names that begin like that of an EFS file system.
pub(crate) fn file_system(name: &str) -> Option<Objection> {
    let (id, _) = name.strip_prefix("fs-")?.split_once(['.', ':'])?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hint = "write the ID that AWS shows, as in fs-0123456789abcdef0";
    (!is_id).then(|| Objection::new(format!("`fs-{id}` is not the ID of a file system"), hint))
}

/// Letters, digits and single hyphens, with a letter first.
fn is_word_of_rds(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints>
pub(crate) fn database(name: &str) -> Option<Objection> {
    if name.starts_with("arn:") {
        return None;
    }
    let hint = match name.split_once('.') {
        Some((first, rest)) if rest.contains(".rds.") => format!("write its name, not its endpoint: {first}"),
        _ => "use letters, digits and single hyphens, with a letter first".to_owned(),
    };
    (!is_word_of_rds(name, 63)).then(|| Objection::new(format!("`{name}` cannot be the name of an RDS database"), hint))
}

/// Names made by AWS contain an exclamation mark as well, as in `rds!db-…`.
/// Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
pub(crate) fn secret(name: &str) -> Option<Objection> {
    let is_name = (1..=512).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte));
    let hint = "use letters, digits and /_+=.@-, as in prod/shop/db";
    (!name.starts_with("arn:") && !is_name).then(|| Objection::new(format!("`{name}` cannot be the name of a secret"), hint))
}

/// The most levels of a parameter's name, and its maximum length.
const PARAMETER_LEVELS: usize = 15;
const PARAMETER_LENGTH: usize = 1011;

/// A name is a single word, or a path from a slash, whose parts are not empty.
///
/// Source: <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>,
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>
pub(crate) fn parameter(name: &str) -> Option<Objection> {
    if name.starts_with("arn:") {
        return None;
    }
    let (path, version) = name.split_at(name.find(':').unwrap_or(name.len()));
    let (rooted, begin) = (path.starts_with('/'), path.trim_start_matches('/').to_ascii_lowercase());
    // The remainder is the name of a secret.
    if begin.starts_with("aws/reference/secretsmanager/") {
        return None;
    }
    let is_of_aws = ["aws/service/", "aws/reference/"].iter().any(|public| format!("{begin}/").starts_with(public));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let empty = path.split('/').skip(usize::from(rooted)).filter(|part| part.is_empty()).count();
    let hint = if parts.is_empty() || !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte)) {
        "use letters, digits and /_.-, as in /prod/token".to_owned()
    } else if path.contains('/') && !rooted {
        format!("begin it with a slash: /{}{version}", parts.join("/"))
    } else if (begin.starts_with("aws") || begin.starts_with("ssm")) && !is_of_aws {
        "begin it with something other than `aws` and `ssm`, which AWS reserves".to_owned()
    } else if empty > 0 {
        format!("write single slashes, and none at the end: /{}{version}", parts.join("/"))
    } else if parts.len() > PARAMETER_LEVELS || path.len() > PARAMETER_LENGTH {
        format!("use at most {PARAMETER_LEVELS} levels and {PARAMETER_LENGTH} characters")
    } else {
        return None;
    };
    Some(Objection::new(format!("`{name}` cannot be the name of a parameter"), hint))
}

/// A path of parameters: `/` is that of all.
pub(crate) fn parameters(path: &str) -> Option<Objection> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { None } else { parameter(path) }
}

/// The identifier of a snapshot of RDS. Those that RDS and AWS Backup make have a prefix, as in `rds:shop-2024-05-01`.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>
pub(crate) fn database_snapshot(name: &str) -> Option<Objection> {
    let (_, own) = name.split_once(':').filter(|(prefix, _)| matches!(*prefix, "rds" | "awsbackup")).unwrap_or(("", name));
    let is_name = is_word_of_rds(own, 255);
    let hint = "use letters, digits and single hyphens, with a letter first, as in shop-golden; or write its ARN";
    (!name.starts_with("arn:") && !is_name).then(|| Objection::new(format!("`{name}` cannot be the name of an RDS snapshot"), hint))
}

/// The class of a DB instance: `db.`, a family and a size.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Types.html>
pub(crate) fn database_class(name: &str) -> Option<Objection> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let is_size = |text: &str| text.split('.').all(is_part) && text.contains('.');
    let is_class = |name: &str| name.strip_prefix("db.").is_some_and(|rest| rest == "serverless" || is_size(rest));
    let lower = name.to_ascii_lowercase();
    let with_db = if lower.starts_with("db.") { lower } else { format!("db.{lower}") };
    let hint = match Some(with_db).filter(|meant| is_class(meant)) {
        Some(meant) => format!("write `{meant}`"),
        None => "write it with its size, as in db.m7g.large".to_owned(),
    };
    (!is_class(name)).then(|| Objection::new(format!("`{name}` is not the class of an RDS instance"), hint))
}

/// The name of a CloudFormation stack.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html>
pub(crate) fn stack(name: &str) -> Option<Objection> {
    let is_name = (1..=128).contains(&name.len())
        && name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let hint = "use letters, digits and hyphens, with a letter first, as in shop-prod; or write its ARN";
    (!name.starts_with("arn:") && !is_name).then(|| Objection::new(format!("`{name}` cannot be the name of a stack"), hint))
}

/// The logical ID of a resource in a template.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resources-section-structure.html>
pub(crate) fn logical_id(name: &str) -> Option<Objection> {
    let is_id = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let hint = "write its key below `Resources:` in the template: letters and digits, as in WebGroup";
    (!is_id).then(|| Objection::new(format!("`{name}` cannot be the logical ID of a resource"), hint))
}

/// The name of a lifecycle hook.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html>
pub(crate) fn lifecycle_hook(name: &str) -> Option<Objection> {
    let is_name = (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte));
    let hint = "use letters, digits and -_/, as in ready";
    (!is_name).then(|| Objection::new(format!("`{name}` cannot be the name of a lifecycle hook"), hint))
}

/// A KMS key: its ID, an alias, or the ARN of either. A key of several regions has an ID that begins with `mrk-`.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html>,
/// <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html>
pub(crate) fn kms_key(name: &str) -> Option<Objection> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uuid = |text: &str| text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex);
    let is_key = |text: &str| is_uuid(text) || text.strip_prefix("mrk-").is_some_and(|digits| digits.len() == 32 && is_hex(digits));
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte));
    let is_alias = |text: &str| text.strip_prefix("alias/").is_some_and(is_word);
    let of_arn = |arn: &str| {
        let mut parts = arn.splitn(6, ':');
        let (_, service, resource) = (parts.next(), parts.nth(1), parts.nth(2));
        service == Some("kms") && resource.is_some_and(|it| is_alias(it) || it.strip_prefix("key/").is_some_and(is_key))
    };
    let is_good = if name.starts_with("arn:") { of_arn(name) } else { is_key(name) || is_alias(name) };
    let hint = match is_word(name) && !name.starts_with("alias/") {
        true => format!("write `alias/{name}` if that is its alias, or else the ID of the key"),
        false => "write the ID of the key, its alias as in alias/shop, or the ARN of either".to_owned(),
    };
    (!is_good).then(|| Objection::new(format!("`{name}` is not the ID, the alias or the ARN of a KMS key"), hint))
}

/// The owner of a snapshot.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>
pub(crate) fn account(name: &str) -> Option<Objection> {
    let is_account = matches!(name, "self" | "amazon") || name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
    let hint = "write its twelve digits in quotes, as in \"123456789012\", or `self`";
    (!is_account).then(|| Objection::new(format!("`{name}` is not an AWS account"), hint))
}

/// Why this cannot be the name of a bucket. Buckets of `us-east-1` that are older than 2018 may have capitals and
/// underscores; aliases of access points end with `-s3alias`.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(crate) fn bucket(name: &str) -> Option<Objection> {
    let is_end = |character: char| character.is_ascii_alphanumeric();
    let is_word = (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && !name.contains("..");
    let reserved = ["xn--", "sthree-", "amzn-s3-demo-"].into_iter().find(|prefix| name.starts_with(prefix));
    let hint = match reserved {
        _ if name.parse::<std::net::Ipv4Addr>().is_ok() => "write the name of the bucket, not an address".to_owned(),
        Some(prefix) => format!("name a bucket of yours: AWS reserves names that begin with `{prefix}`"),
        None if is_word => return None,
        None => "name a bucket: 3 to 63 letters, digits, hyphens and single dots, with a letter or digit at both ends".to_owned(),
    };
    Some(Objection::new(format!("`{name}` is not the name of a bucket"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Option<Objection>;

    /// Rules, each with names that AWS takes and names that it refuses.
    fn accept_and_refuse<const N: usize>(table: [(Rule, &[&str], &[&str]); N]) {
        for (n, (rule, good, bad)) in table.into_iter().enumerate() {
            assert_eq!(good.iter().filter(|name| rule(name).is_some()).collect::<Vec<_>>(), [&""; 0], "rule {n} refuses");
            assert_eq!(bad.iter().filter(|name| rule(name).is_none()).collect::<Vec<_>>(), [&""; 0], "rule {n} accepts");
        }
    }

    #[test]
    fn knows_what_ec2_and_rds_would_refuse() {
        let long = "a".repeat(64);
        let snapshot: Rule = |name| id("a snapshot", "snap-", name);
        accept_and_refuse([
            (snapshot, &["snap-0123456789abcdef0", "snap-0a1b2c3d"], &["snap-xyz", "vol-0a1b2c3d", "snap-1", "golden"]),
            (
                file_system,
                &["fs-0a1b2c3d.efs.eu-west-1.amazonaws.com:/", "/dev/sdf", "nas:/fs-x"],
                &["fs-xyz.efs.eu-west-1.amazonaws.com:/"],
            ),
            (
                database,
                &["shop-db", "a", "arn:aws:rds:eu-west-1:123456789012:db:shop"],
                &["shop_db", "1a", "a--b", "a-", &long, "a.b.eu-west-1.rds.amazonaws.com"],
            ),
            (
                database_snapshot,
                &["golden", "rds:shop-2024-05-01-03-10", "awsbackup:job-1a", "arn:aws:rds:eu-west-1:123456789012:snapshot:shop", &long],
                &["", "shop_golden", "1a", "a--b", "a-", "shop golden", "other:shop", "rds:"],
            ),
            (
                database_class,
                &["db.m7g.large", "db.serverless", "db.r5.large.tpc2.mem4x", "db.x2iezn.2xlarge", "db.r7i.metal-24xl"],
                &["m7g.large", "db.m7g", "large", "db.M7g.large", "db..large", "db.m7g.large ", ""],
            ),
            (account, &["self", "amazon", "123456789012"], &["", "me", "1234"]),
            (|name| id("a security group", "sg-", name), &["sg-0a1b2c3d"], &["default", "sg-xyz"]),
        ]);
    }

    #[test]
    fn knows_what_other_services_would_refuse() {
        let long = "a".repeat(64);
        let deep = "/a".repeat(16);
        accept_and_refuse([
            (secret, &["prod/db", "a+b=c.d@e_f-g", "arn:aws:x", "rds!db-0a1b2c3d"], &["prod db", "", "a:b"]),
            (
                parameter,
                &["/prod/token:3", "token", "/aws/service/ami", "/aws/service", "/aws/reference/secretsmanager/a+b", "arn:aws:ssm"],
                &["prod/token", "/ssm/a", "/a b", "awsome", "//a", "/a//b", "/a/", "/a/:3", "", "/", &deep],
            ),
            (parameters, &["/prod/", "/prod", "/"], &["/prod//", "//", "prod/shop"]),
            (
                stack,
                &["shop-prod", "S", "arn:aws:cloudformation:eu-west-1:1:stack/a/b"],
                &["", "shop_prod", "1shop", "-a", "shop prod", "shop.prod"],
            ),
            (logical_id, &["WebGroup", "a1"], &["", "web-group", "Web Group"]),
            (lifecycle_hook, &["ready", "a/b_c-1"], &["", "ready hook", "r.b", "ü"]),
            (
                kms_key,
                &[
                    "1234abcd-12ab-34cd-56ef-1234567890ab",
                    "mrk-1234abcd12ab34cd56ef1234567890ab",
                    "alias/shop",
                    "alias/aws/ebs",
                    "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                    "arn:aws-cn:kms:cn-north-1:123456789012:alias/shop",
                ],
                &["shop", "", "1234abcd", "alias/", "alias/a b", "arn:aws:kms:eu-west-1:123456789012:shop", "arn:aws:s3:::shop"],
            ),
            (
                bucket,
                &["shop", "a.b-c", "1shop", "Shop_Old", "my-ap-abc-s3alias", "192.168.1.1.shop"],
                &["r", "", "a..b", "shop-", ".shop", "shop.", "192.168.1.1", "xn--a", "sthree-a", "amzn-s3-demo-bucket", "a b c", &long],
            ),
        ]);
    }

    /// What a hint quotes for a name is itself a good name.
    #[test]
    fn hints_lead_to_names_that_aws_takes() {
        let table: [(Rule, &str, &str); 6] = [
            (parameter, "prod//token", "/prod/token"),
            (parameter, "/prod//token/:3", "/prod/token:3"),
            (database_class, "m7g.large", "db.m7g.large"),
            (database_class, "DB.R6G.XLARGE", "db.r6g.xlarge"),
            (kms_key, "shop", "alias/shop"),
            (database, "shop.a.eu-west-1.rds.amazonaws.com", "shop"),
        ];
        for (rule, bad, good) in table {
            let hint = rule(bad).map(|objection| objection.hint).unwrap_or_default();
            assert!(hint.contains(good) && rule(good).is_none(), "{bad}: {hint}");
        }
    }
}
