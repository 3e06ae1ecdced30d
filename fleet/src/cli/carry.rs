//! One deployment as the verbs have it: what is asked, against what there is; its record, and its end.

use std::path::Path;

use jiff::Timestamp;

use super::consent::Consent;
use super::edit::Edit;
use super::operator::Operator;
use super::output::{self, data, talk};
use super::patience::Patience;
use super::reader::Reader;
use super::source::{Kind, Source};
use super::watch::Watcher;
use super::{ahead, alarms, ending, freeze, ground, guards};
use crate::aws::alarms::{Alarms, named};
use crate::aws::records::{Begun, Kept};
use crate::aws::s3::Bucket;
use crate::aws::stacks::CloudFormation;
use crate::conduct::{Conductor, Ended, Tell as _, Until};
use crate::deployment::course::{Phase, Standing};
use crate::deployment::record::{Beginner, Document, Goal, Policy, Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

/// What is to run.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) release: Release,
    pub(super) image: String,
    /// `None`: that of fleet.yaml.
    pub(super) document: Option<Document>,
    /// `None`: that of fleet.yaml.
    pub(super) policy: Option<Policy>,
    /// `None`: nothing is replaced, so nobody is asked.
    pub(super) consent: Option<Consent>,
    /// Alarms that do not count.
    pub(super) despite: Vec<String>,
    /// What becomes of fleet.yaml once the user has agreed.
    pub(super) edit: Option<Edit>,
}

impl Asked {
    /// Whether a deployment is what is asked for. `document` is the digest of that of fleet.yaml.
    pub(super) fn is(&self, goal: &Goal, document: Option<&str>) -> bool {
        let has = goal.document.sha256.to_string();
        let document = self.document.as_ref().map(|document| document.sha256.to_string()).or_else(|| document.map(str::to_owned));
        goal.release == self.release && goal.image == self.image && document.is_none_or(|document| document == has)
    }
}

/// What is asked for, and all that it takes.
struct Errand<'a> {
    operator: &'a Operator,
    asked: &'a Asked,
    source: Source,
    account: Account,
    /// Names of the alarms that count.
    alarms: Vec<&'a str>,
    /// As they were a moment ago.
    found: Alarms,
    caller: String,
}

/// What came of beginning a deployment.
enum Beginning {
    Record(Box<Kept>),
    /// Nothing is to be replaced. The sentences are of what has changed of the stack itself.
    Nothing(Vec<String>),
}

pub(super) async fn carry_out(operator: &Operator, file: &Path, asked: &Asked, patience: Patience, as_json: bool) -> Result<(), Failure> {
    let mut standing = operator.standing().await?;
    let errand = Errand::of(operator, file, asked, standing.as_ref()).await?;
    let mut under_way = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay);
    let is_asked = |kept: &Kept| asked.is(&kept.record.goal, errand.source.document());
    if let Some(other) = under_way.as_ref().filter(|kept| !is_asked(kept))
        && settled(operator, &errand.account, other).await?
    {
        (standing, under_way) = (operator.standing().await?, None);
    }
    fits(asked.kind, operator, standing.as_ref(), under_way.is_some())?;
    let (kept, is_taken_up) = match under_way {
        Some(kept) => {
            talk(&format!("{}: following it", kept.record.told()));
            (kept, true)
        }
        None => match errand.begin(standing.as_ref()).await? {
            Beginning::Record(kept) => (*kept, false),
            Beginning::Nothing(guards) => {
                ending::unchanged(operator, &asked.release, &guards, as_json);
                return Ok(());
            }
        },
    };
    let (is_another, begun) = (!is_asked(&kept), kept.record.clone());
    let ended = errand.follow(kept, is_taken_up, patience.until()).await?;
    let told = match ended {
        Ended::With(record) => ending::told(operator, *record, is_another.then_some(&asked.release), as_json).await,
        Ended::StillRunning { goes_on } => Err(ending::still_running(operator, &begun, goes_on, as_json)),
    };
    if asked.kind == Kind::Rollback {
        freeze::keep(operator).await;
    }
    told
}

/// Writes down how a deployment has ended whose end nobody has seen. Returns whether it has.
pub(super) async fn settled(operator: &Operator, account: &Account, kept: &Kept) -> Result<bool, Failure> {
    let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::back(operator));
    let ended = conductor(operator, &witness, &watcher).settle(kept, &operator.stack()).await?;
    ended.iter().for_each(|record| talk(&record.told()));
    Ok(ended.is_some())
}

/// Follows a deployment that somebody ended, until everything is as before.
pub(super) async fn see_undone(operator: &Operator, kept: Kept, as_json: bool) -> Result<(), Failure> {
    let account = operator.account(&operator.aws.caller().await?).await?;
    let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::back(operator));
    let ended = conductor(operator, &witness, &watcher).undo(kept, &operator.stack()).await?;
    watcher.look().await;
    let Ended::With(record) = ended else { unreachable!("it has all the time there is") };
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    freeze::keep(operator).await;
    match record.state {
        State::Good => Err(Failure::new(Exit::Failed, format!("it was too late to end deployment {}", record.number))
            .hint(format!("go back with `ingot-fleet rollback {}`", operator.called()))),
        _ => Ok(()),
    }
}

/// Whether the verb is right for what there is.
pub(super) fn fits(kind: Kind, operator: &Operator, standing: Option<&Standing>, goes_on: bool) -> Result<(), Failure> {
    let name = operator.name();
    match (kind, standing) {
        (Kind::Deploy | Kind::Rollback, None) => Err(Failure::new(Exit::Usage, format!("{name} was not created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`"))),
        // A record would be in the way once the stack is sound: what it asks for may be long out of date.
        (_, Some(standing)) if !goes_on => match standing.phase() {
            Phase::Stuck(stuck) => {
                let (what, hint) = stuck.way_out(&operator.stack(), operator.called());
                Err(Failure::new(Exit::Failed, format!("the stack {} cannot be updated", operator.stack())).why(what).hint(hint))
            }
            _ if kind == Kind::Create && standing.output("Group").is_some() => {
                Err(Failure::new(Exit::Usage, format!("{name} is there already: its stack is in {}", standing.status))
                    .hint(format!("run `ingot-fleet deploy {name} --release RELEASE`")))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl<'a> Errand<'a> {
    async fn of(operator: &'a Operator, file: &Path, asked: &'a Asked, standing: Option<&Standing>) -> Result<Self, Failure> {
        let (source, alarms) = match operator.has_file() {
            true => (Source::File(Box::new(operator.planned(file).await?)), alarms::counting(operator.environment(), &asked.despite)?),
            false => (Source::Stack(standing.map(|standing| standing.parameters.clone()).unwrap_or_default()), Vec::new()),
        };
        let caller = operator.aws.caller().await?;
        let account = operator.account(&caller).await?;
        let found = match asked.kind {
            Kind::Deploy => named(&operator.aws, &alarms).await?,
            // At creation there may be none yet: the stack makes some itself.
            Kind::Create | Kind::Rollback => Alarms::new(),
        };
        Ok(Self { operator, asked, source, account, alarms, found, caller })
    }

    /// Makes the record of a deployment, unless there is nothing to change.
    async fn begin(&self, standing: Option<&Standing>) -> Result<Beginning, Failure> {
        let Self { operator, asked, source, account, .. } = self;
        let records = operator.records();
        if asked.kind != Kind::Rollback {
            freeze::refuse(operator).await?;
        }
        let policy = source.policy(operator, asked.policy, asked.kind)?;
        let document = match (&asked.document, source) {
            (Some(document), _) => document.clone(),
            (None, Source::File(stack)) => records.document(stack.document.content.as_bytes())?,
            (None, Source::Stack(_)) => unreachable!("without fleet.yaml, only rollbacks are asked for"),
        };
        let capacity = source.capacity(operator).await?;
        let goal = Goal { release: asked.release.clone(), image: asked.image.clone(), document, policy, capacity };
        let wanted = source.wanted(operator, &goal, 0, account);
        let changed = standing.map(|standing| source.changed(standing, &wanted));
        if let Some(standing) = standing.filter(|_| changed.as_ref().is_some_and(Vec::is_empty)) {
            return Ok(Beginning::Nothing(self.guard(standing).await?));
        }
        self.look(&goal, standing).await?;
        if let Some(consent) = asked.consent {
            let runs = standing.and_then(|standing| standing.parameter("Release"));
            consent.ask(&question(operator.name(), asked.kind, &goal, runs, &changed.unwrap_or_default()))?;
        }
        asked.edit.as_ref().map_or(Ok(()), Edit::make)?;
        if let Some(standing) = standing {
            self.guard(standing).await?;
        }
        if let (None, Source::File(stack)) = (&asked.document, source) {
            records.keep_document(&goal.document, stack.document.content.as_bytes()).await?;
        }
        self.record(goal).await
    }

    /// What AWS can be asked before anything begins.
    async fn look(&self, goal: &Goal, standing: Option<&Standing>) -> Result<(), Failure> {
        let Self { operator, asked, account, alarms, found, caller, .. } = self;
        let holds = ground::holds_for(operator, asked.kind, goal, standing, (account, caller));
        match asked.kind {
            Kind::Create => holds.await,
            Kind::Deploy => {
                holds.await?;
                alarms::judge(operator, alarms, found)?;
                self.spare_data(goal, standing).await
            }
            // It must not need more of AWS than it takes; the policy of the stack spares data, too.
            Kind::Rollback => ground::holds_again(operator, goal).await,
        }
    }

    async fn spare_data(&self, goal: &Goal, standing: Option<&Standing>) -> Result<(), Failure> {
        let Self { operator, asked, source, account, alarms, found, caller } = self;
        // CloudFormation makes no change set while it is busy.
        let standing = standing.filter(|standing| standing.output("Group").is_some() && !standing.is_busy());
        let (Source::File(stack), Some(standing)) = (source, standing) else { return Ok(()) };
        let beginner = Beginner { by: caller.clone(), at: Timestamp::now(), attempt: "look".into() };
        let record = ahead::record(operator, ahead::number(standing), goal.clone(), beginner);
        ahead::spares_data(operator, stack, &source.plan(operator, account, asked.kind, (alarms, found), &record), &record, standing).await
    }

    async fn guard(&self, standing: &Standing) -> Result<Vec<String>, Failure> {
        match self.asked.kind {
            Kind::Deploy => guards::set(self.operator, standing).await,
            Kind::Create | Kind::Rollback => Ok(Vec::new()),
        }
    }

    async fn record(&self, goal: Goal) -> Result<Beginning, Failure> {
        let Self { operator, asked, caller, .. } = self;
        let records = operator.records();
        let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let beginner = Beginner { by: caller.clone(), at, attempt: format!("{:016x}", fastrand::u64(..)) };
        let kept = match records.begin(goal, beginner).await? {
            Begun::Mine(kept) => kept,
            Begun::Taken(kept) => {
                talk(&format!("{}: following it", kept.record.told()));
                return Ok(Beginning::Record(Box::new(kept)));
            }
        };
        // Somebody may have frozen it since it was looked at.
        if asked.kind != Kind::Rollback
            && let Err(failure) = freeze::refuse(operator).await
        {
            records.finish(&kept, State::Undone, Timestamp::now(), Some(failure.sentence())).await?;
            return Err(failure);
        }
        talk(&format!("deployment {} of {}: {}", kept.record.number, operator.name(), kept.record.goal.release.name));
        Ok(Beginning::Record(Box::new(kept)))
    }

    /// Follows a deployment. One that is taken up sets the policy for what runs now, which may be others than when it began.
    async fn follow(&self, kept: Kept, is_taken_up: bool, until: Until) -> Result<Ended, Failure> {
        let Self { operator, asked, source, account, alarms, found, .. } = self;
        let mut record: Record = kept.record.clone();
        if is_taken_up {
            record.goal.capacity = source.capacity(operator).await?;
        }
        let plan = source.plan(operator, account, asked.kind, (alarms, found), &record);
        let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::of(operator, &record, &plan.wanted));
        let ended = conductor(operator, &witness, &watcher).follow(kept, &plan, until).await;
        watcher.look().await;
        ended
    }
}

/// What a deployment would replace. `runs` is the release that the stack has, `changed` names the parameters that change.
fn question(name: &str, kind: Kind, goal: &Goal, runs: Option<&str>, changed: &[String]) -> String {
    let release = goal.release.name.to_string();
    let what = match runs {
        Some(runs) if runs == release => {
            let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
            format!("deploy {release} to {name} again, with other values of {}", changed.join(", "))
        }
        Some(runs) if kind == Kind::Rollback => format!("take {name} back from {runs} to {release}"),
        Some(runs) => format!("replace {runs} by {release} in {name}"),
        None => format!("deploy {release} to {name}"),
    };
    let (count, policy) = (goal.capacity.desired, goal.policy.word());
    let instances = if count == 1 { "instance" } else { "instances" };
    format!("{what}: {count} {instances}, by the policy {policy}")
}

fn conductor<'a>(
    operator: &'a Operator,
    witness: &'a Reader<'a>,
    tell: &'a Watcher<'a>,
) -> Conductor<'a, Bucket, CloudFormation, Reader<'a>, Watcher<'a>> {
    Conductor { records: operator.records(), stacks: &operator.stacks, witness, tell, environment: operator.called() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::goal;

    #[test]
    fn the_question_names_what_is_replaced() {
        let asked = |kind, runs, changed: &[&str]| {
            let changed: Vec<String> = changed.iter().map(|name| (*name).to_owned()).collect();
            question("prod", kind, &goal("v2"), runs, &changed)
        };
        let end = ": 4 instances, by the policy rolling_with_batch";
        assert_eq!(asked(Kind::Deploy, Some("v1"), &["Release"]), format!("replace v1 by v2 in prod{end}"));
        assert_eq!(asked(Kind::Rollback, Some("v3"), &["Release"]), format!("take prod back from v3 to v2{end}"));
        let again = "deploy v2 to prod again, with other values of Document, Image";
        assert_eq!(asked(Kind::Deploy, Some("v2"), &["Document", "Image"]), format!("{again}{end}"));
    }
}
