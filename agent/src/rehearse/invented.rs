//! Replaces what the machine and AWS in memory made up by words that cannot be mistaken for real ones:
//! `<volumes.data.id>` instead of an id.
//!
//! The steps of a dry run work with ids, disk names and user numbers like those of a boot. Before anything is shown or
//! written, each is replaced by the reference to it, as is done for an unknown fact.

use zeroize::Zeroizing;

use crate::fake::aws::{FakeEc2, NAMED_BY};
use crate::fake::machine::{FakeMachine, UNKNOWN_DISK};
use crate::plan::{Plan, PlanNode};
use crate::rehearse::given::Given;
use crate::report::{Report, Trouble};
use crate::sorting::Sort as _;
use crate::step::Known;

/// The kind of step that has volume ids and disks.
const VOLUMES: &str = "volumes";

/// The kind of step that has releases.
const BUNDLES: &str = "bundles";

/// The text before the numbers of a user and a group, in the line of a change.
const OWNER: &str = "owner ";

pub(super) struct Invented {
    /// What was made up, and what to show instead. The longest come first, because one may be a prefix of another.
    words: Vec<(String, String)>,
    /// The same for what only files contain: versions and digests of releases.
    releases: Vec<(String, String)>,
    machine: FakeMachine,
}

impl Invented {
    /// Collects what was made up in the rehearsal of `plan`, once that is over.
    pub(super) fn of(plan: &Plan, given: &Given, known: &Known, machine: &FakeMachine, ec2: &FakeEc2) -> Self {
        let invented = ec2.invented();
        let mut words: Vec<(String, String)> = Vec::new();
        let volumes = plan.nodes.iter().map(|node| &node.address).filter(|address| address.kind() == VOLUMES);
        for address in volumes.filter(|address| given.outputs(address).is_none()) {
            let id = known.text(address, "id").filter(|id| invented.contains(id));
            words.extend(id.map(|id| (id, format!("<{address}.id>"))));
            let device = known.text(address, "device").filter(|device| device.starts_with(UNKNOWN_DISK));
            words.extend(device.map(|device| (device, format!("<{address}.device>"))));
        }
        for id in invented {
            if !words.iter().any(|(known, _)| *known == id) {
                let word = if id.starts_with("snap-") { "<newest snapshot>" } else { "<volume>" };
                words.push((id, word.into()));
            }
        }
        let sizes = ec2.invented_sizes().into_iter().map(|(text, id)| {
            let shown = words.iter().find(|(known, _)| *known == id).map_or(id.as_str(), |(_, word)| word);
            (text, format!(" from {shown}"))
        });
        let sizes: Vec<_> = sizes.collect();
        words.extend(sizes);
        words.order_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        Self { words, releases: releases(plan, given, known), machine: machine.clone() }
    }

    /// A line about the machine, with everything made up replaced.
    fn told(&self, text: &str) -> String {
        self.owners(&of_parameters(&replaced(text, &self.words)))
    }

    /// Replaces the numbers of users and groups by their names.
    fn owners(&self, text: &str) -> String {
        let mut told = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OWNER) {
            told.push_str(before);
            told.push_str(OWNER);
            let end = after.find(|character: char| !character.is_ascii_digit() && character != ':').unwrap_or(after.len());
            told.push_str(&self.owner(&after[..end]).unwrap_or_else(|| after[..end].to_owned()));
            rest = &after[end..];
        }
        told + rest
    }

    /// `shop` or `shop:www` for two numbers.
    fn owner(&self, numbers: &str) -> Option<String> {
        let (user, group) = numbers.split_once(':')?;
        let [user, group] = [self.machine.name_of(user.parse().ok()?)?, self.machine.name_of(group.parse().ok()?)?];
        Some(if user == group { user } else { format!("{user}:{group}") })
    }

    /// The same for all texts of a report.
    pub(super) fn told_in(&self, report: &mut Report) {
        let trouble = |trouble: &mut Trouble| {
            trouble.message = self.told(&trouble.message);
            trouble.causes.iter_mut().chain(&mut trouble.hint).for_each(|text| *text = self.told(text));
        };
        for step in &mut report.steps {
            step.changes.iter_mut().for_each(|change| *change = self.told(change));
            step.error.iter_mut().for_each(trouble);
        }
        report.warnings.iter_mut().for_each(|warning| *warning = self.told(warning));
    }

    /// A file with everything made up replaced. A file that is not text contains nothing of it.
    pub(super) fn told_in_file(&self, content: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        match std::str::from_utf8(&content) {
            Ok(text) if self.words.iter().chain(&self.releases).any(|(word, _)| text.contains(word.as_str())) => {
                Zeroizing::new(replaced(&replaced(text, &self.words), &self.releases).into_bytes())
            }
            _ => content,
        }
    }
}

fn replaced(text: &str, words: &[(String, String)]) -> String {
    let mut told = text.to_owned();
    for (word, shown) in words.iter().filter(|(word, _)| text.contains(word.as_str())) {
        told = told.replace(word.as_str(), shown);
    }
    told
}

/// The versions of bundles that a parameter names, and the digests that only S3 or the parameter could tell.
fn releases(plan: &Plan, given: &Given, known: &Known) -> Vec<(String, String)> {
    let nodes = plan.nodes.iter().filter(|node| node.address.kind() == BUNDLES && given.outputs(&node.address).is_none());
    let of_one = |node: &PlanNode| {
        let output = |field: &str| known.text(&node.address, field).map(|text| (text, format!("<{}.{field}>", node.address)));
        let written: Vec<String> = node.step.shape(node.address.key()).texts.into_iter().map(|text| known.shown(text)).collect();
        let digest = output("sha256").filter(|(digest, _)| !digest.is_empty() && !written.contains(digest));
        let version = output("version").filter(|(version, _)| version.starts_with(NAMED_BY));
        [digest, version].into_iter().flatten().collect::<Vec<_>>()
    };
    nodes.flat_map(of_one).collect()
}

/// Replaces releases that parameters would name.
fn of_parameters(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NAMED_BY) {
        let end = after.find(|character: char| !character.is_ascii_alphanumeric() && !"-_.".contains(character)).unwrap_or(after.len());
        told.push_str(before.strip_suffix("s3://bucket/").unwrap_or(before));
        told.push_str("<release>");
        rest = &after[end..];
    }
    told + rest
}
