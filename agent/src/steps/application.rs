//! `applications:` — the proxy in front of them.

pub(crate) mod proxy;
