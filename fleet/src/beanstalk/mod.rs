//! What an environment of Elastic Beanstalk says about itself, as an environment of fleet.yaml.
//!
//! Pure: option settings in, a fleet.yaml and the list of what it does not carry out. Namespaces, names and defaults of the
//! options: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/command-options-general.html>

mod carry;
mod draft;
mod options;
mod reading;
mod rest;
mod secretive;
#[cfg(test)]
mod tests;

pub(crate) use self::carry::{Imported, Named, import};
pub(crate) use self::reading::{Described, read};
pub(crate) use self::rest::Left;
