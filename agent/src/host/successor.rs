//! The program that this process becomes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

/// More than the variables of one program may be, in bytes.
const INPUT_LIMIT: u64 = 8 << 20;

/// All of the standard input.
///
/// # Errors
///
/// If it cannot be read, or is longer than what a program can be given.
pub(crate) fn input() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(INPUT_LIMIT).read_to_string(&mut text)?;
    if text.len() as u64 == INPUT_LIMIT { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// A variable that this process was given.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Becomes another program, with `variables` beside or in place of those of this process, and no input.
///
/// # Errors
///
/// Why it could not. It returns only then.
pub(crate) fn become_program(argv: &[String], variables: &BTreeMap<String, String>) -> io::Result<Infallible> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Err(Command::new(program).args(arguments).envs(variables).stdin(Stdio::null()).exec())
}
