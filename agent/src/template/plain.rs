//! Reads the content of most templates without the parser: text, and tags with a path (`{{values.port}}`) or a helper
//! and paths (`{{toml secrets.db}}`).
//!
//! The meaning of these is unambiguous, and the parser takes some 50,000 instructions for each. All other constructs,
//! and all mistakes, are left to the parser.

use super::braces::first_pair;
use super::helpers::Helper;
use super::path::is_symbol;
use super::position::Position;
use super::tree::{BLOCKS, Base, Call, Expression, Node, Path};

/// The nodes of `source`, which is preceded by this many lines, if it contains only text and plain tags.
pub(super) fn nodes(source: &str, lines_before: usize) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    let (mut rest, mut at) = (source, Position { line: lines_before + 1, column: 1 });
    while let Some(open) = first_pair(rest, b'{') {
        let (text, tag) = rest.split_at(open);
        if text.ends_with('\\') {
            return None;
        }
        nodes.extend((!text.is_empty()).then(|| Node::Text(text.to_owned())));
        at = at.past(text);
        let inside = &tag[2..2 + first_pair(&tag[2..], b'}')?];
        nodes.push(Node::Print(expression(inside, at)?));
        let end = inside.len() + 4;
        at = at.past(&tag[..end]);
        rest = &tag[end..];
    }
    nodes.extend((!rest.is_empty()).then(|| Node::Text(rest.to_owned())));
    Some(nodes)
}

/// The expression between the braces opened at `tag`.
fn expression(inside: &str, tag: Position) -> Option<Expression> {
    let word = |word: &str| {
        let before = word.as_ptr().addr() - inside.as_ptr().addr();
        path(word, tag.past("{{").past(&inside[..before]))
    };
    let mut words = inside.split(' ').filter(|word| !word.is_empty());
    let first = words.next()?;
    // No helper name contains a dot, and nearly every path does.
    let helper = if first.as_bytes().contains(&b'.') { None } else { Helper::named(first) };
    match helper {
        None if BLOCKS.contains(&first) || first.starts_with("else") || words.next().is_some() => None,
        None => word(first).map(Expression::Path),
        Some(helper) => {
            let arguments: Vec<Expression> = words.map(|one| word(one).map(Expression::Path)).collect::<Option<_>>()?;
            helper.takes(arguments.len()).then_some(Expression::Call(Call { helper, arguments, position: tag }))
        }
    }
}

fn path(written: &str, position: Position) -> Option<Path> {
    let segments: Vec<&str> = written.split('.').collect();
    let plain = |segment: &&str| !segment.is_empty() && segment.chars().all(is_symbol);
    let is_name = written.starts_with(|first: char| first.is_ascii_alphabetic());
    if !is_name || !segments.iter().all(plain) || matches!(segments[0], "this" | "as" | "else" | "true" | "false" | "null") {
        return None;
    }
    let segments = segments.into_iter().map(str::to_owned).collect();
    Some(Path { base: Base::Root, segments, written: written.to_owned(), position })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::compile::in_one_piece;

    #[test]
    fn reads_text_and_plain_tags() {
        let nodes = nodes("é {{ toml a.b-c.0 }}\n{{d}}}", 4).unwrap();
        let [Node::Text(text), Node::Print(Expression::Call(call)), _, Node::Print(Expression::Path(path)), Node::Text(end)] = &nodes[..]
        else {
            panic!("{nodes:?}")
        };
        let Expression::Path(argument) = &call.arguments[0] else { panic!("{call:?}") };
        assert_eq!((text.as_str(), call.helper, call.position), ("é ", Helper::named("toml").unwrap(), Position { line: 5, column: 3 }));
        assert_eq!(
            (&argument.segments[..], argument.position),
            (&["a", "b-c", "0"].map(str::to_owned)[..], Position { line: 5, column: 11 })
        );
        assert_eq!((path.written.as_str(), path.position, end.as_str()), ("d", Position { line: 6, column: 3 }, "}"));
    }

    #[test]
    fn leaves_the_rest_to_the_parser() {
        for source in [
            "{{#if a}}b{{/if}}",
            "{{! a }}",
            "{{{a}}}",
            "{{~a}}",
            "\\{{a}}",
            "{{a",
            "{{}}",
            "{{elsewhere}}",
            "{{this.a}}",
            "{{toml}}",
            "{{toml null}}",
            "{{a b}}",
            "{{a/b}}",
            "{{a..b}}",
            "{{0}}",
            "{{\na}}",
            "{{if}}",
        ] {
            assert!(nodes(source, 0).is_none(), "{source}");
        }
    }

    const PIECES: [&str; 28] = [
        "{{",
        "}}",
        "{{",
        "}}",
        "{{a.b}}",
        "{{toml c}}",
        "{",
        "}",
        "\\",
        " ",
        "\n",
        "\t",
        "~",
        ".",
        "/",
        "a",
        "b.c",
        "toml",
        "lookup ",
        "else",
        "as",
        "this",
        "true",
        "null",
        "0",
        "é",
        "-",
        "raw",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Applies to templates that can be read without the parser.
        #[test]
        fn reads_the_same_as_the_parser(picked in prop::collection::vec(0..PIECES.len(), 0..12)) {
            let source: String = picked.iter().map(|at| PIECES[*at]).collect();
            // The parser records no positions within a tag: a repeated word is reported where it first occurs.
            let repeats = |tag: &str| {
                let words: Vec<&str> = tag.split(['{', ' ']).filter(|word| !word.is_empty()).collect();
                words.iter().enumerate().any(|(at, word)| words[..at].contains(word))
            };
            prop_assume!(!source.split("}}").any(repeats));
            if let Some(nodes) = nodes(&source, 0) {
                let shown = |nodes: &[Node]| nodes.iter().map(|node| format!("{node:?}")).collect::<Vec<_>>().join("\n").replace("\")\nText(\"", "");
                prop_assert_eq!(shown(&nodes), shown(&in_one_piece(&source).unwrap()), "{:?}", source);
            }
        }
    }
}
