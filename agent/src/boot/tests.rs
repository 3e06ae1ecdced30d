//! Tests of the conductor, on a machine and an AWS in memory.

mod back;
mod before;
mod behind;
mod due;
mod phases;
mod release;
mod signals;
mod site;
mod told;
mod whole;
