//! How systemd's programs are called: in English and without a pager.

use std::time::Duration;

use super::super::commands::{Invocation, SEARCH_PATH};
use crate::text::SecretText;

pub(super) fn invocation(argv: &[&str], timeout: Duration) -> Invocation {
    let variables = [("PATH", SEARCH_PATH), ("LC_ALL", "C"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_PAGER", "")];
    Invocation {
        argv: argv.iter().copied().map(SecretText::from).collect(),
        environment: variables.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        directory: "/".into(),
        user: None,
        timeout,
        lease: None,
    }
}
