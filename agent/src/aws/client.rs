//! What every call to AWS and to the instance metadata service goes through, whatever the service.

mod ahead;
pub(crate) mod classify;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod exchanges;
pub(crate) mod http;
pub(in crate::aws) mod query;
pub(in crate::aws) mod signing;
pub(in crate::aws) mod skew;
