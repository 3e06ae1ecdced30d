//! `ingot-fleet status` of all environments: one line each.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value as Json, json};

use super::layout::{Row, table};
use super::look::{Look, Looker};
use super::operator::Operator;
use super::paint::Line;
use super::subject::Subject;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Health, Status, unknown};

/// How many environments are looked at in parallel.
const AT_ONCE: usize = 4;

/// How often this many environments are looked at.
const PAUSE: Duration = Duration::from_secs(5);

const HEADER: [&str; 5] = ["ENVIRONMENT", "HEALTH", "RELEASE", "INSTANCES", "DEPLOYMENT"];

/// All environments of fleet.yaml.
pub(super) struct Overview<'a>(Vec<Looker<'a>>);

/// What was seen of one environment.
pub(super) enum Glance {
    Seen(Box<Look>),
    /// Why nothing was seen.
    Unseen(Health),
}

impl<'a> Overview<'a> {
    pub(super) fn new(operators: &'a [Operator]) -> Self {
        Self(operators.iter().map(Looker::new).collect())
    }

    fn all<'s>(&'s self, sight: &'s [Glance]) -> impl Iterator<Item = (&'s str, &'s Glance)> {
        self.0.iter().map(|looker| looker.operator.name()).zip(sight)
    }
}

impl Glance {
    fn health(&self) -> &Health {
        match self {
            Self::Seen(look) => &look.health,
            Self::Unseen(health) => health,
        }
    }

    fn look(&self) -> Option<&Look> {
        if let Self::Seen(look) = self { Some(look) } else { None }
    }

    fn row(&self, name: &str) -> Row {
        let Health { status, color, causes } = self.health();
        let of_stack = |name: &str| self.look().and_then(|look| look.standing.as_ref()?.parameter(name)).unwrap_or("-").to_owned();
        let instances = self.look().and_then(|look| Some(format!("{}/{}", look.serving(), look.capacity?.desired)));
        let cells = vec![
            name.to_owned(),
            status.to_string(),
            of_stack("Release"),
            instances.unwrap_or_else(|| "-".to_owned()),
            of_stack("Deployment"),
        ];
        Row { cells, note: causes.first().filter(|_| *status != Status::Ok).cloned(), color: Some(*color) }
    }
}

impl Subject for Overview<'_> {
    type Sight = Vec<Glance>;

    fn pause(&self) -> Duration {
        PAUSE * u32::try_from(self.0.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX)
    }

    async fn look(&self) -> Result<Vec<Glance>, Failure> {
        let looks = stream::iter(&self.0).map(|looker| looker.look()).buffered(AT_ONCE);
        let looks: Vec<Result<Look, Failure>> = looks.collect().await;
        let glance = |look: Result<Look, Failure>| match look {
            Ok(look) => Ok(Glance::Seen(Box::new(look))),
            Err(failure) if failure.exit == Exit::Unreachable => Err(failure),
            // The other environments are shown all the same.
            Err(failure) => Ok(Glance::Unseen(unknown(&failure.sentence()))),
        };
        looks.into_iter().map(glance).collect()
    }

    fn unseen<'s>(&self, sight: &'s Vec<Glance>) -> BTreeSet<&'s str> {
        sight.iter().filter_map(Glance::look).flat_map(|look| &look.unseen).map(String::as_str).collect()
    }

    fn lines(&self, sight: &Vec<Glance>, width: Option<usize>) -> Vec<Line> {
        table(&HEADER, width, 1, |_| self.all(sight).map(|(name, glance)| glance.row(name)).collect())
    }

    fn json(&self, sight: &Vec<Glance>) -> Json {
        let one = |(looker, glance): (&Looker<'_>, &Glance)| match glance {
            Glance::Seen(look) => look.json(looker.operator.name(), &looker.operator.stack()),
            Glance::Unseen(health) => json!({ "version": 1, "environment": looker.operator.name(), "health": health }),
        };
        json!({ "version": 1, "environments": self.0.iter().zip(sight).map(one).collect::<Vec<_>>() })
    }

    fn gist(&self, sight: &Vec<Glance>) -> Json {
        sight.iter().map(|glance| glance.look().map_or_else(|| json!(glance.health()), Look::gist)).collect()
    }

    fn changes(&self, before: &Vec<Glance>, now: &Vec<Glance>) -> Vec<Line> {
        let rows = before.iter().zip(self.all(now)).map(|(before, (name, now))| (before.row(name), now.row(name)));
        let changed = rows.filter(|(before, now)| before.cells != now.cells);
        let told = |row: Row| {
            let note = row.note.map(|note| format!("  {note}")).unwrap_or_default();
            Line { text: format!("{}{note}", row.cells.join("  ")), color: row.color }
        };
        changed.map(|(_, now)| told(now)).collect()
    }
}
