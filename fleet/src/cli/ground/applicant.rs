//! An environment or an edge whose needs are checked.

use crate::aws::Aws;
use crate::cli::operator::Operator;

/// How messages name it, and how to ask AWS for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Applicant<'a> {
    pub(in crate::cli) aws: &'a Aws,
    /// Such as `prod`, or `the edge main`.
    pub(in crate::cli) name: &'a str,
    /// `environment` or `edge`.
    pub(in crate::cli) kind: &'static str,
}

impl<'a> Applicant<'a> {
    pub(super) fn of(operator: &'a Operator) -> Self {
        Self { aws: &operator.aws, name: operator.name(), kind: "environment" }
    }
}
