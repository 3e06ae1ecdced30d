//! Boots on a machine and an AWS in memory, each to an end that is named.

mod before;
mod phases;
mod signals;
mod site;
mod whole;
