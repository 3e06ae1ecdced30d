//! What can be shown once or repeatedly: redrawn on a terminal, otherwise only what changed, line by line.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::time::sleep;

use super::changes;
use super::layout::{shortened, wrapped};
use super::output::{self, talk};
use super::paint::Line;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Color, Health, unknown};

/// The longest pause between two looks while AWS does not answer.
const LONGEST: Duration = Duration::from_secs(60);

/// What is shown.
pub(super) trait Subject {
    type Sight;

    /// How often it is looked at.
    fn pause(&self) -> Duration;

    async fn look(&self) -> Result<Self::Sight, Failure>;

    /// What could not be read, and why.
    fn unseen<'s>(&self, sight: &'s Self::Sight) -> BTreeSet<&'s str>;

    /// All of it, within this width.
    fn lines(&self, sight: &Self::Sight, width: Option<usize>) -> Vec<Line>;

    fn json(&self, sight: &Self::Sight) -> Json;

    /// The state whose changes are reported: two sights with the same gist need no report.
    fn gist(&self, sight: &Self::Sight) -> Json;

    /// What to report about the second sight.
    fn changes(&self, before: &Self::Sight, now: &Self::Sight) -> Vec<Line>;
}

/// Shows it once.
pub(super) async fn show<S: Subject>(subject: &S, as_json: bool) -> Result<(), Failure> {
    let sight = subject.look().await?;
    subject.unseen(&sight).into_iter().for_each(warn);
    match as_json {
        true => output::json(&subject.json(&sight)),
        false => output::lines(&subject.lines(&sight, output::width())),
    }
    Ok(())
}

/// Shows it until the process is interrupted, or nobody reads its output any more.
pub(super) async fn watch<S: Subject>(subject: &S, as_json: bool) -> Result<(), Failure> {
    let mut view = View { subject, last: None, warned: BTreeSet::new(), silent_since: None, is_drawn: false };
    let mut pace = Pace::new(subject.pause());
    while output::is_read() {
        match subject.look().await {
            Ok(now) => {
                pace.answered();
                view.silent_since = None;
                if !as_json && output::is_terminal() {
                    view.last = Some(now);
                    view.draw(&pace, None);
                } else {
                    view.warn(&now);
                    if as_json { view.put(now) } else { view.append(now) }
                }
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                let is_news = view.silent_since.is_none();
                view.silent_since.get_or_insert_with(Timestamp::now);
                pace.silent();
                if !as_json && output::is_terminal() {
                    view.draw(&pace, Some(&failure));
                } else if is_news {
                    talk(&format!("{}; retrying", failure.sentence()));
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(pace.pause).await;
    }
    Ok(())
}

/// What was shown last.
struct View<'a, S: Subject> {
    subject: &'a S,
    last: Option<S::Sight>,
    warned: BTreeSet<String>,
    silent_since: Option<Timestamp>,
    is_drawn: bool,
}

impl<S: Subject> View<'_, S> {
    fn has_changed(&self, now: &S::Sight) -> bool {
        self.last.as_ref().is_none_or(|last| self.subject.gist(last) != self.subject.gist(now))
    }

    /// Warns of what cannot be read, once for each thing.
    fn warn(&mut self, now: &S::Sight) {
        for unseen in self.subject.unseen(now) {
            if self.warned.insert(unseen.to_owned()) {
                warn(unseen);
            }
        }
    }

    /// Prints one JSON object on a line.
    fn put(&mut self, now: S::Sight) {
        if self.has_changed(&now) {
            output::json(&self.subject.json(&now));
            self.last = Some(now);
        }
    }

    /// Prints everything first, then only what changed.
    fn append(&mut self, now: S::Sight) {
        match &self.last {
            None => output::lines(&self.subject.lines(&now, None)),
            Some(last) if self.has_changed(&now) => {
                let at = Timestamp::now();
                let lines: Vec<Line> = self.subject.changes(last, &now).into_iter().map(|line| changes::at(at, line)).collect();
                if !lines.is_empty() {
                    output::lines(&lines);
                }
            }
            Some(_) => return,
        }
        self.last = Some(now);
    }

    fn draw(&mut self, pace: &Pace, failure: Option<&Failure>) {
        let width = output::width();
        let every = pace.pause.as_secs();
        let mut lines = vec![Line::plain(format!("{}, every {every} s; press Ctrl-C to stop", Timestamp::now().strftime("%F %TZ")))];
        if let (Some(failure), Some(since)) = (failure, self.silent_since) {
            let health = unknown(&format!("no response from AWS since {}: {}", since.strftime("%TZ"), failure.sentence()));
            lines.extend(of_health(&health, width));
        }
        // Only the first line of each: `status` without --watch shows the whole text.
        let unseen = self.last.iter().flat_map(|last| self.subject.unseen(last)).filter_map(|unseen| unseen.lines().next()).map(warning);
        lines.extend(unseen.map(|text| Line::of(Color::Yellow, shortened(&text, width))));
        lines.push(Line::plain(""));
        lines.extend(self.last.iter().flat_map(|last| self.subject.lines(last, width)));
        output::redraw(&lines, !self.is_drawn);
        self.is_drawn = true;
    }
}

fn warning(unseen: &str) -> String {
    format!("warning: {unseen}")
}

fn warn(unseen: &str) {
    talk(&warning(unseen));
}

/// The health of an environment: the worst cause beside the status, the others below.
pub(super) fn of_health(health: &Health, width: Option<usize>) -> Vec<Line> {
    let Health { status, color, causes } = health;
    let mut causes = causes.iter();
    let first = causes.next().map(|cause| format!(": {cause}")).unwrap_or_default();
    let all = std::iter::once(format!("{status} ({color}){first}")).chain(causes.map(|cause| format!("  {cause}")));
    all.flat_map(|text| wrapped(&text, width)).map(|text| Line::of(*color, text)).collect()
}

/// How long to wait until the next look.
#[derive(Debug)]
pub(super) struct Pace {
    usual: Duration,
    pub(super) pause: Duration,
}

impl Pace {
    pub(super) fn new(usual: Duration) -> Self {
        Self { usual, pause: usual }
    }

    pub(super) fn answered(&mut self) {
        self.pause = self.usual;
    }

    /// AWS is busy or unreachable: it is asked less often.
    pub(super) fn silent(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST).max(self.usual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Status;

    #[test]
    fn aws_is_asked_less_often_while_it_does_not_answer() {
        let mut pace = Pace::new(Duration::from_secs(5));
        let mut pauses = Vec::new();
        for _ in 0..5 {
            pace.silent();
            pauses.push(pace.pause.as_secs());
        }
        pace.answered();
        assert_eq!((pauses, pace.pause.as_secs()), (vec![10, 20, 40, 60, 60], 5));
        let mut slow = Pace::new(Duration::from_secs(100));
        slow.silent();
        assert_eq!(slow.pause.as_secs(), 100, "of many environments");
    }

    #[test]
    fn the_worst_cause_follows_the_status() {
        let causes = vec!["1 of 4 instances does not serve".into(), "i-1 is unhealthy: Health checks failed".into()];
        let health = Health { status: Status::Warning, color: Color::Yellow, causes };
        let told = |width| of_health(&health, width).into_iter().map(|line| line.text).collect::<Vec<_>>();
        let first = "Warning (yellow): 1 of 4 instances does not serve";
        assert_eq!(told(None), [first, "  i-1 is unhealthy: Health checks failed"]);
        assert_eq!(
            told(Some(30)),
            ["Warning (yellow): 1 of 4", "instances does not serve", "  i-1 is unhealthy: Health", "  checks failed"]
        );
        let fine = Health { status: Status::Ok, color: Color::Green, causes: Vec::new() };
        assert_eq!(of_health(&fine, None), [Line::of(Color::Green, "Ok (green)")]);
    }
}
