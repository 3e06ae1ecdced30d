//! Splits a long template into parts that can be parsed one after another with the same result.
//!
//! To determine the position of each tag, the parser counts from the start of its input: a template of a thousand tags
//! takes a hundred times as long in one piece as one of a hundred tags. A cut is made between two lines that contain
//! only text and plain tags, outside of all blocks, because no white space rule reaches across it. If a line cannot be
//! classified with certainty, there is no further cut from there on.

use super::braces::first_pair;

/// The minimum length of a part before the next cut, if the text allows it. In tests, parts are as short as possible.
pub(super) const LENGTH: usize = if cfg!(test) { 1 } else { 1024 };

/// The parts, each with the number of lines before it.
pub(super) fn of(source: &str) -> Vec<(&str, usize)> {
    // Most texts in a document are shorter than that.
    if source.len() <= LENGTH {
        return vec![(source, 0)];
    }
    let mut parts = Vec::new();
    let (mut start, mut lines_before) = (0, 0);
    for cut in cuts(source) {
        if cut - start >= LENGTH {
            parts.push((&source[start..cut], lines_before));
            lines_before += source[start..cut].matches('\n').count();
            start = cut;
        }
    }
    parts.push((&source[start..], lines_before));
    parts
}

/// The positions of lines before which the text may be cut, in order.
fn cuts(source: &str) -> Vec<usize> {
    let mut cuts = Vec::new();
    let (mut open, mut after_plain, mut at) = (0_usize, false, 0);
    // For the parser, a `~` remains in effect until the next tag that is not a comment, not only until the next text.
    let (has_tilde, mut trimming) = (source.contains('~'), false);
    while at < source.len() {
        let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline + 1);
        let Some((next, plain)) = line(source, at, end, &mut open) else { break };
        if plain && after_plain {
            cuts.push(at);
        }
        after_plain = plain && !trimming;
        trimming = has_tilde && (source[at..next].contains('~') || (trimming && !(plain && source[at..next].contains("{{"))));
        at = next;
    }
    cuts
}

/// Reads the line from `at` to `end`, and further if a tag extends beyond it. Returns where the next line begins, and
/// whether this one is plain; `None` if that is uncertain.
fn line(source: &str, mut at: usize, mut end: usize, open: &mut usize) -> Option<(usize, bool)> {
    let mut plain = *open == 0 && !source[at..end].trim_start().is_empty() && !source[at..end].contains('~');
    while let Some(tag) = first_pair(&source[at..end], b'{').map(|found| at + found) {
        let inner = &source[tag + 2..];
        if source[..tag].ends_with('\\') || inner.starts_with("{{") {
            return None;
        }
        let kind = inner.trim_start_matches(['~', ' ', '\t']);
        let closes = match kind.as_bytes().first()? {
            b'!' => end_of_comment(inner)?,
            _ => first_pair(inner, b'}')?,
        };
        let content = &inner[..closes];
        match kind.as_bytes()[0] {
            b'!' => plain = false,
            b'#' | b'^' => (*open, plain) = (*open + 1, false),
            b'/' => (*open, plain) = (open.checked_sub(1)?, false),
            // A quoted text may contain anything.
            _ if content.bytes().filter(|byte| matches!(byte, b'"' | b'\'')).count() % 2 == 1 => return None,
            first => plain &= (first.is_ascii_alphanumeric() || first == b'@') && !kind.starts_with("else") && !content.contains('\n'),
        }
        at = tag + 2 + closes + first_pair(&inner[closes..], b'}')? + 2;
        if at > end {
            end = source[at..].find('\n').map_or(source.len(), |newline| at + newline + 1);
            plain = false;
        }
    }
    Some((end, plain))
}

/// The position of the braces that end a comment; `inner` is the text after the opening braces. A comment that begins
/// with two dashes ends with two dashes, whatever it contains. If there are none, it ends like any other tag.
fn end_of_comment(inner: &str) -> Option<usize> {
    let dashes = inner.find('!').map(|mark| inner[mark + 1..].trim_start()).and_then(|text| text.strip_prefix("--"));
    let long = dashes.and_then(|text| Some(inner.len() - text.len() + text.find("--}}")? + 2));
    long.or_else(|| first_pair(inner, b'}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::{Scope, Template};

    #[test]
    fn cuts_between_plain_lines_outside_of_blocks() {
        let source = "a\n{{b}}\nc\n{{#if d}}\ne\nf\n{{/if}}\ng\n{{!-- {{#if}}\n--}}\nh\n{{else_}}\ni\nj {{~k}}\nl\n\nm\n";
        let lines: Vec<&str> = cuts(source).into_iter().map(|at| source[at..].lines().next().unwrap()).collect();
        assert_eq!(lines, ["{{b}}", "c"]);
    }

    #[test]
    fn gives_up_where_it_is_not_certain() {
        for end in ["\\{{a}}", "{{{{raw}}}}", "{{a \"}}\"}}", "{{a", "{{/if}}"] {
            assert_eq!(cuts(&format!("a\nb\n{end}\nc\nd\n")), [2], "{end}");
        }
    }

    /// A line within a comment is not plain, whatever the comment looks like.
    #[test]
    fn does_not_cut_a_comment() {
        for comment in ["{{!-- a -- b {{c}}\nd\ne\n--}}", "{{! -- b }}\nd\ne\n--}}", "{{!--}}\nd\ne\n--}}"] {
            assert!(cuts(&format!("{comment}\nf\n")).is_empty(), "{comment}");
        }
        assert_eq!(cuts("{{!-- a }}\nb\nc\n"), [13], "no dashes end it");
    }

    /// For the parser, it trims the text after the comment as well.
    #[test]
    fn does_not_cut_between_a_tilde_and_the_next_tag() {
        assert!(cuts("{{a~}}\nb\nc\n{{! d }}\n{{e}}\n").is_empty());
        assert_eq!(cuts("{{a~}}\n{{b}}\nc\nd\n"), [15]);
    }

    const LINES: [&str; 26] = [
        "plain",
        "a = {{x.a}}",
        "{{x.b}}{{x.c}}",
        "{{#if x.a}}",
        "{{/if}}",
        "{{else}}",
        "  {{~x.a}}",
        "{{x.a~}}  ",
        "",
        "  ",
        "\r",
        "{{!-- {{#if}} --}}",
        "{{!-- a -- b {{x.a}}",
        "{{! -- c }}",
        "{{!--}}",
        "d --}}",
        "{{! no }}",
        "{{default x.a \"'}}'\"}}",
        "{{default x.q",
        "x.a}}",
        "{{{x.b}}}",
        "{{{{x.a}}}}",
        "\\{{x.a}}",
        "{{#each x.l}}",
        "{{/each}}",
        "{{toml x.d}} é",
    ];

    proptest! {
        /// The result is the same in parts and in one piece, for any sequence of lines.
        #[test]
        fn parts_render_as_the_whole_does(picked in prop::collection::vec(0..LINES.len(), 0..30)) {
            let source: String = picked.iter().map(|at| format!("{}\n", LINES[*at])).collect();
            let scope = Scope::from(serde_json::json!({"x": {"a": 1, "b": "b", "c": " c ", "d": "d", "l": [1, 2]}}));
            let shown = |template: Result<Template, _>| template.and_then(|template| {
                let places: Vec<_> = template.references().iter().map(|one| template.position_of(one)).collect();
                Ok((template.render(&scope)?.expose().to_owned(), places))
            });
            prop_assert_eq!(shown(Template::parse(&source)), shown(Template::in_one_piece(&source)));
        }
    }
}
