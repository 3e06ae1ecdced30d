//! `ingot-fleet` as a user runs it, on files in `tests/documents/fleet/` and on some of its own.

#[path = "../cli/blocks.rs"]
mod blocks;
mod check;
mod command_line;
mod config;
mod docs;
#[path = "../cli/fields.rs"]
mod fields;
mod import;
mod orders;
mod program;
mod render;

/// The example application.
const EXAMPLE: [&str; 2] = ["--file", "documents/fleet/fleet.yaml"];
