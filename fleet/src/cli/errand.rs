//! What is asked of an environment, compared with its present state: what would change, whether it is allowed, and its
//! record.

use std::path::Path;

use jiff::Timestamp;

use super::consent::Consent;
use super::edge::guard;
use super::edit::Edit;
use super::operator::Operator;
use super::output::talk;
use super::source::Source;
use super::{ahead, alarms, freeze, ground, guards, in_place};
use crate::aws::alarms::{Alarms, named};
use crate::aws::records::{Begun, Draft, Kept};
use crate::conduct::Plan;
use crate::deployment::course::Standing;
use crate::deployment::record::{Beginner, Document, Goal, Kind, Policy, Record, Release, State};
use crate::deployment::terms::Terms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

/// What the user asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) release: Release,
    pub(super) image: String,
    /// `None`: the document of fleet.yaml.
    pub(super) document: Option<Document>,
    /// `None`: the policy of fleet.yaml.
    pub(super) policy: Option<Policy>,
    /// `None`: nothing is replaced, so there is nothing to confirm.
    pub(super) consent: Option<Consent>,
    /// Alarms to ignore.
    pub(super) despite: Vec<String>,
    /// The edit of fleet.yaml that is made once the user has confirmed.
    pub(super) edit: Option<Edit>,
    /// The newest record at the time of the decision; `None` if the decision does not depend on records.
    pub(super) seen: Option<Seen>,
}

/// Which deployment was the newest, and its state.
pub(super) type Seen = Option<(u64, State)>;

impl Asked {
    /// Whether a deployment has the requested goal. `document` is the digest of the document of fleet.yaml.
    pub(super) fn is(&self, goal: &Goal, document: Option<&str>) -> bool {
        let has = goal.document.sha256.to_string();
        let document = self.document.as_ref().map(|document| document.sha256.to_string()).or_else(|| document.map(str::to_owned));
        goal.release == self.release && goal.image == self.image && document.is_none_or(|document| document == has)
    }
}

/// A request, and everything that is needed to carry it out.
pub(super) struct Errand<'a> {
    operator: &'a Operator,
    asked: &'a Asked,
    source: Source,
    pub(super) account: Account,
    /// Names of the alarms that are not ignored.
    alarms: Vec<&'a str>,
    /// All alarms as just found, the ignored ones included.
    found: Alarms,
    caller: String,
}

/// The state of the environment a moment ago. Records are read before the stack, which then shows whether a deployment
/// has ended in between.
pub(super) struct Ground {
    pub(super) newest: Option<Kept>,
    pub(super) standing: Option<Standing>,
}

impl Ground {
    pub(super) async fn of(operator: &Operator) -> Result<Self, Failure> {
        Ok(Self { newest: operator.newest().await?, standing: operator.standing().await? })
    }

    /// The deployment that is under way.
    pub(super) fn under_way(&self) -> Option<&Kept> {
        self.newest.as_ref().filter(|kept| kept.record.state == State::UnderWay)
    }

    fn seen(&self) -> Seen {
        self.newest.as_ref().map(|kept| (kept.record.number, kept.record.state))
    }

    fn parameters(&self) -> impl Iterator<Item = (&String, &String)> {
        self.standing.iter().flat_map(|standing| &standing.parameters)
    }

    /// Whether everything that a decision may depend on is still as it was.
    fn is_as(&self, then: &Self) -> bool {
        let stack = |ground: &Self| ground.standing.as_ref().map(|standing| (standing.status.clone(), standing.token.clone()));
        self.seen() == then.seen() && stack(self) == stack(then) && self.parameters().eq(then.parameters())
    }
}

/// The result of an attempt to begin a deployment.
pub(super) enum Beginning {
    Begun(Box<(Kept, Terms)>),
    /// Another deployment began first.
    Taken(Box<Kept>),
    /// No instance has to be replaced. The sentences tell what has changed on the stack itself.
    Nothing(Vec<String>),
}

impl<'a> Errand<'a> {
    pub(super) async fn of(operator: &'a Operator, file: &Path, asked: &'a Asked, ground: &Ground) -> Result<Self, Failure> {
        let (source, alarms) = match asked.kind {
            // A rollback needs nothing of fleet.yaml, which may be the cause of the trouble.
            Kind::Rollback => {
                let has = ground.parameters().map(|(name, value)| (name.clone(), value.clone()));
                (Source::Stack(has.collect()), Vec::new())
            }
            Kind::Create | Kind::Deploy => {
                let alarms = alarms::counting(operator.environment(), &asked.despite)?;
                (Source::File(Box::new(operator.planned(file).await?)), alarms)
            }
        };
        let find = async {
            match asked.kind {
                Kind::Deploy => named(&operator.aws, &alarms::all(operator.environment())).await,
                // At creation the alarms may not exist yet: the stack itself creates some.
                Kind::Create | Kind::Rollback => Ok(Alarms::new()),
            }
        };
        let (own, found) = tokio::join!(operator.caller_and_account(), find);
        let ((caller, account), found) = (own?, found?);
        Ok(Self { operator, asked, source, account, alarms, found, caller })
    }

    /// Whether a deployment under way, on these terms, is the requested one.
    pub(super) fn is(&self, record: &Record, terms: Option<&Terms>) -> bool {
        let own = self.terms(&record.goal, None);
        let is_the_same = |theirs: &Terms| self.asked.kind == Kind::Rollback || theirs.comes_to(&own);
        self.asked.is(&record.goal, self.source.document()) && terms.is_none_or(is_the_same)
    }

    /// The terms of a deployment of this goal, according to the current fleet.yaml.
    pub(super) fn terms(&self, goal: &Goal, edit: Option<&Edit>) -> Terms {
        let Self { operator, asked, source, account, alarms, found, .. } = self;
        source.terms(operator, account, asked.kind, (alarms, found), goal, edit.and_then(Edit::edited))
    }

    /// Creates the record of a deployment, unless there is nothing to change.
    pub(super) async fn begin(&self, ground: &Ground) -> Result<Beginning, Failure> {
        let Self { operator, asked, source, account, .. } = self;
        if asked.seen.is_some_and(|seen| seen != ground.seen()) {
            return Err(overtaken(operator, ground.newest.as_ref()));
        }
        let thawed = async {
            match asked.kind {
                Kind::Rollback => {
                    freeze::note(operator).await;
                    Ok(())
                }
                Kind::Create | Kind::Deploy => freeze::refuse(operator).await,
            }
        };
        let (thawed, goal) = tokio::join!(thawed, self.goal());
        thawed?;
        let mut goal = goal?;
        let standing = ground.standing.as_ref();
        let wanted = source.wanted(operator, &goal, 0, account);
        let changed = standing.map(|standing| source.changed(standing, &wanted));
        goal.policy = in_place::fitting(operator, goal.policy, (changed.as_deref(), source.obstacle()), asked.kind, asked.policy)?;
        if let Some(standing) = standing.filter(|_| changed.as_ref().is_some_and(Vec::is_empty)) {
            return self.nothing(ground, standing).await.map(Beginning::Nothing);
        }
        let terms = self.terms(&goal, asked.edit.as_ref());
        self.look(&goal, &terms, standing).await?;
        if let Some(consent) = asked.consent {
            let runs = standing.and_then(|standing| standing.parameter("Release"));
            let question = question(operator.name(), asked.kind, &goal, runs, &changed.unwrap_or_default());
            let too = if self.unprotects(standing) { ", and end its protection from deletion" } else { "" };
            let was_asked = consent.ask(&format!("{question}{too}"))?;
            if was_asked {
                self.is_still(ground).await?;
                // A refresh changes neither records nor the stack.
                self.spare_refresh(standing).await?;
            }
        }
        asked.edit.as_ref().map_or(Ok(()), Edit::make)?;
        let begun = self.record(ground, goal, terms).await;
        // Once the deployment has begun, its end decides what becomes of the edit.
        if let (Some(edit), Err(_) | Ok(Beginning::Taken(_))) = (&asked.edit, &begun) {
            edit.take_back()?;
        }
        begun
    }

    /// Sets what guards the stack if nothing else is to change. Returns a sentence for each change.
    async fn nothing(&self, ground: &Ground, standing: &Standing) -> Result<Vec<String>, Failure> {
        let unprotects = self.unprotects(Some(standing));
        if let Some(consent) = self.asked.consent.filter(|_| unprotects)
            && consent.ask(&format!("end the protection of {} from deletion", self.operator.name()))?
        {
            self.is_still(ground).await?;
        }
        let mut told = self.guard(standing).await?;
        if unprotects {
            told.push(guards::end_protection(self.operator).await?);
        }
        Ok(told)
    }

    /// Looks at records and stack again, after a question.
    async fn is_still(&self, then: &Ground) -> Result<(), Failure> {
        let now = Ground::of(self.operator).await?;
        if now.is_as(then) { Ok(()) } else { Err(overtaken(self.operator, now.newest.as_ref())) }
    }

    async fn spare_refresh(&self, standing: Option<&Standing>) -> Result<(), Failure> {
        match self.asked.kind {
            Kind::Deploy => ground::refresh::is_over(self.operator, standing).await,
            Kind::Create | Kind::Rollback => Ok(()),
        }
    }

    async fn goal(&self) -> Result<Goal, Failure> {
        let Self { operator, asked, source, .. } = self;
        let policy = source.policy(operator, asked.policy, asked.kind)?;
        let document = match (&asked.document, source) {
            (Some(document), _) => document.clone(),
            (None, Source::File(stack)) => operator.records().document(stack.document.content.as_bytes())?,
            (None, Source::Stack(_)) => unreachable!("a rollback asks for a document"),
        };
        let capacity = source.capacity(operator).await?;
        Ok(Goal { release: asked.release.clone(), image: asked.image.clone(), document, policy, capacity })
    }

    /// Checks with AWS before anything begins.
    async fn look(&self, goal: &Goal, terms: &Terms, standing: Option<&Standing>) -> Result<(), Failure> {
        let Self { operator, asked, account, alarms, found, caller, .. } = self;
        let holds = ground::holds_for(operator, asked.kind, goal, standing, (account, caller));
        match asked.kind {
            Kind::Create => {
                guard::may_join(operator).await?;
                holds.await
            }
            Kind::Deploy => {
                if let Some(standing) = standing {
                    guard::may_be_replaced(operator, standing).await?;
                }
                holds.await?;
                alarms::judge(operator, alarms, found)?;
                alarms::left_out(&asked.despite, found).into_iter().for_each(|told| talk(&format!("note: {told}")));
                self.spare_data(goal, terms, standing).await
            }
            // A rollback must not depend on more of AWS than it needs; the stack policy protects data as well.
            Kind::Rollback => ground::holds_again(operator, goal, standing).await,
        }
    }

    async fn spare_data(&self, goal: &Goal, terms: &Terms, standing: Option<&Standing>) -> Result<(), Failure> {
        let Self { operator, source, caller, .. } = self;
        // CloudFormation creates no change set while the stack is busy.
        let standing = standing.filter(|standing| standing.output("Group").is_some() && !standing.is_busy());
        let (Source::File(stack), Some(standing)) = (source, standing) else { return Ok(()) };
        let beginner = Beginner { by: caller.clone(), at: Timestamp::now(), attempt: "look".into() };
        let record = ahead::record(operator, ahead::number(standing), goal.clone(), beginner);
        ahead::spares_data(operator, stack, &Plan::of(operator.stack(), terms, &record), &record, standing).await
    }

    fn unprotects(&self, standing: Option<&Standing>) -> bool {
        self.asked.kind == Kind::Deploy && standing.is_some_and(|standing| guards::ends_protection(self.operator, standing))
    }

    async fn guard(&self, standing: &Standing) -> Result<Vec<String>, Failure> {
        match self.asked.kind {
            Kind::Deploy => guards::set(self.operator, standing).await,
            Kind::Create | Kind::Rollback => Ok(Vec::new()),
        }
    }

    async fn record(&self, ground: &Ground, goal: Goal, terms: Terms) -> Result<Beginning, Failure> {
        let Self { operator, asked, source, caller, .. } = self;
        let records = operator.records();
        if let Some(standing) = &ground.standing {
            self.guard(standing).await?;
        }
        let keep_document = async {
            match (&asked.document, source) {
                (None, Source::File(stack)) => records.keep_document(&goal.document, stack.document.content.as_bytes()).await,
                _ => Ok(()),
            }
        };
        let (document, kept_terms) = tokio::join!(keep_document, records.keep_terms(&terms));
        document?;
        let kept_terms = kept_terms?;
        let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let beginner = Beginner { by: caller.clone(), at, attempt: format!("{:016x}", fastrand::u64(..)) };
        let after = ground.newest.as_ref().map_or(0, |kept| kept.record.number);
        let kept = match records.begin(Draft { kind: asked.kind, goal, terms: kept_terms, beginner, after }).await? {
            Begun::Mine(kept) => kept,
            Begun::Taken(kept) => return Ok(Beginning::Taken(Box::new(kept))),
            Begun::Overtaken(kept) => return Err(overtaken(operator, Some(&kept))),
        };
        if self.unprotects(ground.standing.as_ref()) {
            guards::end_protection(operator).await?;
        }
        // Since the check, the environment may have been frozen, or another operator may have continued the deployment.
        if asked.kind != Kind::Rollback
            && let Err(failure) = freeze::refuse(operator).await
            && records.end(&kept, State::Undone, Timestamp::now(), Some(failure.sentence())).await?.is_some()
        {
            return Err(failure);
        }
        talk(&format!("deployment {} of {}: {}", kept.record.number, operator.name(), kept.record.goal.release.name));
        Ok(Beginning::Begun(Box::new((kept, terms))))
    }
}

/// The error for a plan that was made for a state which no longer exists.
pub(super) fn overtaken(operator: &Operator, newest: Option<&Kept>) -> Failure {
    let name = operator.name();
    let failure = Failure::new(Exit::Failed, format!("nothing was started: {name} has changed in the meantime"));
    let failure = match newest {
        Some(kept) => failure.why(kept.record.told()),
        None => failure,
    };
    failure.hint(format!("check `ingot-fleet status {}`, and run the same command again to plan for the present state", operator.called()))
}

/// The question whether to deploy. `runs` is the release that the stack has, `changed` names the parameters that
/// change.
fn question(name: &str, kind: Kind, goal: &Goal, runs: Option<&str>, changed: &[String]) -> String {
    let release = goal.release.name.to_string();
    let what = match runs {
        Some(runs) if runs == release => {
            let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
            format!("deploy {release} to {name} again, with other values of {}", changed.join(", "))
        }
        Some(runs) if kind == Kind::Rollback => format!("roll back {name} from {runs} to {release}"),
        Some(runs) => format!("replace {runs} with {release} in {name}"),
        None => format!("deploy {release} to {name}"),
    };
    let (count, policy) = (goal.capacity.desired, goal.policy.word());
    let instances = if count == 1 { "instance" } else { "instances" };
    format!("{what}: {count} {instances}, with the policy {policy}")
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
        let end = ": 4 instances, with the policy rolling_with_batch";
        assert_eq!(asked(Kind::Deploy, Some("v1"), &["Release"]), format!("replace v1 with v2 in prod{end}"));
        assert_eq!(asked(Kind::Rollback, Some("v3"), &["Release"]), format!("roll back prod from v3 to v2{end}"));
        let again = "deploy v2 to prod again, with other values of Document, Image";
        assert_eq!(asked(Kind::Deploy, Some("v2"), &["Document", "Image"]), format!("{again}{end}"));
    }

    #[test]
    fn what_was_planned_is_valid_as_long_as_nothing_has_changed() {
        let ground = |status: &str, token: &str, size: &str| {
            let parameters = [("MaxSize".to_owned(), size.to_owned())].into();
            let standing = Standing { status: status.into(), token: Some(token.into()), parameters, ..Standing::default() };
            Ground { newest: None, standing: Some(standing) }
        };
        let then = ground("UPDATE_COMPLETE", "a", "6");
        assert!(ground("UPDATE_COMPLETE", "a", "6").is_as(&then));
        for other in [
            ground("UPDATE_IN_PROGRESS", "a", "6"),
            ground("UPDATE_COMPLETE", "b", "6"),
            ground("UPDATE_COMPLETE", "a", "7"),
            Ground { newest: None, standing: None },
        ] {
            assert!(!other.is_as(&then));
        }
    }
}
