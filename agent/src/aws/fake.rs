//! AWS, in memory.
