//! Carries one deployment to its end, for the commands: begins it, or follows one that is under way.

use std::path::Path;

use super::errand::{Asked, Beginning, Errand, Ground};
use super::keep::keep;
use super::operator::Operator;
use super::output::{self, data, talk};
use super::patience::Patience;
use super::reader::Reader;
use super::settle::{Settled, conductor, settled};
use super::watch::Watcher;
use super::{edit, ending, source};
use crate::aws::records::Kept;
use crate::conduct::{Ended, Plan, Tell as _, Until};
use crate::deployment::course::{Phase, Standing};
use crate::deployment::record::{Goal, Kind, State};
use crate::deployment::terms::Terms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

pub(super) async fn carry_out(operator: &Operator, file: &Path, asked: &Asked, patience: Patience, as_json: bool) -> Result<(), Failure> {
    let mut ground = Ground::of(operator).await?;
    let errand = Errand::of(operator, file, asked, &ground).await?;
    if let Some(other) = ground.under_way()
        && (is_orphaned(other, &ground) || !errand.is(&other.record, operator.records().terms(&other.record).await?.as_ref()))
    {
        match settled(operator, &errand.account, other).await? {
            Settled::GoesOn => {}
            Settled::EndedWithFile if asked.kind != Kind::Rollback => return Err(edit::is_taken_back(file)),
            Settled::Ended | Settled::EndedWithFile => ground = Ground::of(operator).await?,
        }
    }
    fits(asked.kind, operator, ground.standing.as_ref(), ground.under_way().is_some())?;
    let followed = match ground.under_way() {
        Some(kept) => Followed::taken_up(&errand, operator, kept.clone()).await?,
        None => match errand.begin(&ground).await? {
            Beginning::Begun(begun) => {
                let (kept, terms) = *begun;
                Followed { goal: kept.record.goal.clone(), kept, terms, is_asked: true, is_taken_up: false }
            }
            Beginning::Taken(kept) => Followed::taken_up(&errand, operator, *kept).await?,
            Beginning::Nothing(_) if asked.kind == Kind::Rollback => return Err(ending::nowhere_back(operator, &asked.release)),
            Beginning::Nothing(guards) => {
                ending::unchanged(operator, &asked.release, &guards, as_json);
                return Ok(());
            }
        },
    };
    let (begun, is_asked) = (followed.kept.record.clone(), followed.is_asked);
    let ended = followed.see_through(operator, &errand.account, patience.until()).await;
    if !matches!(ended, Ok(Ended::StillRunning { .. })) {
        edit::undo(operator, begun.number).await;
    }
    let is_over = matches!(ended, Ok(Ended::With(_)));
    let told = match ended {
        Ok(Ended::With(record)) => ending::told(operator, *record, (!is_asked).then_some(&asked.release), as_json).await,
        Ok(Ended::StillRunning { goes_on }) => Err(ending::still_running(operator, &begun, goes_on, as_json)),
        Err(failure) => Err(failure),
    };
    if is_over || asked.kind == Kind::Rollback {
        keep(operator).await;
    }
    told
}

/// Whether the stack of a deployment is gone.
fn is_orphaned(kept: &Kept, ground: &Ground) -> bool {
    ground.standing.is_none() && !kept.record.may_create()
}

/// A deployment that is followed to its end.
struct Followed {
    kept: Kept,
    terms: Terms,
    /// What it deploys, with the present number of instances.
    goal: Goal,
    /// Whether it is what the user asked for.
    is_asked: bool,
    /// Whether it was under way already.
    is_taken_up: bool,
}

impl Followed {
    /// A deployment that another operator has begun, or this command before it was interrupted. It continues on the
    /// terms it began with, whatever fleet.yaml says now, except for the number of instances.
    async fn taken_up(errand: &Errand<'_>, operator: &Operator, kept: Kept) -> Result<Self, Failure> {
        talk(&format!("{}: following it", kept.record.told()));
        let (record, theirs) = (&kept.record, operator.records().terms(&kept.record).await?);
        let is_asked = errand.is(record, theirs.as_ref());
        let terms = theirs.unwrap_or_else(|| errand.terms(&record.goal, None));
        let goal = Goal { capacity: source::capacity_now(operator, record.goal.capacity).await?, ..record.goal.clone() };
        Ok(Self { kept, terms, goal, is_asked, is_taken_up: true })
    }

    async fn see_through(self, operator: &Operator, account: &Account, until: Until) -> Result<Ended, Failure> {
        let mut record = self.kept.record.clone();
        record.goal = self.goal;
        let plan = Plan::of(operator.stack(), &self.terms, &record);
        let plan = if self.is_taken_up { plan.taken_up() } else { plan };
        let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::of(operator, &record, &plan.wanted));
        let ended = conductor(operator, &witness, &watcher).follow(self.kept, &plan, until).await;
        watcher.look().await;
        ended
    }
}

/// Follows an aborted deployment until everything is as before.
pub(super) async fn see_undone(operator: &Operator, kept: Kept, as_json: bool) -> Result<(), Failure> {
    let account = operator.account(&operator.aws.caller().await?).await?;
    let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::back(operator));
    let ended = conductor(operator, &witness, &watcher).undo(kept, &operator.stack()).await?;
    watcher.look().await;
    let Ended::With(record) = ended else { unreachable!("an undo has no deadline") };
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    edit::undo(operator, record.number).await;
    keep(operator).await;
    match record.state {
        State::Good => Err(Failure::new(Exit::Failed, format!("it was too late to abort deployment {}: it has succeeded", record.number))
            .hint(format!("undo it with `ingot-fleet rollback {}`", operator.called()))),
        _ => Ok(()),
    }
}

/// Refuses a command that does not fit the state of the environment.
pub(super) fn fits(kind: Kind, operator: &Operator, standing: Option<&Standing>, goes_on: bool) -> Result<(), Failure> {
    let name = operator.name();
    match (kind, standing) {
        (Kind::Deploy | Kind::Rollback, None) => Err(Failure::new(Exit::Usage, format!("{name} has not been created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`"))),
        // A record would block the next command once the stack is repaired: what it asks for may be long out of date.
        (_, Some(standing)) if !goes_on => match standing.phase() {
            Phase::Stuck(stuck) => {
                let (what, hint) = stuck.way_out(&operator.stack(), operator.called());
                Err(Failure::new(Exit::Failed, format!("the stack {} cannot be updated", operator.stack())).why(what).hint(hint))
            }
            _ if kind == Kind::Create && standing.output("Group").is_some() => {
                Err(Failure::new(Exit::Usage, format!("{name} already exists: its stack is in {}", standing.status))
                    .hint(format!("run `ingot-fleet deploy {name} --release RELEASE`")))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
