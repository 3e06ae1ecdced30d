//! Shows a boot to people on stderr: a line for each change and each end, and on a terminal what is being waited for.

use std::cell::RefCell;
use std::io::Write;

use crate::address::Address;
use crate::failure::Explanation;
use crate::report::event::{Event, Listener};
use crate::report::{BootOutcome, Outcome, Report, StepReport, Trouble};
use crate::step::Phase;
use crate::text::{shown, shown_on_a_line};

/// Prints a boot as plain text.
pub(crate) struct Console {
    out: RefCell<Box<dyn Write>>,
    /// The width of the terminal. `None` if the output is not a terminal, and so has no line that can be replaced.
    width: Option<usize>,
}

impl Console {
    pub(crate) fn new(out: Box<dyn Write>, width: Option<usize>) -> Self {
        Self { out: RefCell::new(out), width }
    }

    fn line(&self, line: &str) {
        let clear = if self.width.is_some() { "\r\x1b[K" } else { "" };
        // A failure could not be reported anywhere else.
        let _ = writeln!(self.out.borrow_mut(), "{clear}{}", shown(line));
    }

    /// Replaces the last line of a terminal with what is being waited for.
    fn live(&self, address: &Address, text: &str) {
        if let Some(width) = self.width {
            let line: String = shown_on_a_line(&format!("{address}: {text}")).chars().take(width.saturating_sub(1)).collect();
            let mut out = self.out.borrow_mut();
            let _ = write!(out, "\r\x1b[K{line}");
            let _ = out.flush();
        }
    }
}

impl Listener for Console {
    fn event(&self, step: &StepReport, event: &Event<'_>) {
        let address = &step.address;
        match event {
            Event::Started => {}
            Event::Changing(line) => self.line(&format!("{address}: {line}")),
            Event::Waiting(reason) => self.live(address, &format!("waiting {reason}")),
            Event::Advanced(amount, _) => self.live(address, &format!("reading {amount}")),
            Event::Output(line) => self.line(&format!("{address}| {}", shown_on_a_line(line))),
            Event::Warning(text) => self.line(&format!("{address}: warning: {text}")),
            Event::Retrying { error, pause, .. } => {
                self.line(&format!("{address}: {}; trying again in {:.1} s", one_line(error), pause.as_secs_f64()));
            }
            Event::Finished => match (step.outcome, &step.error) {
                (Outcome::Failed, Some(error)) => {
                    self.line(&format!("{address}: failed: {}", told(error)));
                }
                (Outcome::Skipped, _) => match &step.skipped_for {
                    Some(needs) => self.line(&format!("{address}: skipped: it needs {needs}")),
                    None => self.line(&format!("{address}: skipped")),
                },
                (Outcome::Changed, _) => {
                    let took = step.finished_ms.unwrap_or_default() - step.started_ms.unwrap_or_default();
                    self.line(&format!("{address}: changed in {took:.0} ms"));
                }
                _ => {}
            },
        }
    }

    fn ended(&self, report: &Report) {
        self.line(&summary(report));
    }
}

/// A failure in full: message, causes and hint, each starting on a line of its own.
pub(crate) fn told(trouble: &Trouble) -> String {
    let mut text = trouble.message.clone();
    for cause in &trouble.causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    if let Some(hint) = &trouble.hint {
        text.push_str("\n  hint: ");
        text.push_str(hint);
    }
    text
}

fn one_line(error: &Explanation) -> String {
    std::iter::once(&error.message).chain(&error.causes).flat_map(|part| part.lines().next()).collect::<Vec<_>>().join(": ")
}

/// The boot in one line.
pub(crate) fn summary(report: &Report) -> String {
    let seconds = report.elapsed_ms / 1e3;
    let counts = [Outcome::Changed, Outcome::Unchanged, Outcome::Failed, Outcome::Skipped]
        .into_iter()
        .map(|outcome| (report.count(outcome), outcome.word()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ");
    let counts = match (counts.is_empty(), report.outcome) {
        (true, BootOutcome::Done | BootOutcome::NoDocument) => ": nothing to do".to_owned(),
        (true, _) => String::new(),
        (false, _) => format!(": {counts}"),
    };
    let word = match report.outcome {
        BootOutcome::Running => "running for",
        BootOutcome::Done => "done in",
        BootOutcome::Degraded => "degraded after",
        BootOutcome::Failed => "failed after",
        BootOutcome::NoDocument => "no document after",
    };
    let going_on: Vec<&str> = report.going_on().map(|step| step.address.as_str()).collect();
    let going_on = if going_on.is_empty() { String::new() } else { format!("; still running: {}", going_on.join(", ")) };
    // The rest of the document runs later.
    let phase = if report.phase == Some(Phase::Warm) { ", phase warm" } else { "" };
    format!("{word} {seconds:.3} s{phase}{counts}{going_on}")
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Rc<RefCell<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Regression: a program could clear the screen, or overwrite the line of a failed boot with
    /// that of a successful one.
    #[test]
    fn what_a_program_prints_does_not_act_on_the_terminal() {
        let written = Written::default();
        let console = Console::new(Box::new(written.clone()), None);
        let step = crate::report::timeline::tests::report().steps[0].clone();
        console.event(&step, &Event::Output("a\x1b[2J\rb\x08\u{9b}1A\u{202e}c\nd"));
        console.event(&step, &Event::Changing("write /etc/\x1b]0;x\x07"));
        let text = String::from_utf8(written.0.take()).unwrap();
        let name = &step.address;
        assert_eq!(text, format!("{name}| a\\x1b[2J\\rb\\x08\\u{{9b}}1A\\u{{202e}}c\\nd\n{name}: write /etc/\\x1b]0;x\\x07\n"));
    }
}
