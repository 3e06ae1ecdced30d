//! Which values of a template are found, and how their surroundings are classified.

use super::*;
use crate::template::compile::compile;

fn found(source: &str) -> Vec<String> {
    let bare = bare(&compile(source).unwrap());
    bare.iter()
        .map(|bare| {
            let origins: Vec<String> = bare.origins.iter().map(|origin| origin.join(".")).collect();
            format!("{} from {} at {}, {:?}", bare.argument, origins.join(" "), bare.position, bare.place)
        })
        .collect()
}

#[test]
fn finds_what_is_printed_without_quoting() {
    for (source, expected) in [
        ("a={{env x.a}} {{json x.b}} {{has x.c}} {{base64 x.d}} {{url x.e}}", &[][..]),
        ("a = {{x.a}}\n", &["x.a from x.a at 1:7, Alone"]),
        ("a = \"{{x.a}}\"", &["x.a from x.a at 1:8, InQuotes"]),
        ("a = \"b-{{x.a}}\"", &["x.a from x.a at 1:10, Within"]),
        ("a: [{{x.a}}, {{x.b}}]", &["x.a from x.a at 1:7, Alone", "x.b from x.b at 1:16, Alone"]),
        ("a={{default x.a (join x.b \",\")}}", &["(default …) from x.a x.b at 1:3, Alone"]),
        ("a={{default x.a \"b\"}}", &["(default …) from x.a at 1:3, Alone"]),
        ("a={{lookup x.a x.b}}", &["(lookup …) from x.a.* at 1:3, Alone"]),
        ("{{#each x.l}}\na={{this}}{{b}}{{@index}}\n{{/each}}", &["this from x.l.* at 2:5, Within", "b from x.l.*.b at 2:13, Within"]),
        ("{{#each x.l as |i|}}a={{i.c}}\n{{/each}}", &["i.c from x.l.*.c at 1:25, Alone"]),
        ("{{#with x.w}}a={{b}}{{/with}}", &["b from x.w.b at 1:18, Alone"]),
        ("{{#if x.i}}a={{x.a}}{{else}}a={{x.b}}{{/if}}", &["x.a from x.a at 1:16, Alone", "x.b from x.b at 1:33, Alone"]),
        ("{{x.whole}}\n", &[]),
        ("{{x.a}}{{x.b}}", &["x.a from x.a at 1:3, Within", "x.b from x.b at 1:10, Within"]),
    ] {
        assert_eq!(found(source), expected, "{source}");
    }
}

#[test]
fn knows_the_parts_of_a_url() {
    for (source, expected) in [
        ("u=postgres://{{x.u}}:{{x.p}}@{{x.h}}:{{x.n}}/{{x.d}}?a={{x.q}}\n", "InUrl InUrl Within Within Within InUrl"),
        ("u=http://{{x.h}}/a b {{x.b}}", "Within Within"),
        ("u=\"http://{{x.u}}@h\" {{x.b}}", "InUrl Within"),
        ("u=http://h:80/{{x.b}}", "Within"),
        ("u=http://h:80/{{x.b}}/a?b={{x.b}}&c={{x.b}}", "Within InUrl InUrl"),
        ("u=http://h:80/a#{{x.b}}", "Within"),
        ("u={{x.b}}://h", "Within"),
    ] {
        let places: Vec<String> = bare(&compile(source).unwrap()).iter().map(|bare| format!("{:?}", bare.place)).collect();
        assert_eq!(places.join(" "), expected, "{source}");
    }
}

/// Regression: a line took one second per 12 KB, because each `#` was counted from the start and each block copied the
/// lines above.
#[test]
fn the_time_grows_with_the_text() {
    let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    let indented: String = (0..400).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let many = |before: &str, one: &str| {
        // In pieces, because the parser's own time grows faster than the text.
        let rest = (0..4_000).map(|_| one);
        std::iter::once(before).chain(rest).flat_map(|piece| compile(piece).unwrap()).collect::<Vec<Node>>()
    };
    for compiled in [
        many(&format!("a: \"{}", " #".repeat(3_000)), "{{x.a}}"),
        many(&format!("a: {}", "' #' ".repeat(3_000)), "{{x.a}}"),
        many(&indented, "{{#if x.b}}{{x.a}}{{/if}}"),
        many(&" ".repeat(100_000), "{{x.a}}"),
    ] {
        let began = now();
        assert_eq!(bare(&compiled).len(), 4_000);
        let took = std::time::Duration::from(now() - began);
        assert!(took.as_secs() < 4, "{took:?}");
    }
}

#[test]
fn knows_text_that_is_no_value() {
    for (source, expected) in [
        (
            "# for {{x.a}}\n  ; for {{x.a}}\n// {{x.a}}\n<!-- {{x.a}} -->\n",
            "Comment(\"#\") Comment(\";\") Comment(\"//\") Comment(\"<!--\")",
        ),
        ("a={{x.a}} # b\n#b\nc={{x.a}}", "None None"),
        ("a = 1 # {{x.a}}\nb = \"c # {{x.a}}\"\n! {{x.a}}\n", "Remark None Comment(\"!\")"),
        ("[{{x.a}}]\n[a {{x.a}} b]\na=[{{x.a}}]\n", "Header Header None"),
        ("a: |\n  b {{x.a}}\n\n    {{x.a}}\nc: {{x.a}}\n", "BlockText BlockText None"),
        ("a:\n  - >2-  # folded\n      b\n     {{x.a}}\n  - {{x.a}}\n", "BlockText None"),
        ("a: |\n  b\nc:\n  d: {{x.a}}\n", "None"),
        ("a |\n  {{x.a}}\na: b|\n  {{x.a}}\n", "None None"),
        ("a: |\n{{#each x.l}}  {{this}}\n{{/each}}b: {{x.a}}\n", "BlockText None"),
    ] {
        let name = |bare: &Bare| bare.inert.map_or("None".to_owned(), |inert| format!("{inert:?}"));
        let found: Vec<String> = bare(&compile(source).unwrap()).iter().map(name).collect();
        assert_eq!(found.join(" "), expected, "{source}");
    }
}

/// Regression: 20,000 such lines took a minute.
#[test]
fn the_work_grows_with_the_template_alone() {
    let before = |source: &str| {
        let mut walk = Walk { levels: Vec::new(), before: String::new(), line: 0, above: None, found: Vec::new() };
        walk.nodes(&compile(source).unwrap(), "");
        let deepest = std::iter::successors(walk.above.as_ref(), |above| above.enclosing.as_ref()).count();
        (walk.found.len(), deepest)
    };
    assert_eq!(before(&"  a: {{x.a}}\n".repeat(20_000)), (20_000, 1));
    let compiled = compile(&"{{x.a}}, ".repeat(50_000)).unwrap();
    let Some((Node::Print(_), rest)) = compiled.split_first() else { panic!("a value comes first") };
    assert!(rest_of_line(rest, "").len() <= NEAR + ", ".len());
}

#[test]
fn knows_what_is_not_trimmed() {
    let path = ["x".to_owned(), "a".to_owned()];
    for (source, expected) in [
        ("{{trim x.a}}{{env (trim x.a)}}{{has x.a}}{{x.b}}", false),
        ("{{x.a}}", true),
        ("{{trim (default x.a x.b)}}", false),
        ("{{env x.a}}{{trim x.a}}", true),
        ("{{#if x.b}}{{else}}{{x.a}}{{/if}}", true),
    ] {
        assert_eq!(untrimmed(&compile(source).unwrap(), &path), expected, "{source}");
    }
}
