//! Elastic Container Registry: which registry an image belongs to, and the password with which container engines pull
//! from it.

pub(super) mod live;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, Service};
use crate::text::SecretText;

/// The name of ECR in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service::plain("ecr");

/// ECR, in one region.
#[async_trait(?Send)]
pub(crate) trait Registries {
    /// GetAuthorizationToken: base64 of `AWS:PASSWORD`, the form that registries accept. It is valid for twelve hours
    /// for every registry of the region that the role may read, including those of other accounts.
    async fn token(&self, registry: &Registry) -> Result<SecretText, AwsError>;
}

/// The domains of AWS's partitions. A password is sent to no other host, whatever its name begins with.
///
/// Source: the partitions of the SDKs (`dnsSuffix` and `dualStackDnsSuffix`).
const DOMAINS: [&str; 11] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "on.amazonwebservices.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "csp.hci.ic.gov",
    "cloud.adc-e.uk",
    "api.aws",
];

/// An ECR registry, identified by its host.
///
/// Source: <https://docs.aws.amazon.com/general/latest/gr/ecr.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) host: String,
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Registry {
    /// `None` if the host is not an ECR registry, such as `public.ecr.aws`, which needs no password.
    pub(crate) fn parse(host: &str) -> Option<Self> {
        let name = host.to_ascii_lowercase();
        let mut labels = name.split('.');
        let account = labels.next().filter(|account| account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()))?;
        let region = match (labels.next()?, labels.next()?) {
            ("dkr", "ecr" | "ecr-fips") => labels.next()?,
            ("dkr-ecr" | "dkr-ecr-fips", region) => region,
            _ => return None,
        };
        let is_region = region.contains('-') && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let domain = labels.collect::<Vec<_>>().join(".");
        (is_region && DOMAINS.contains(&domain.as_str())).then(|| Self {
            host: host.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_every_partition_are_known() {
        for (host, region) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1"),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("123456789012.dkr-ecr.us-east-1.on.aws", "us-east-1"),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ] {
            let registry = Registry::parse(host).unwrap();
            assert_eq!((registry.account.as_str(), registry.region.as_str()), ("123456789012", region), "{host}");
        }
        for host in ["123456789012.dkr.ecr.eu-west-1.evil.example", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example"] {
            assert_eq!(Registry::parse(host), None, "{host}");
        }
        for host in ["public.ecr.aws", "docker.io", "1234.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.eu-west-1", "localhost"] {
            assert_eq!(Registry::parse(host), None, "{host}");
        }
    }
}
