//! Checks the layout of `agent/src` and `fleet/src`: which room may import from which, and that
//! no two files import from each other in a cycle.
//!
//! The files are read as text: `use` trees, paths in bodies, re-exports. An import counts for the file that defines the
//! name. A `mod` line is not an import, and neither is a `pub use` of a name of the same room that the file itself does
//! not use. Unit tests may import from anywhere. Methods are not followed: an `impl` in another file is not an import.

#[path = "house/paths.rs"]
mod paths;
#[path = "house/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use paths::House;

/// The layout of one member of the workspace.
struct Layout {
    src: &'static str,
    /// What all rooms share: files that import at most from each other.
    words: &'static [&'static str],
    /// The rooms, each of which imports only from those before it.
    order: &'static [&'static str],
    /// The files that connect the rooms.
    outside: &'static [&'static str],
}

const AGENT: Layout = Layout {
    src: "src",
    words: &[
        "address",
        "backoff",
        "digest",
        "exit",
        "failure",
        "gather",
        "json",
        "number",
        "packed",
        "paint",
        "redaction",
        "sorting",
        "text",
    ],
    order: &[
        "host", "net", "image", "aws", "fake", "template", "facts", "step", "steps", "document", "plan", "report", "execute", "boot",
        "rehearse", "seal", "worker", "drain", "cli",
    ],
    // Includes what `ingot-fleet` and benchmarks see of it.
    outside: &["lib", "main", "bundled", "desk", "measured"],
};

const FLEET: Layout = Layout {
    src: "../fleet/src",
    words: &["digest", "exit", "failure", "files", "place"],
    order: &["release", "deployment", "story", "aws", "fleet", "beanstalk", "stack", "conduct", "cli"],
    outside: &["main"],
};

/// The most lines of a file. Longer files are split by meaning.
const LONGEST_FILE: usize = 400;

impl Layout {
    fn house(&self) -> House {
        House::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(self.src))
    }

    fn rank(&self, module: &str) -> Option<usize> {
        let room = module.split("::").next().unwrap_or(module);
        if self.words.contains(&room) {
            return Some(0);
        }
        self.order.iter().position(|other| *other == room).map(|at| at + 1)
    }

    /// Every import that violates the order of rooms.
    fn against_the_order(&self, imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (from, targets) in imports.iter().filter(|(from, _)| !self.outside.contains(&from.as_str())) {
            let Some(own) = self.rank(from) else {
                wrong.push(format!("{from} is in no room of the order"));
                continue;
            };
            let late = targets.iter().filter(|to| self.rank(to).is_none_or(|other| other > own));
            wrong.extend(late.map(|to| format!("{from} imports from {to}")));
        }
        wrong
    }
}

/// The cycles: files that reach each other by imports, each with the imports that cause it.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|from| (from.as_str(), reachable(from, imports))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for from in imports.keys().filter(|from| reach[from.as_str()].contains(from.as_str())) {
        let is_tied = |to: &&str| reach.get(to).is_some_and(|back| back.contains(from.as_str()));
        let circle: BTreeSet<&str> = reach[from.as_str()].iter().copied().filter(is_tied).collect();
        if seen.insert(circle.clone()) {
            let ties =
                circle.iter().flat_map(|a| imports[*a].iter().filter(|b| circle.contains(b.as_str())).map(move |b| format!("{a} -> {b}")));
            circles.push(ties.collect::<Vec<_>>().join("\n    "));
        }
    }
    circles
}

fn reachable<'a>(from: &str, imports: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = imports[from].iter().map(String::as_str).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(imports.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

#[test]
fn rooms_import_only_from_the_rooms_before_them() {
    for layout in [AGENT, FLEET] {
        let wrong = layout.against_the_order(&layout.house().imports());
        let order = layout.order.join(" <- ");
        assert!(wrong.is_empty(), "{}: {} imports against the order {order}:\n{}", layout.src, wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn no_circle_of_imports_is_left() {
    for layout in [AGENT, FLEET] {
        let circles = circles(&layout.house().imports());
        assert!(circles.is_empty(), "{}: {} circles:\n  {}", layout.src, circles.len(), circles.join("\n  "));
    }
}

#[test]
fn no_file_is_longer_than_400_lines() {
    for layout in [AGENT, FLEET] {
        let house = layout.house();
        let long = house.lengths().filter(|(_, lines)| *lines > LONGEST_FILE).map(|(file, lines)| format!("{file}: {lines}"));
        let long: Vec<String> = long.collect();
        assert!(long.is_empty(), "{}: split by meaning:\n{}", layout.src, long.join("\n"));
    }
}

/// A house for the tests below, from modules and their text.
fn built(files: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
    House::of(files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned()))).imports()
}

#[test]
fn an_import_against_the_order_is_found_wherever_it_is_written() {
    let later = ("cli", "pub(crate) fn x() {}");
    for text in
        ["use crate::cli;\nfn f() { cli::x() }", "use crate::{cli::x, text};", "fn f() { crate::cli::x() }", "use super::cli::x as y;"]
    {
        let imports = built(&[("host", text), later, ("text", "")]);
        assert_eq!(AGENT.against_the_order(&imports), ["host imports from cli"], "{text}");
    }
    let used_too = built(&[("host", "pub(crate) use crate::cli::x;"), later]);
    assert_eq!(AGENT.against_the_order(&used_too), ["host imports from cli"], "a re-export of another room");
    assert_eq!(AGENT.against_the_order(&built(&[("host", "fn f() -> X { X { ..crate::cli::x() } }"), later])), ["host imports from cli"]);
    let quoted = "// use crate::cli::x;\nconst A: &str = \"crate::cli::x\";\n#[cfg(test)]\nmod tests {\n    use crate::cli::x;\n}";
    assert!(AGENT.against_the_order(&built(&[("host", quoted), later])).is_empty());
}

#[test]
fn a_circle_is_found_through_re_exports_and_between_parent_and_child() {
    let through = built(&[
        ("aws", "mod a;\nmod b;\npub(crate) use a::A;\npub(crate) use b::B;"),
        ("aws::a", "use super::B;\npub(crate) struct A;"),
        ("aws::b", "use crate::aws::A;\npub(crate) struct B;"),
    ]);
    assert_eq!(circles(&through), ["aws::a -> aws::b\n    aws::b -> aws::a"]);
    let parent = built(&[("aws", "mod a;\nstruct W;\nfn f() { a::f() }"), ("aws::a", "use super::W;\npub(super) fn f() {}")]);
    assert_eq!(circles(&parent), ["aws -> aws::a\n    aws::a -> aws"]);
}

#[test]
fn a_module_that_only_re_exports_its_children_is_tied_to_none() {
    let imports = built(&[
        ("aws", "pub(crate) mod a;\nmod b;\npub(crate) use a::A;\npub(crate) use b::B;"),
        ("aws::a", "pub(crate) struct A;"),
        ("aws::b", "use super::A;\npub(crate) struct B(A);"),
    ]);
    assert!(circles(&imports).is_empty());
    let user =
        built(&[("aws", "mod a;\npub(crate) use a::A;\npub(crate) struct W(A);"), ("aws::a", "use super::W;\npub(crate) struct A;")]);
    assert_eq!(circles(&user), ["aws -> aws::a\n    aws::a -> aws"], "what is offered and used");
    assert_eq!(imports["aws::b"], BTreeSet::from(["aws::a".to_owned()]));
}
