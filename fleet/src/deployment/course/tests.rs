use super::*;
use crate::deployment::record::Kind;
use crate::deployment::record::tests::{beginner, goal};

fn record() -> Record {
    Record::begin("shop", "prod", 7, goal("v2"), beginner("ann"))
}

fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn wanted() -> Wanted {
    Wanted::new(parameters(&[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v2"), ("Deployment", "7")]))
}

fn standing(status: &str, given: &[(&str, &str)], last: Option<Operation>) -> Standing {
    let token = last.map(|operation| operation.token(&record()));
    Standing { status: status.into(), parameters: parameters(given), token, ..Standing::default() }
}

const BEFORE: &[(&str, &str)] = &[("Policy", "immutable"), ("Capacity", "2"), ("Release", "v1"), ("Deployment", "6")];
const SET: &[(&str, &str)] = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v1"), ("Deployment", "6")];
const DONE: &[(&str, &str)] = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v2"), ("Deployment", "7")];

#[test]
fn goes_from_one_update_to_the_next() {
    use Operation::{Create, SetPolicy, SetRelease};
    assert_eq!(next(&record(), &wanted(), None, &Tokens::new()), Next::Begin(Create));
    for (status, given, last, expected) in [
        ("CREATE_IN_PROGRESS", BEFORE, Some(Create), Next::Wait),
        ("CREATE_COMPLETE", DONE, Some(Create), Next::Good),
        ("ROLLBACK_IN_PROGRESS", DONE, Some(Create), Next::Wait),
        ("ROLLBACK_COMPLETE", DONE, Some(Create), Next::Failed),
        ("ROLLBACK_COMPLETE", DONE, None, Next::Stuck(Stuck::NeverCreated)),
        ("CREATE_COMPLETE", BEFORE, None, Next::Begin(SetPolicy)),
        ("UPDATE_IN_PROGRESS", SET, Some(SetPolicy), Next::Wait),
        ("UPDATE_COMPLETE", SET, Some(SetPolicy), Next::Begin(SetRelease)),
        ("UPDATE_COMPLETE", SET, None, Next::Begin(SetRelease)),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", DONE, Some(SetRelease), Next::Wait),
        ("UPDATE_COMPLETE", DONE, Some(SetRelease), Next::Good),
        ("UPDATE_ROLLBACK_IN_PROGRESS", SET, Some(SetRelease), Next::Wait),
        ("UPDATE_ROLLBACK_COMPLETE", SET, Some(SetRelease), Next::Failed),
        ("UPDATE_ROLLBACK_COMPLETE", BEFORE, Some(SetPolicy), Next::Failed),
        // Another operator's update had failed before.
        ("UPDATE_ROLLBACK_COMPLETE", BEFORE, None, Next::Begin(SetPolicy)),
        ("UPDATE_IN_PROGRESS", BEFORE, None, Next::WaitForOthers),
        ("DELETE_IN_PROGRESS", BEFORE, None, Next::WaitForOthers),
        ("UPDATE_ROLLBACK_FAILED", SET, Some(SetRelease), Next::Stuck(Stuck::NotBack)),
        ("UPDATE_FAILED", DONE, Some(SetRelease), Next::Stuck(Stuck::Halfway)),
        ("DELETE_FAILED", BEFORE, None, Next::Stuck(Stuck::HalfDeleted)),
        ("IMPORT_ROLLBACK_FAILED", BEFORE, None, Next::Stuck(Stuck::NotImported)),
        ("REVIEW_IN_PROGRESS", &[], None, Next::Stuck(Stuck::OnlyReviewed)),
    ] {
        let found = next(&record(), &wanted(), Some(&standing(status, given, last)), &Tokens::new());
        assert_eq!(found, expected, "{status} {given:?} after {last:?}");
    }
}

#[test]
fn no_operation_is_begun_twice() {
    use Operation::{SetPolicy, SetRelease};
    // The last operation is another operator's: an update, or a rollback with its own token.
    for (status, given, begun, expected) in [
        ("UPDATE_ROLLBACK_COMPLETE", SET, SetRelease, Next::Failed),
        ("UPDATE_COMPLETE", SET, SetRelease, Next::Failed),
        ("UPDATE_COMPLETE", DONE, SetRelease, Next::Good),
        ("UPDATE_COMPLETE", SET, SetPolicy, Next::Begin(SetRelease)),
        ("UPDATE_COMPLETE", BEFORE, SetPolicy, Next::Failed),
    ] {
        let found = next(&record(), &wanted(), Some(&standing(status, given, None)), &[begun.token(&record())].into());
        assert_eq!(found, expected, "{status} {given:?} after {begun:?}");
    }
}

#[test]
fn the_policy_is_set_again_for_another_number_of_instances() {
    use Operation::{SetPolicy, SetRelease};
    let pairs = [("Policy", "rolling"), ("Capacity", "6"), ("Release", "v2"), ("Deployment", "7")];
    let wanted = Wanted::new(parameters(&pairs));
    let token = wanted.token(SetPolicy, &record());
    assert_eq!(token, format!("{}-6", SetPolicy.token(&record())));
    let after = |given, last: &str, begun: &[&str]| {
        let standing = Standing { token: Some(last.to_owned()), ..standing("UPDATE_COMPLETE", given, None) };
        next(&record(), &wanted, Some(&standing), &begun.iter().map(|token| (*token).to_owned()).collect())
    };
    let first = SetPolicy.token(&record());
    assert_eq!(after(SET, &first, &[&first]), Next::Begin(SetPolicy), "for 4 when it began");
    assert_eq!(after(&pairs[..2], &token, &[&first, &token]), Next::Begin(SetRelease));
    assert_eq!(after(SET, &first, &[&token, &first]), Next::Begin(SetRelease), "two follow it, and have counted differently");
    assert_eq!(after(SET, &token, &[&token]), Next::Failed, "somebody has changed the stack after it");
}

#[test]
fn only_a_creation_creates_an_environment() {
    let document = record().goal.document;
    for (kind, expected) in [(Kind::Create, Next::Begin(Operation::Create)), (Kind::Deploy, Next::Gone), (Kind::Rollback, Next::Gone)] {
        assert_eq!(next(&record().on(kind, document.clone()), &wanted(), None, &Tokens::new()), expected, "{kind:?}");
    }
}

#[test]
fn a_number_alone_does_not_identify_a_deployment() {
    let given = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v1"), ("Deployment", "7")];
    let found = next(&record(), &wanted(), Some(&standing("CREATE_COMPLETE", given, None)), &Tokens::new());
    assert_eq!(found, Next::Begin(Operation::SetRelease), "the stack was made by hand, with the same number");
}

#[test]
fn a_name_alone_does_not_identify_an_environment() {
    let made = |given: &[(&str, &str)], status: &str| standing(status, given, None).is_of("shop", "eu-prod");
    assert!(made(&[("Application", "shop"), ("Environment", "eu-prod")], "CREATE_COMPLETE"));
    assert!(!made(&[("Application", "shop-eu"), ("Environment", "prod")], "CREATE_COMPLETE"));
    assert!(!made(&[], "ROLLBACK_COMPLETE") && made(&[], "REVIEW_IN_PROGRESS"));
}

#[test]
fn a_stack_says_where_its_records_are() {
    let of = |given: &[(&str, &str)]| standing("CREATE_COMPLETE", given, None).place("shop");
    let place = of(&[("ReleasesBucket", "acme-releases"), ("ReleasesPrefix", "team/")]).unwrap();
    assert_eq!(place, Place { prefix: "team/".into(), ..Place::of_shop() });
    assert_eq!(of(&[]), None, "it is the stack of something else, or of a change set alone");
}

#[test]
fn the_tokens_are_those_of_one_attempt() {
    let other = Record::begin("shop", "prod", 7, goal("v2"), beginner("bob"));
    assert_ne!(Operation::SetRelease.token(&record()), Operation::SetRelease.token(&other));
    assert_ne!(Operation::SetRelease.token(&record()), Operation::SetPolicy.token(&record()));
    // CloudFormation accepts up to 128 characters of a-z, A-Z, 0-9 and -.
    let token = Operation::SetRelease.token(&record());
    assert!(token.len() <= 128 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{token}");
}

#[test]
fn every_state_has_a_way_out() {
    for stuck in [Stuck::NeverCreated, Stuck::OnlyReviewed, Stuck::Halfway, Stuck::NotBack, Stuck::NotImported, Stuck::HalfDeleted] {
        let (what, hint) = stuck.way_out("shop-prod", "prod");
        assert!(!what.is_empty() && hint.contains("prod"), "{stuck:?}");
    }
}
