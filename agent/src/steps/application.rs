//! `applications:` — a release that runs.

pub(crate) mod ebextensions;
pub(crate) mod hooks;
pub(crate) mod judge;
pub(crate) mod platforms;
pub(crate) mod procfile;
pub(crate) mod release;
pub(crate) mod remark;
