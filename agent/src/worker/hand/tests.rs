//! The messages in hand, step by step.

use super::*;
use crate::aws::sqs::HIDDEN_AT_MOST;

/// No limit other than the room.
const MAX: (usize, u32) = (usize::MAX, 0);

const VISIBILITY: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(id: usize) -> Message {
    Message { id: format!("m{id}"), receipt: format!("r{id}"), ..Message::default() }
}

fn hand(room: usize, fifo: bool, messages: usize) -> Hand {
    let mut hand = Hand::new(room, fifo, VISIBILITY);
    for id in 1..=messages {
        assert_eq!(hand.take(&message(id), at(0), at(0)), Taken::New(id as u64));
        hand.handle(id as u64, 0);
    }
    hand
}

#[test]
fn no_more_is_asked_for_than_can_be_handled() {
    let hand = hand(5, false, 3);
    assert_eq!((hand.free(0, MAX), hand.free(1, MAX), hand.free(2, MAX), hand.free(9, MAX), hand.free(0, (4, 0))), (2, 1, 0, 0, 1));
    // Those three belong to an earlier trial.
    assert_eq!((hand.free(0, (1, 1)), hand.free(1, (1, 1)), hand.free(0, (4, 1))), (1, 0, 2));
}

#[test]
fn ten_that_wait_for_their_deletion_take_no_place() {
    let mut hand = hand(20, false, 20);
    (1..=10).for_each(|ticket| hand.handled(ticket, at(0)));
    assert_eq!(hand.free(0, MAX), 10);
    (11..=13).for_each(|ticket| hand.handled(ticket, at(0)));
    assert_eq!(hand.free(0, MAX), 10, "the eleventh takes the place that it had");
}

#[test]
fn of_a_fifo_queue_each_takes_its_place_until_it_is_gone() {
    let mut hand = hand(2, true, 2);
    hand.handled(1, at(0));
    assert_eq!(hand.free(0, MAX), 0);
    assert_eq!(hand.take_deletions(at(0)), [(1, "r1".to_owned())], "at once");
    hand.deleted(1, at(0));
    assert_eq!(hand.free(0, MAX), 1);
}

#[test]
fn deletions_wait_for_a_tenth_of_a_second_or_for_ten() {
    let mut hand = hand(50, false, 50);
    hand.handled(7, at(1));
    assert_eq!((hand.take_deletions(at(1)), hand.next_deletion()), (Vec::new(), Some(at(1) + GATHERING)));
    assert_eq!(hand.take_deletions(at(1) + GATHERING).len(), 1);
    (10..30).for_each(|ticket| hand.handled(ticket, at(2)));
    assert_eq!((hand.take_deletions(at(2)).len(), hand.take_deletions(at(2)).len(), hand.take_deletions(at(2)).len()), (10, 10, 0));
    hand.still_there(10, at(3));
    assert_eq!(hand.take_deletions(at(3) + GATHERING), [(10, "r10".to_owned())]);
}

#[test]
fn what_takes_long_is_hidden_for_longer_after_a_third_of_its_time() {
    let mut hand = hand(1, false, 1);
    assert_eq!((hand.next_change(None), hand.take_changes(at(99), false)), (Some(at(100)), Vec::new()));
    assert_eq!(hand.take_changes(at(100), false), [(1, "r1".to_owned(), VISIBILITY)]);
    assert_eq!((hand.take_changes(at(101), false), hand.next_change(None)), (Vec::new(), None), "a call is under way");
    hand.hidden(1, at(100), VISIBILITY, at(100));
    assert_eq!(hand.next_change(None), Some(at(200)));
    let mut now = at(200);
    while let Some((_, _, length)) = hand.take_changes(now, false).pop() {
        // SQS counts in whole seconds, starting when it handed the message out.
        assert!(length.subsec_nanos() == 0 && now + length < HIDDEN_AT_MOST - at(3), "{now:?}");
        hand.hidden(1, now, length, now);
        let Some(due) = hand.next_change(None) else { return };
        assert!(due > now);
        now = due;
    }
    panic!("it ends at twelve hours");
}

/// Regression: the last call was omitted, and two workers had the message for up to a third of `visibility`.
#[test]
fn what_takes_long_is_hidden_up_to_twelve_hours_however_long_each_time_is() {
    let hours = |hours: u64| at(3600 * hours);
    let mut hand = Hand::new(1, false, hours(6));
    hand.take(&message(1), at(0), at(0));
    hand.handle(1, 0);
    let (mut until, mut calls) = (hours(6), 0);
    while let Some(now) = hand.next_change(None) {
        let (_, _, length) = hand.take_changes(now, false).pop().unwrap();
        hand.hidden(1, now, length, now);
        (until, calls) = (now + length, calls + 1);
    }
    assert!(until >= HIDDEN_AT_MOST - at(15) && until < HIDDEN_AT_MOST && calls <= 4, "{until:?} {calls}");
}

#[test]
fn what_goes_back_is_out_of_hand_once_sqs_has_it() {
    let mut hand = hand(2, false, 2);
    hand.give_back(1, at(2));
    hand.give_all_back();
    assert_eq!(hand.take_changes(at(5), false), [(1, "r1".to_owned(), at(2)), (2, "r2".to_owned(), at(0))]);
    hand.hidden(1, at(5), at(2), at(5));
    hand.not_hidden(2, at(5));
    assert_eq!(hand.take_changes(at(6), false), [(2, "r2".to_owned(), at(0))], "tried again");
    hand.not_hidden(2, at(300));
    assert_eq!(hand.len(), 0, "others see it by now");
}

#[test]
fn one_that_comes_twice_is_handled_once_and_deleted_by_its_newest_receipt() {
    let mut hand = hand(2, false, 1);
    let newer = Message { receipt: "newer".into(), ..message(1) };
    assert_eq!(hand.take(&newer, at(9), at(10)), Taken::Again);
    hand.handled(1, at(10));
    assert_eq!(hand.take_deletions(at(11)), [(1, "newer".to_owned())]);
}

#[test]
fn one_that_is_lost_is_handled_to_its_end() {
    let mut hand = hand(2, false, 2);
    assert_eq!(hand.take_changes(at(100), false).len(), 2);
    hand.is_lost(1);
    hand.give_back(2, at(0));
    hand.is_lost(2);
    assert_eq!((hand.handling(), hand.next_change(None)), (1, None));
}

/// Regression: its return was forgotten, and it stayed hidden for the whole of `visibility`.
#[test]
fn one_that_fails_while_it_is_hidden_for_longer_goes_back_all_the_same() {
    let mut hand = hand(1, false, 1);
    assert_eq!(hand.take_changes(at(100), false).len(), 1);
    hand.give_back(1, at(2));
    assert_eq!(hand.take_changes(at(100), false), [], "one call at a time");
    hand.hidden(1, at(100), VISIBILITY, at(101));
    assert_eq!(hand.take_changes(at(101), false), [(1, "r1".to_owned(), at(2))]);
}

/// SQS may hand out a returned message again before it has answered the whole batch.
#[test]
fn one_that_comes_back_while_it_is_given_back_is_given_back_once_more() {
    let mut hand = hand(1, false, 1);
    hand.give_back(1, at(0));
    assert_eq!(hand.take_changes(at(1), false).len(), 1);
    assert_eq!(hand.take(&Message { receipt: "newer".into(), ..message(1) }, at(1), at(1)), Taken::Again);
    for answer in [|hand: &mut Hand| hand.hidden(1, at(1), at(0), at(2)), |hand: &mut Hand| hand.is_lost(1)] {
        answer(&mut hand);
        assert_eq!(hand.take_changes(at(2), false), [(1, "newer".to_owned(), at(0))]);
        hand.take(&Message { receipt: "newer".into(), ..message(1) }, at(2), at(2));
    }
}

#[test]
fn one_that_comes_back_while_it_is_deleted_is_deleted_once_more() {
    let mut hand = hand(1, false, 1);
    hand.handled(1, at(0));
    assert_eq!(hand.take_deletions(at(1)).len(), 1);
    hand.take(&Message { receipt: "newer".into(), ..message(1) }, at(1), at(1));
    assert_eq!(hand.take_deletions(at(9)), [], "one call at a time");
    hand.deleted(1, at(9));
    assert_eq!(hand.take_deletions(at(10)), [(1, "newer".to_owned())]);
    hand.deleted(1, at(10));
    assert_eq!(hand.len(), 0);
}

/// Regression: a role that may not give messages back drained its queue into one worker.
#[test]
fn what_cannot_be_given_back_takes_its_place() {
    let mut hand = hand(30, false, 30);
    (1..=30).for_each(|ticket| hand.give_back(ticket, at(2)));
    assert_eq!(hand.free(0, MAX), 10);
    for id in 31..=40 {
        assert_eq!(hand.take(&message(id), at(0), at(0)), Taken::New(id as u64));
    }
    assert_eq!(hand.free(0, MAX), 0);
}

#[test]
fn what_others_would_see_soon_is_hidden_in_spite_of_a_rest() {
    let mut hand = hand(2, false, 2);
    hand.give_back(2, at(0));
    let rest = Some(at(1000));
    assert_eq!((hand.take_changes(at(224), true), hand.next_change(rest)), (Vec::new(), Some(at(225))));
    assert_eq!(hand.take_changes(at(225), true), [(1, "r1".to_owned(), VISIBILITY)], "not what goes back");
    hand.not_hidden(1, at(225));
    assert_eq!((hand.take_changes(at(225), true), hand.next_change(rest)), (Vec::new(), Some(at(226))));
}

#[test]
fn what_goes_back_after_a_long_poll_is_tried_again_until_it_is_seen() {
    let mut hand = Hand::new(1, false, at(10));
    assert_eq!(hand.take(&message(1), at(0), at(12)), Taken::New(1));
    hand.give_back(1, at(0));
    assert_eq!(hand.take_changes(at(12), false).len(), 1);
    hand.not_hidden(1, at(12));
    assert_eq!(hand.take_changes(at(13), false).len(), 1, "it may be hidden until 22");
}
