//! Log lines in the systemd journal: on Linux only.

use log::kv::{self, Key, Value, VisitSource};
use systemd_journal_logger::JournalLog;

use crate::host::outlet::Outlet;

/// The identifier by which `journalctl -t` finds ingot's lines.
const IDENTIFIER: &str = "ingot";

/// Opens the journal. `None` if there is none.
pub(super) fn begin() -> Option<Beside> {
    let journal = JournalLog::new().ok()?.with_syslog_identifier(IDENTIFIER.to_owned());
    Outlet::begin(move |entry: Entry| entry.log(&journal)).ok().map(Beside)
}

/// Sends to the journal on a separate thread, because the journal may wait for a disk.
pub(super) struct Beside(Outlet<Entry>);

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

/// An owned copy of a record, to send to another thread.
pub(super) struct Entry {
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
        // Fails only if a visit fails, and none does.
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
