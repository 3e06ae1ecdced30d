//! `addresses:` — an elastic IP address that moves to this instance once it serves.
//!
//! ```yaml
//! addresses:
//!   public: { elastic_ip: eipalloc-0123456789abcdef0 }
//! ```
//!
//! Until then, the current holder of the address keeps it and answers requests. Every boot checks the association, and
//! changes nothing if this instance already has the address. The address is associated with the primary private IP.
//! ingot neither allocates nor releases addresses.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::aws::AwsError;
use crate::aws::ec2::{ElasticAddress, Here};
use crate::failure::{Failure, Objection};
use crate::step::{AsksAws, Context, Order, Outputs, Phase, Shape, Step};
use crate::template::TemplateError;
use crate::text::Text;

/// Retries stop after as long as for any other call to AWS.
const PATIENCE: Duration = Duration::from_secs(600);

/// Prefix of every allocation ID.
const PREFIX: &str = "eipalloc-";

/// An elastic IP address, associated with this instance once applications and services are ready.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ElasticIp {
    /// Allocation ID of the address, such as `eipalloc-0123456789abcdef0`.
    elastic_ip: Text,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    allocation: String,
    public_ip: String,
    /// The instance that has it, or else the network interface.
    from: Option<String>,
    /// The primary network interface.
    to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allocation, public_ip, from, .. } = self;
        match from {
            Some(holder) => write!(f, "move {public_ip} ({allocation}) from {holder} to this instance"),
            None => write!(f, "associate {public_ip} ({allocation}) with this instance"),
        }
    }
}

impl Step for ElasticIp {
    type Change = Change;
    type Error = AddressError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        shown(&self.elastic_ip)
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: vec![&self.elastic_ip],
            order: Order::AfterServices,
            // An instance in a warm pool serves no requests, so it must not take the address.
            phase: Phase::Serve,
            patience: PATIENCE,
            // A second address would replace the first on the primary network interface.
            only_one: Some("moves to the primary network interface"),
            asks_aws: AsksAws::Always,
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        let text = &self.elastic_ip;
        if secret {
            return vec![Objection::new("the ID of an address cannot be a secret", "everybody may see it: write it into the document")];
        }
        if text.is_plain() && !text.raw().starts_with(PREFIX) { vec![malformed(text.raw())] } else { Vec::new() }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, AddressError> {
        let allocation = cx.render(&self.elastic_ip).map_err(AddressError::Render)?.expose().to_owned();
        if !allocation.starts_with(PREFIX) && cx.placeholder().is_none() {
            return Err(AddressError::Malformed(malformed(&allocation)));
        }
        let ec2 = &cx.world.aws.ec2;
        cx.asking(format!("for EC2 to show {allocation}"));
        let address = cx.unthrottled(|| ec2.address(&allocation)).await.map_err(AddressError::Aws)?;
        let here = ec2.here().await.map_err(AddressError::Aws)?;
        let primary = ec2.primary_interface().await.map_err(AddressError::Aws)?;
        Ok(change(allocation, address, &here, primary).into_iter().collect())
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), AddressError> {
        let ec2 = &cx.world.aws.ec2;
        cx.asking(format!("for EC2 to {change}"));
        cx.unthrottled(|| ec2.associate_address(&change.allocation, &change.to)).await.map_err(AddressError::Aws)
    }

    async fn outputs(&self, _cx: &Context<'_>) -> Result<Outputs, AddressError> {
        Ok(Outputs::default())
    }
}

fn change(allocation: String, address: ElasticAddress, here: &Here, primary: String) -> Option<Change> {
    let ElasticAddress { public_ip, instance, interface, private_ip } = address;
    let is_here = instance.as_ref() == Some(&here.instance);
    // Only the primary address is sure to be configured in the guest, and it is also the source of outgoing traffic.
    let secondary = private_ip.filter(|private_ip| *private_ip != here.private_ip && !here.private_ip.is_empty());
    let from = match (interface, secondary) {
        (Some(interface), None) if is_here && interface == primary => return None,
        (Some(interface), Some(secondary)) if is_here && interface == primary => Some(format!("its address {secondary}")),
        (Some(interface), _) if is_here => Some(format!("its interface {interface}")),
        (interface, _) => instance.or(interface),
    };
    Some(Change { allocation, public_ip, from, to: primary })
}

fn malformed(id: &str) -> Objection {
    Objection::new(
        format!("`{id}` is not the allocation ID of an elastic IP address"),
        "give its AllocationId, as in eipalloc-0123456789abcdef0: `aws ec2 describe-addresses` shows it",
    )
}

/// Why the address is not associated with this instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("cannot fill in the ID of the address")]
    Render(#[source] TemplateError),
    #[error("{}", .0.message)]
    Malformed(Objection),
    #[error(transparent)]
    Aws(AwsError),
}

impl Failure for AddressError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::Malformed(objection) => Some(objection.hint.clone()),
            Self::Aws(error) => error.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_transient())
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_unreachable())
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Self::Aws(error) = self { error.retry_after() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(instance: Option<&str>, interface: Option<&str>) -> Option<String> {
        line_at(instance, interface, "10.0.0.7")
    }

    fn line_at(instance: Option<&str>, interface: Option<&str>, private_ip: &str) -> Option<String> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (public_ip, private_ip) = ("203.0.113.7".into(), interface.map(|_| private_ip.to_owned()));
        let address = ElasticAddress { public_ip, instance: owned(instance), interface: owned(interface), private_ip };
        let here = Here { instance: "i-0".into(), zone: "eu-central-1a".into(), private_ip: "10.0.0.7".into() };
        change("eipalloc-1".into(), address, &here, "eni-0".into()).map(|change| change.to_string())
    }

    #[test]
    fn says_from_whom_it_is_taken() {
        assert_eq!(line(None, None).unwrap(), "associate 203.0.113.7 (eipalloc-1) with this instance");
        assert_eq!(line(Some("i-1"), Some("eni-1")).unwrap(), "move 203.0.113.7 (eipalloc-1) from i-1 to this instance");
        assert_eq!(line(None, Some("eni-1")).unwrap(), "move 203.0.113.7 (eipalloc-1) from eni-1 to this instance");
    }

    #[test]
    fn stays_where_it_is_if_that_is_here() {
        assert_eq!(line(Some("i-0"), Some("eni-0")), None);
        let elsewhere = "move 203.0.113.7 (eipalloc-1) from its interface eni-9 to this instance";
        assert_eq!(line(Some("i-0"), Some("eni-9")).unwrap(), elsewhere);
        let secondary = "move 203.0.113.7 (eipalloc-1) from its address 10.0.0.9 to this instance";
        assert_eq!(line_at(Some("i-0"), Some("eni-0"), "10.0.0.9").unwrap(), secondary);
    }

    #[test]
    fn what_is_not_an_id_is_a_mistake() {
        let objections = |id: &str| ElasticIp { elastic_ip: Text::new(id) }.objections("public", false);
        assert!(objections("eipalloc-1").is_empty() && objections("{{values.address}}").is_empty());
        assert_eq!(objections("203.0.113.7")[0].message, "`203.0.113.7` is not the allocation ID of an elastic IP address");
    }
}
