//! Where log lines go: to the journal where there is one, else to stderr.
//!
//! Only ingot's own lines: what libraries log of requests may hold a secret. Nothing in them acts on a terminal: what others
//! said is escaped.

#[cfg(target_os = "linux")]
mod journal;

use crate::cli::output::talk;
use crate::report::journal::TARGET;
use crate::text::shown;

/// Sends log lines to the journal. Whether there is one.
#[cfg(target_os = "linux")]
pub(crate) fn to_journal() -> bool {
    journal::begin().map(|journal| install(Ours(Box::new(journal)))).is_some()
}

/// There is a journal on Linux only.
#[cfg(not(target_os = "linux"))]
pub(crate) fn to_journal() -> bool {
    false
}

/// Sends warnings to stderr. The lines of steps are left out: the console listener prints those.
pub(crate) fn to_stderr() {
    install(Ours(Box::new(Stderr(log::Level::Warn))));
}

/// Sends what goes on to stderr as well, for a command that a person waits for.
pub(crate) fn all_to_stderr() {
    install(Ours(Box::new(Stderr(log::Level::Info))));
}

fn install(logger: Ours) {
    // A second logger of one process is a mistake of ours, and harmless.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Lets only our own lines through.
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

/// Up to a level.
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
