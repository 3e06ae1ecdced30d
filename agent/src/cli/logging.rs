//! Where log lines go: to the journal where there is one, else to stderr.
//!
//! Only ingot's own lines: what libraries log of requests may hold a secret. Nothing in them acts on a terminal: what others
//! said is escaped.

use log::kv::{self, Key, Value, VisitSource};
use systemd_journal_logger::JournalLog;

use crate::cli::output::talk;
use crate::host::outlet::Outlet;
use crate::report::journal::TARGET;
use crate::text::shown;

/// The name under which `journalctl -t` finds us.
const IDENTIFIER: &str = "ingot";

/// Sends log lines to the journal. Whether there is one.
pub(crate) fn to_journal() -> bool {
    let Ok(journal) = JournalLog::new() else { return false };
    let journal = journal.with_syslog_identifier(IDENTIFIER.to_owned());
    let Ok(outlet) = Outlet::begin(move |entry: Entry| entry.log(&journal)) else { return false };
    install(Ours(Box::new(Beside(outlet))));
    true
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

/// Sends to the journal, which may wait for a disk, on a thread beside.
struct Beside(Outlet<Entry>);

impl log::Log for Beside {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let entry = Entry::of(record);
        let length = entry.message.len();
        self.0.put(entry, length);
    }

    fn flush(&self) {}
}

/// What a record says, for another thread.
struct Entry {
    level: log::Level,
    target: String,
    message: String,
    module: Option<&'static str>,
    file: Option<&'static str>,
    line: Option<u32>,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn of(record: &log::Record<'_>) -> Self {
        struct Fields(Vec<(String, String)>);

        impl<'kvs> VisitSource<'kvs> for Fields {
            fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
                self.0.push((key.to_string(), value.to_string()));
                Ok(())
            }
        }

        let mut fields = Fields(Vec::new());
        // Fails only if a visit does.
        let _ = record.key_values().visit(&mut fields);
        Self {
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
            module: record.module_path_static(),
            file: record.file_static(),
            line: record.line(),
            fields: fields.0,
        }
    }

    fn log(&self, journal: &JournalLog) {
        let fields: Vec<(&str, &str)> = self.fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut record = log::Record::builder();
        record.level(self.level).target(&self.target).line(self.line).key_values(&fields);
        record.module_path_static(self.module).file_static(self.file);
        log::Log::log(journal, &record.args(format_args!("{}", self.message)).build());
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
