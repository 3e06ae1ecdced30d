//! Everything that a boot outputs: events, console, log.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::sync::Once;

use crate::boot::{Audience, Ending};
use crate::document::error::DocumentError;
use crate::failure::Explanation;
use crate::report::console::Console;
use crate::report::event::{Event, Listener};
use crate::report::journal::Journal;
use crate::report::{Report, StepReport};

/// A listener that records everything it receives, and the output of other listeners.
#[derive(Debug, Clone, Default)]
pub(super) struct Transcript(Rc<RefCell<String>>);

impl Transcript {
    /// The output of this boot so far, and the log of this test.
    pub(super) fn text(&self) -> String {
        let logged = LOG.with_borrow(Clone::clone);
        format!("{}\n{logged}", self.0.borrow())
    }
}

impl Audience for Transcript {
    /// All listeners of a boot, with their output recorded here.
    fn listeners(&self) -> Vec<Box<dyn Listener>> {
        listen_to_log();
        let console = |width| Box::new(Console::new(Box::new(self.clone()), width));
        vec![Box::new(self.clone()), console(None), console(Some(4000)), Box::<Journal>::default()]
    }

    fn say(&self, line: &str) {
        assert!(!line.starts_with("warning: "), "the report cannot be written: {line}");
        writeln!(self.0.borrow_mut(), "{line}").unwrap();
    }

    fn mistakes(&self, error: &DocumentError) {
        self.say(&error.to_string());
    }

    fn failed(&self, error: &Explanation) {
        self.say(&error.to_string());
    }

    fn over(&self, report: &Report, _: &Ending) {
        self.say(&serde_json::to_string(report).unwrap());
    }
}

impl Listener for Transcript {
    fn event(&self, step: &StepReport, event: &Event<'_>) {
        writeln!(self.0.borrow_mut(), "{event:?} {step:?}").unwrap();
        if let Event::Retrying { error, .. } = event {
            writeln!(self.0.borrow_mut(), "{error}").unwrap();
        }
    }

    fn ended(&self, report: &Report) {
        writeln!(self.0.borrow_mut(), "{report:?}").unwrap();
    }
}

impl io::Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// The log of one test: each test has its own thread.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

fn listen_to_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A process can have only one logger, and no other test sets one.
        log::set_logger(&ThreadLog).expect("the first logger of the tests");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

struct ThreadLog;

impl log::Log for ThreadLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Fields<'a>(&'a mut String);
        impl<'kvs> log::kv::VisitSource<'kvs> for Fields<'_> {
            fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
                write!(self.0, " {key}={value}").map_err(log::kv::Error::from)
            }
        }
        LOG.with_borrow_mut(|log| {
            writeln!(log, "{} {} {}", record.level(), record.target(), record.args()).unwrap();
            record.key_values().visit(&mut Fields(log)).unwrap();
        });
    }

    fn flush(&self) {}
}
