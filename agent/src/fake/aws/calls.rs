//! The calls that AWS in memory has received.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::aws::AwsError;
use crate::aws::client::call::Call;
use crate::aws::client::error::Service;

/// The calls made so far, and the failures planned for the next ones.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: RefCell<BTreeMap<&'static str, usize>>,
    #[cfg(test)]
    pub(super) throttle: std::cell::Cell<usize>,
    /// Names that may not be read, and actions that may not be called.
    #[cfg(test)]
    pub(super) denied: std::collections::BTreeSet<String>,
}

impl Calls {
    /// Counts a call, and yields to the runtime once, as a real call does.
    pub(super) async fn begin(&self, service: &'static Service, operation: &'static str, names: &[String]) -> Result<(), AwsError> {
        *self.made.borrow_mut().entry(operation).or_default() += 1;
        tokio::task::yield_now().await;
        self.refusal(&Call::new(service, operation, names.join(", ")), names)
    }

    #[cfg(not(test))]
    pub(super) fn refusal(&self, _: &Call, _: &[String]) -> Result<(), AwsError> {
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn refusal(&self, call: &Call, names: &[String]) -> Result<(), AwsError> {
        if let Some(left) = self.throttle.get().checked_sub(1) {
            self.throttle.set(left);
            let code = if call.service == crate::aws::ec2::SERVICE { "RequestLimitExceeded" } else { "ThrottlingException" };
            return Err(call.refused(Some(code), Some("Rate exceeded"), Some(400)));
        }
        // As at AWS: GetParameters fails as a whole, BatchGetSecretValue reports errors per secret.
        let of_names = call.operation != "BatchGetSecretValue" && names.iter().any(|name| self.denied.contains(name));
        if of_names || self.denied.contains(call.operation) {
            return Err(call.refused(Some("AccessDeniedException"), Some("no identity-based policy allows it"), Some(400)));
        }
        Ok(())
    }

    pub(super) fn count(&self, operation: &str) -> usize {
        self.made.borrow().get(operation).copied().unwrap_or_default()
    }
}
