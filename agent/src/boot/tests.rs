//! Tests of the conductor, on a machine and an AWS in memory.

mod before;
mod phases;
mod signals;
mod site;
mod whole;
