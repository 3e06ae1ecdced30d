//! Tries a slot before it serves, with requests that a rule of its own routes to it.

use super::desk::EdgeDesk;
use crate::aws::traffic::{Answered, ask};
use crate::deployment::slot::Slot;
use crate::exit::Exit;
use crate::failure::Failure;

/// The most requests to one URL: about one per instance.
const MOST: usize = 10;

/// How much of a bad answer is shown, in characters.
const SHOWN: usize = 80;

/// Requests each URL from the slot, once per instance. Every answer must have a 2xx status.
pub(crate) async fn tried(desk: &EdgeDesk, urls: &[String], slot: Slot, instances: usize) -> Result<(), Failure> {
    let stack = desk.stack();
    for url in urls {
        let named = ask(&desk.aws, url, "name").await;
        if !named.as_ref().is_ok_and(|answered| is_name(answered, &stack)) {
            return Err(elsewhere(url, &stack, &named));
        }
        let count = instances.clamp(1, MOST);
        for turn in 1..=count {
            let answer = ask(&desk.aws, url, slot.word()).await;
            if !answer.as_ref().is_ok_and(|answered| (200..300).contains(&answered.status)) {
                let failure =
                    Failure::new(Exit::Failed, format!("nothing was changed: slot {slot} of the edge {} fails its check", desk.name()));
                return Err(failure.why(format!("{url} {}, in request {turn} of {count}", shown(&answer))).hint(format!(
                    "reproduce it with `curl -i -H 'X-Ingot-Slot: {slot}' {url}`, deploy a fix to its environment, then swap"
                )));
            }
        }
    }
    Ok(())
}

fn is_name(answered: &Answered, stack: &str) -> bool {
    answered.status == 200 && answered.text.trim() == stack
}

/// The refusal of a URL whose requests would not reach the slot.
fn elsewhere(url: &str, stack: &str, answer: &Result<Answered, String>) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("nothing was changed: {url} does not lead to the load balancer of {stack}"));
    failure.why(format!("with the header X-Ingot-Slot: name, it {}", shown(answer))).hint(
        "name a URL that leads to the edge without a proxy that drops the header, and run this from an address \
         in `trial`; use https if the edge has a \
         certificate",
    )
}

fn shown(answer: &Result<Answered, String>) -> String {
    match answer {
        Err(why) => format!("does not answer: {why}"),
        Ok(Answered { status, text }) => {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let begin: String = words.chars().take(SHOWN).collect();
            let more = if words.chars().count() > SHOWN { "…" } else { "" };
            if begin.is_empty() { format!("answers {status}") } else { format!("answers {status}, `{begin}{more}`") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_the_edges_is_quoted() {
        let answered = |status, text: &str| Answered { status, text: text.into() };
        assert!(is_name(&answered(200, "shop-edge-main\n"), "shop-edge-main"));
        for other in [answered(200, "<html>"), answered(301, "shop-edge-main"), answered(200, "shop-edge-other")] {
            assert!(!is_name(&other, "shop-edge-main"), "{other:?}");
        }
        let text = elsewhere("http://x/", "shop-edge-main", &Ok(answered(200, &"word ".repeat(100)))).to_string();
        assert!(text.contains("it answers 200, `word word") && text.contains("…`\n  hint: name a URL"), "{text}");
        assert_eq!(shown(&Ok(answered(503, ""))), "answers 503");
        assert_eq!(shown(&Err("connection refused".into())), "does not answer: connection refused");
    }
}
