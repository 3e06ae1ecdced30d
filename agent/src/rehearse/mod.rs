//! The dry run: a boot on a machine in memory.

pub(crate) mod desk;
pub(crate) mod given;
pub(crate) mod prepare;
