//! The dry run: a boot on a machine in memory.

pub(crate) mod desk;
