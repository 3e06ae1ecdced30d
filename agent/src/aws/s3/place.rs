//! The URL of an S3 object, by bucket and region, in every partition.
//!
//! Source: <https://docs.aws.amazon.com/general/latest/gr/s3.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::aws::client::endpoint::{self, EndpointError, Variant};

/// The URL of an object. `own` is the endpoint that the user configured, if any.
pub(super) async fn url(
    bucket: &str,
    key: &str,
    version_id: Option<&str>,
    region: &str,
    variables: &BTreeMap<String, String>,
    own: Option<&str>,
) -> Result<String, EndpointError> {
    let variant = Variant::of(variables)?;
    let base = match own {
        // The same rules reject variants that cannot be combined with a custom endpoint.
        Some(_) => endpoint::resolve(super::SERVICE.name, region, variant, own).await?,
        None => of_region(region, variant).await?,
    };
    let (scheme, host) = base.split_once("://").unwrap_or(("https", &base));
    let host = host.trim_end_matches('/');
    let query = version_id.map_or_else(String::new, |version| format!("?versionId={}", encoded(version, "")));
    let key = encoded(key, "/");
    // A wildcard certificate does not cover a bucket name that contains a dot.
    Ok(match own.is_some() || !is_label(bucket) {
        true => format!("{scheme}://{host}/{bucket}/{key}{query}"),
        false => format!("{scheme}://{bucket}.{host}/{key}{query}"),
    })
}

/// S3 has its own host names for FIPS and dual stack; the partition's domain is the same as for all other services.
async fn of_region(region: &str, variant: Variant) -> Result<String, EndpointError> {
    let plain = endpoint::resolve(super::SERVICE.name, region, Variant::default(), None).await?;
    let Some((_, domain)) = plain.split_once(region) else { return Ok(plain) };
    let fips = if variant.fips { "-fips" } else { "" };
    let dual_stack = if variant.dual_stack { ".dualstack" } else { "" };
    Ok(format!("https://s3{fips}{dual_stack}.{region}{domain}"))
}

fn is_label(bucket: &str) -> bool {
    bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Percent-encodes as signatures require: everything except unreserved characters and those in `kept`.
fn encoded(text: &str, kept: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            true => encoded.push(byte.into()),
            false => write!(encoded, "%{byte:02X}").expect("a string takes all"),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use crate::aws::client::endpoint::{USE_DUAL_STACK, USE_FIPS};

    use super::*;

    async fn at(region: &str, switches: &[&str]) -> String {
        let variables = switches.iter().map(|name| ((*name).to_owned(), "true".to_owned())).collect();
        url("shop", "k", None, region, &variables, None).await.unwrap()
    }

    #[tokio::test]
    async fn knows_every_partition_and_variant() {
        let table: [(&str, &[&str], &str); 9] = [
            ("eu-central-1", &[], "shop.s3.eu-central-1.amazonaws.com"),
            ("us-east-1", &[], "shop.s3.us-east-1.amazonaws.com"),
            ("eu-central-1", &[USE_DUAL_STACK], "shop.s3.dualstack.eu-central-1.amazonaws.com"),
            ("us-east-1", &[USE_FIPS], "shop.s3-fips.us-east-1.amazonaws.com"),
            ("us-east-1", &[USE_FIPS, USE_DUAL_STACK], "shop.s3-fips.dualstack.us-east-1.amazonaws.com"),
            ("us-gov-west-1", &[USE_FIPS], "shop.s3-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", &[USE_DUAL_STACK], "shop.s3.dualstack.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", &[], "shop.s3.us-iso-east-1.c2s.ic.gov"),
            ("eusc-de-east-1", &[], "shop.s3.eusc-de-east-1.amazonaws.eu"),
        ];
        for (region, switches, host) in table {
            assert_eq!(at(region, switches).await, format!("https://{host}/k"), "{region} {switches:?}");
        }
    }

    #[tokio::test]
    async fn names_the_object_as_it_is_signed() {
        let none = BTreeMap::new();
        let odd = url("shop", "a b/ü+(1)~.zip", Some("v/1"), "eu-west-1", &none, None).await.unwrap();
        assert_eq!(odd, "https://shop.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%2B%281%29~.zip?versionId=v%2F1");
        let dotted = url("my.shop", "k", None, "eu-west-1", &none, None).await.unwrap();
        assert_eq!(dotted, "https://s3.eu-west-1.amazonaws.com/my.shop/k");
        let own = url("shop", "k", None, "eu-west-1", &none, Some("http://127.0.0.1:5000/")).await.unwrap();
        assert_eq!(own, "http://127.0.0.1:5000/shop/k");
    }
}
