//! `run_on:` — runs a command again once a file, a bundle or its own arguments have changed since it last succeeded.
//!
//! The inputs of the last run are part of the command's record: the stamps of the steps it names, and a digest of its
//! arguments, variables, user and directory, including everything that they refer to. A secret is represented by its
//! reference as written, so its value is stored only where the document puts it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::address::{Address, Reference};
use crate::digest::Hasher;
use crate::failure::Objection;
use crate::step::Context;
use crate::steps::stamps::{Stamps, stamps};
use crate::template::Template;
use crate::text::Text;

/// Stands for the arguments among the stamps: no address has this name.
const ARGUMENTS: &str = "arguments";

/// What a program is started with.
pub(super) struct Start<'a> {
    pub(super) run: &'a [Text],
    pub(super) environment: &'a BTreeMap<String, Text>,
    pub(super) user: Option<&'a str>,
    pub(super) directory: Option<&'a Path>,
}

impl Start<'_> {
    fn digest(&self, made_of: &dyn Fn(&Text) -> String) -> String {
        let mut digest = Hasher::new();
        let mut add = |part: &str| {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        };
        self.run.iter().for_each(|word| add(&made_of(word)));
        self.environment.iter().for_each(|(name, text)| add(&format!("{name}={}", made_of(text))));
        add(self.user.unwrap_or_default());
        add(&self.directory.map_or_else(String::new, |directory| directory.display().to_string()));
        digest.finish().short(16)
    }
}

/// The inputs that a command which watches these steps would have now.
pub(super) fn present(watches: &[Address], start: &Start<'_>, cx: &Context<'_>) -> String {
    let watches: Vec<&Address> = watches.iter().collect();
    inputs(&stamps(&watches, cx), &start.digest(&|text| made_of(text, cx)))
}

/// A string as written, together with what it refers to, except for secrets.
fn made_of(text: &Text, cx: &Context<'_>) -> String {
    let mut made = text.raw().to_owned();
    let references = Template::parse(text.raw()).map(Template::into_references).unwrap_or_default();
    let plain: Vec<Reference> = references.into_iter().filter(|reference| !reference.is_secret()).collect();
    let scope = cx.world.known.scope(&plain);
    for value in plain.iter().filter_map(|reference| scope.get(&reference.segments)) {
        let _ = write!(made, "\0{value}");
    }
    made
}

/// What is wrong with the steps that a command names.
pub(super) fn objections(watches: &[Address]) -> Vec<Objection> {
    let wrong = watches.iter().filter(|address| !matches!(address.kind(), "files" | "credentials" | "commands" | "bundles"));
    let objection = |address: &Address| {
        Objection::new(
            format!("a command cannot run again on {address}"),
            "name files, credentials, commands or bundles here; use `after:` to wait for other steps",
        )
    };
    wrong.map(objection).collect()
}

fn inputs(present: &Stamps, arguments: &str) -> String {
    let mut text = present.to_string();
    let _ = writeln!(text, "{arguments} {ARGUMENTS}");
    text
}

/// What has changed since the run described by `recorded`, each by its address.
pub(super) fn changed(recorded: Option<&str>, present: &str) -> Vec<String> {
    let of = |text: &str, name: &str| {
        text.lines().find_map(|line| line.split_once(' ').filter(|(_, known)| *known == name)).map(|(stamp, _)| stamp.to_owned())
    };
    let recorded = recorded.unwrap_or_default();
    let names = present.lines().filter_map(|line| Some(line.split_once(' ')?.1));
    names
        .filter(|name| of(recorded, name) != of(present, name))
        .map(|name| if name == ARGUMENTS { "its arguments".to_owned() } else { name.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let stamps = |a: &str| Stamps([("files./a b".parse().unwrap(), a.to_owned())].into());
        let then = inputs(&stamps("1:2"), "00");
        assert_eq!(changed(Some(&then), &then), [""; 0]);
        assert_eq!(changed(Some(&then), &inputs(&stamps("1:3"), "00")), ["files./a b"]);
        assert_eq!(changed(Some(&then), &inputs(&stamps("1:2"), "01")), ["its arguments"]);
        assert_eq!(changed(None, &then), ["files./a b", "its arguments"]);
        // A step that no longer applies has not changed.
        assert_eq!(changed(Some(&then), &inputs(&Stamps::default(), "00")), [""; 0]);
    }

    #[test]
    fn arguments_are_all_that_it_is_started_with() {
        let run = |words: &[&str]| words.iter().map(|word| Text::new(*word)).collect::<Vec<_>>();
        let variables = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, text)| ((*name).to_owned(), Text::new(*text))).collect();
        let (words, none) = (run(&["/bin/build", "a"]), BTreeMap::new());
        let plain = || Start { run: &words, environment: &none, user: None, directory: None };
        let digest = |start: Start<'_>| start.digest(&|text| text.raw().to_owned());
        assert_eq!(digest(plain()), digest(plain()));
        let others = [
            digest(Start { run: &run(&["/bin/build", "b"]), ..plain() }),
            digest(Start { run: &run(&["/bin/builda"]), ..plain() }),
            digest(Start { environment: &variables(&[("A", "b")]), ..plain() }),
            digest(Start { user: Some("shop"), ..plain() }),
            digest(Start { directory: Some(Path::new("/srv")), ..plain() }),
        ];
        assert!(!others.contains(&digest(plain())), "{others:?}");
    }

    #[test]
    fn only_what_has_a_stamp_is_watched() {
        let count = |watches: &[&str]| objections(&watches.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>()).len();
        assert_eq!(count(&["files./a", "bundles.a", "commands.a", "credentials.a"]), 0);
        assert_eq!(count(&["secrets.a", "services.a.service"]), 2);
    }
}
