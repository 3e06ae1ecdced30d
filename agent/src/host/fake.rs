//! A machine in memory.
