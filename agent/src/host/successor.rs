//! Replaces this process by another program.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

/// Limit in bytes, larger than the environment of a program can be.
const INPUT_LIMIT: u64 = 8 << 20;

/// Reads all of standard input.
///
/// # Errors
///
/// If it cannot be read, or is longer than what a program can be given.
pub(crate) fn input() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(INPUT_LIMIT).read_to_string(&mut text)?;
    if text.len() as u64 == INPUT_LIMIT { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// An environment variable of this process.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Executes another program in this process, with `variables` added to this process's environment, overriding equal
/// names, and without input.
///
/// # Errors
///
/// The reason if that failed. It returns only in that case.
pub(crate) fn become_program(argv: &[String], variables: &BTreeMap<String, String>) -> io::Result<Infallible> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Err(Command::new(program).args(arguments).envs(variables).stdin(Stdio::null()).exec())
}
