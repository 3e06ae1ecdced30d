//! Where log lines go: to the journal if there is one, else to stderr.
//!
//! Only ingot's own lines are logged, because libraries log requests, which may hold a secret. Text from other programs
//! is escaped, so that nothing in a line acts on a terminal.

#[cfg(target_os = "linux")]
mod journal;

use crate::cli::output::talk;
use crate::report::journal::TARGET;
use crate::text::shown;

/// Sends log lines to the journal. Returns whether there is one.
#[cfg(target_os = "linux")]
pub(crate) fn to_journal() -> bool {
    journal::begin().map(|journal| install(Ours(Box::new(journal)))).is_some()
}

/// The journal exists on Linux only.
#[cfg(not(target_os = "linux"))]
pub(crate) fn to_journal() -> bool {
    false
}

/// Sends warnings to stderr. The lines of steps are left out: the console listener prints those.
pub(crate) fn to_stderr() {
    install(Ours(Box::new(Stderr(log::Level::Warn))));
}

/// Sends progress to stderr as well, for a command that a person waits for.
pub(crate) fn all_to_stderr() {
    install(Ours(Box::new(Stderr(log::Level::Info))));
}

fn install(logger: Ours) {
    // Setting a second logger is a bug of ours, and harmless.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Lets only ingot's own lines through.
struct Ours(Box<dyn log::Log>);

impl log::Log for Ours {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().split("::").next() == Some("ingot") && self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string();
            self.0.log(&record.to_builder().args(format_args!("{}", shown(&line))).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Writes lines of this level and more severe ones.
struct Stderr(log::Level);

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= self.0 && metadata.target() != TARGET
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            match record.level() {
                log::Level::Info => talk(&record.args().to_string()),
                level => talk(&format!("{}: {}", level.as_str().to_lowercase(), record.args())),
            }
        }
    }

    fn flush(&self) {}
}
