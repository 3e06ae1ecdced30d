//! Converts an Elastic Beanstalk environment to an environment of fleet.yaml.
//!
//! Pure: the input is option settings, the output a fleet.yaml and a list of what it does not cover. Namespaces, names
//! and defaults of the options: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/command-options-general.html>

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
