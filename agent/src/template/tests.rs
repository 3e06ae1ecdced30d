//! What a template may contain, what it refers to, and what is rejected.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::address::Usage;
use crate::failure::Explanation;

/// Contained in every value of the [`scope`] that no message may repeat.
const SECRET: &str = "hunter2";

fn scope() -> Scope {
    Scope::from(json!({
        "instance": {"id": "i-0abc", "region": "eu-central-1"},
        "values": {
            "domain": "shop.example.com", "html": "<a href='x'>&\"`=", "port": 8080, "ratio": 0.5, "on": true, "off": false,
            "zero": 0, "empty": "", "nothing": null, "none": [], "bare": {},
            "hosts": ["a", "b"],
            "users": [{"name": "ada", "env": "prod"}, {"name": "bob", "env": "test"}],
            "ports": {"http": 80, "https": 443},
            "holes": [1, null],
        },
        "secrets": {"db": {"user": "shop", "password": SECRET}, "list": [SECRET], "key": "user"},
        "files": {"/etc/motd": {"path": "/etc/motd"}},
    }))
}

fn render(source: &str) -> Result<String, TemplateError> {
    Template::parse(source)?.render(&scope()).map(|text| text.expose().to_owned())
}

fn message(source: &str) -> String {
    match render(source) {
        Ok(text) => format!("rendered: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Templates and their rendered text.
const RENDERED: &[(&str, &str)] = &[
    ("", ""),
    ("{{values.domain}}:{{values.port}} {{values.ratio}} {{values.on}}", "shop.example.com:8080 0.5 true"),
    ("{{values.html}}|{{{values.html}}}|{{&values.html}}", "<a href='x'>&\"`=|<a href='x'>&\"`=|<a href='x'>&\"`="),
    ("[{{values.empty}}]", "[]"),
    ("{{files.[/etc/motd].path}}", "/etc/motd"),
    (
        "{{values.hosts.1}} {{values/domain}} {{this.values.domain}} {{@root.values.domain}}",
        "b shop.example.com shop.example.com shop.example.com",
    ),
    (r"\{{values.domain}}", "{{values.domain}}"),
    ("{{{{raw}}}}{{values.x}}{{{{/raw}}}}", "{{values.x}}"),
    ("a {{! comment }}b{{!-- {{x}} --}}", "a b"),
    ("a  {{~ values.port ~}}  b", "a8080b"),
    // Blocks.
    ("{{#if values.on}}yes{{else}}no{{/if}}{{#unless values.on}}no{{/unless}}", "yes"),
    ("{{#if values.off}}1{{else if values.zero}}2{{else if values.on}}3{{else}}4{{/if}}", "3"),
    ("{{#if values.zero includeZero=true}}zero{{/if}}", "zero"),
    ("{{#if values.nothing}}1{{else}}0{{/if}}{{#if values.none}}1{{else}}0{{/if}}{{#if values.bare}}1{{else}}0{{/if}}", "000"),
    ("{{#each values.hosts}}{{@index}}{{this}}{{#if @last}}.{{else}},{{/if}}{{/each}}", "0a,1b."),
    ("{{#each values.ports}}{{@key}}={{this}};{{/each}}", "http=80;https=443;"),
    ("{{#each values.ports as |port name|}}{{name}}={{port}};{{/each}}", "http=80;https=443;"),
    ("{{#each values.hosts as |host n|}}{{n}}{{host}}{{/each}}", "0a1b"),
    (
        "{{#each values.users}}{{name}}@{{../values.domain}} {{@root.values.port}};{{/each}}",
        "ada@shop.example.com 8080;bob@shop.example.com 8080;",
    ),
    (
        "{{#each values.users as |user|}}{{#each ../values.hosts}}{{user.name}}{{this}}{{@../index}} {{/each}}{{/each}}",
        "adaa0 adab0 boba1 bobb1 ",
    ),
    ("{{#each values.users}}{{this.env}}{{./env}}{{/each}}", "prodprodtesttest"),
    ("{{#each values.hosts}}{{#with @root.values}}{{@index}}{{port}}{{/with}}{{/each}}", "0808018080"),
    (
        "{{#each values.none}}x{{else}}none{{/each}}{{#each values.none}}x{{/each}}{{#each values.nothing}}x{{else}}null{{/each}}",
        "nonenull",
    ),
    ("{{#with secrets.db}}{{user}} {{../values.port}}{{/with}}", "shop 8080"),
    ("{{#with secrets.db as |db|}}{{db.user}}{{/with}}{{#with values.nothing}}x{{else}}null{{/with}}", "shopnull"),
    ("{{#with (lookup values.users 0)}}{{name}}{{/with}}", "ada"),
    ("{{#each values.users}}\n- {{name}}\n{{/each}}\n", "- ada\n- bob\n"),
    // Helpers.
    ("{{default values.missing \"d\"}} {{default values.nothing 1}} {{default values.domain \"d\"}}", "d 1 shop.example.com"),
    ("{{default values.empty \"d\"}}.{{default values.off true}}", ".false"),
    ("{{default values.a (default values.b values.port)}}", "8080"),
    // Braces and vertical bars of other programs.
    ("{{default values.missing \"{{ .Name }}\"}}", "{{ .Name }}"),
    ("{{default values.missing \"{{name.first}}|{{x}}\"}}", "{{name.first}}|{{x}}"),
    ("{{join values.hosts \", \"}} {{base64 values.domain}}", "a, b c2hvcC5leGFtcGxlLmNvbQ=="),
    ("{{join (default values.missing [\"x\"]) \",\"}}", "x"),
    ("{{lookup values.ports \"http\"}} {{lookup values.hosts 1}} {{lookup secrets.db secrets.key}}", "80 b shop"),
    ("{{#if (eq values.domain \"shop.example.com\")}}1{{/if}}{{#if (ne values.port 8080)}}2{{/if}}", "1"),
    (
        "{{#if (has values.missing)}}{{values.missing}}{{else}}not there{{/if}} {{has values.nothing}} {{has values.off}}",
        "not there false true",
    ),
    ("{{#if (and (has values.missing) (eq values.missing 1))}}1{{else}}0{{/if}}", "0"),
    ("{{#if (or (not (has values.missing)) (eq values.missing 1))}}1{{else}}0{{/if}}", "1"),
    ("{{has (lookup values.missing \"x\")}}{{has (lookup values.ports values.domain)}}", "falsefalse"),
    ("{{#if (has values.hosts)}}{{toml values.hosts}}{{/if}}", r#"["a", "b"]"#),
];

#[test]
fn renders() {
    for (source, expected) in RENDERED {
        assert_eq!(render(source).map_err(|error| error.to_string()).as_deref(), Ok(*expected), "{source}");
    }
}

#[test]
fn refuses_to_render_what_is_not_there() {
    for (source, expected) in [
        ("{{values.missing}}", "values.missing is missing"),
        ("{{values.domain.x}}", "values.domain.x is missing"),
        ("{{#if values.missing}}{{/if}}", "values.missing is missing"),
        ("{{#unless values.missing}}{{/unless}}", "values.missing is missing"),
        ("{{#each values.missing}}{{else}}{{/each}}", "values.missing is missing"),
        ("{{#with values.missing}}{{else}}{{/with}}", "values.missing is missing"),
        ("{{#if values.off}}{{else if values.missing}}{{/if}}", "values.missing is missing"),
        ("{{#if (eq values.missing 1)}}{{/if}}", "values.missing is missing"),
        ("{{#if (not values.missing)}}{{/if}}", "values.missing is missing"),
        ("{{#if (and values.on values.missing)}}{{/if}}", "values.missing is missing"),
        ("{{#if (or values.off values.missing)}}{{/if}}", "values.missing is missing"),
        ("{{join values.missing \",\"}}", "values.missing is missing"),
        ("{{toml values.missing}}", "values.missing is missing"),
        ("{{default values.missing values.gone}}", "values.gone is missing"),
        ("{{lookup values.ports \"ftp\"}}", "values.ports.ftp is missing"),
        ("{{lookup values.missing values.domain}}", "values.missing is missing"),
        ("{{lookup values.ports values.domain}}", "the result of `lookup` is missing"),
        ("{{has (lookup values.ports values.missing)}}", "values.missing is missing"),
        ("{{values.hosts.2}}", "values.hosts.2 is missing"),
        ("{{files.[/etc/none].path}}", "files.[/etc/none].path is missing"),
        ("{{#each values.users}}{{age}}{{/each}}", "age is missing"),
        ("{{#each values.users}}{{#if this.age}}{{/if}}{{/each}}", "this.age is missing"),
        ("{{#each values.hosts}}{{@key}}{{/each}}", "@key is missing"),
        ("{{#with secrets.db}}{{host}}{{/with}}", "secrets.db.host is missing"),
    ] {
        assert_eq!(message(source), expected, "{source}");
    }
}

#[test]
fn refuses_to_print_what_is_no_text() {
    let only = "only a string, a number or a boolean can be printed as it is";
    for (source, path, found) in [
        ("{{values.hosts}}", "values.hosts", "a list"),
        ("{{{values.hosts}}}", "values.hosts", "a list"),
        ("{{values.ports}}", "values.ports", "a map"),
        ("{{values.nothing}}", "values.nothing", "null"),
        ("{{#each values.users}}{{this}}{{/each}}", "this", "a map"),
        ("{{#each values.holes}}{{this}}{{/each}}", "this", "null"),
        ("{{#with secrets}}{{list}}{{/with}}", "secrets.list", "a list"),
        ("{{lookup values.users 0}}", "values.users.0", "a map"),
        ("{{default values.missing values.ports}}", "the result of `default`", "a map"),
    ] {
        assert_eq!(message(source), format!("{path} is {found}, but {only}"), "{source}");
    }
    for (source, expected) in [
        ("{{join values.domain \",\"}}", "values.domain is a string, but `join` takes a list"),
        ("{{shell values.hosts}}", "values.hosts is a list, but `shell` takes a string, a number or a boolean"),
        ("{{base64 values.nothing}}", "values.nothing is null, but `base64` takes a string, a number or a boolean"),
        ("{{#each values.domain}}{{/each}}", "values.domain is a string, but `each` iterates over a list or a map"),
        ("{{#each values.nothing}}{{/each}}", "values.nothing is null, but `each` iterates over a list or a map"),
        ("{{toml values.nothing}}", "values.nothing cannot be written by `toml`: it is null or has a null in it"),
        ("{{join values.holes \",\"}}", "values.holes cannot be written by `join`: it has an item that is not a string, number or boolean"),
    ] {
        assert_eq!(message(source), expected, "{source}");
    }
}

/// Regression: it took two gigabytes, and then the process was aborted.
#[test]
fn lists_within_each_other_do_not_take_all_memory() {
    let list = Value::Array((0..2000).map(Value::from).collect());
    let scope = Scope::from(json!({ "values": { "l": list } }));
    let nested = |body: &str| {
        let each = "{{#each @root.values.l}}".repeat(3);
        Template::parse(&format!("{each}{body}{}", "{{/each}}".repeat(3))).unwrap()
    };
    let error = |body: &str| Explanation::of(&nested(body).render(&scope).unwrap_err()).to_string();
    insta::assert_snapshot!(error("x"), @r"
    the result of this template takes more than 10000000 parts
      hint: use shorter values, or loops over fewer items
    ");
    insta::assert_snapshot!(error("{{this}}: some text of which there is too much\n"), @r"
    the result of this template is larger than 16 MiB
      hint: use shorter values, or loops over fewer items
    ");
    assert!(nested("").multiplies());
    assert!(!Template::parse("{{#each values.l}}x{{/each}}{{#each values.l}}y{{/each}}").unwrap().multiplies());
}

#[test]
fn refuses_to_parse_what_can_never_render() {
    for (source, place, expected) in [
        ("a\n{{tolm values.x}}", "2:1", "`tolm` is not a helper\n  hint: write `toml`"),
        ("{{#ech values.x}}{{/ech}}", "1:1", "`ech` is not a helper\n  hint: write {{#each …}}"),
        ("{{if values.x}}", "1:1", "`if` is not a helper\n  hint: write the block {{#if …}} … {{/if}}"),
        (
            "{{toml}}",
            "1:1",
            "`toml` takes one value\n  hint: call it as in {{toml values.name}}; a value of that name is `values.toml` or `this.toml`",
        ),
        (
            "{{#toml values.x}}{{/toml}}",
            "1:1",
            "`toml` is not a block: write it without the `#`\n  hint: call it as in {{toml values.name}}; a value of that name is `values.toml` or `this.toml`",
        ),
        ("{{#if}}{{/if}}", "1:1", "`if` takes one value\n  hint: write {{#if VALUE}} … {{/if}}"),
        ("{{#each values.x y=1}}{{/each}}", "1:1", "`each` takes no options\n  hint: write {{#each VALUE}} … {{/each}}"),
        (
            "{{> header}}",
            "1:1",
            "partials and decorators (`{{> …}}`, `{{* …}}`) are not supported\n  hint: write the text out here, or iterate over a list with {{#each}}",
        ),
        (
            "{{#*inline \"x\"}}{{/inline}}",
            "1:1",
            "partials and decorators (`{{> …}}`, `{{* …}}`) are not supported\n  hint: write the text out here, or iterate over a list with {{#each}}",
        ),
        (
            "x {{../values.x}}",
            "1:5",
            "`../values.x` goes above the top of the template\n  hint: remove one `../`: only `each` and `with` add a level",
        ),
        (
            "{{#if values.x}}{{../values.x}}{{/if}}",
            "1:19",
            "`../values.x` goes above the top of the template\n  hint: remove one `../`: only `each` and `with` add a level",
        ),
        ("{{json this}}", "1:8", "`this` refers to all values at once\n  hint: name the value, as in {{values.domain}}"),
        ("{{@index}}", "1:3", "`@index` has a value only inside `each`\n  hint: move it into an {{#each}} block"),
        (
            "{{#each values.x}}{{@foo}}{{/each}}",
            "1:21",
            "`@foo` is not a variable of Handlebars\n  hint: use @index, @key, @first, @last or @root",
        ),
        ("a\n{{#if values.x}}\nb", "2:1", "`{{#if}}` is never closed\n  hint: write {{/if}} where it ends"),
        ("{{#if values.x}}{{/each}}", "1:17", "`{{#if}}` is closed by `{{/each}}`\n  hint: write {{/if}} before it"),
    ] {
        let error = Template::parse(source).expect_err(source);
        assert_eq!((Explanation::of(&error).to_string().as_str(), error.position().to_string().as_str()), (expected, place), "{source}");
    }
    assert!(Template::parse("{{values.x").is_err());
}

/// Braces and vertical bars in a literal belong to other programs, unless the literal is a path to ingot's data.
#[test]
fn a_literal_may_hold_braces_and_bars() {
    for (source, expected) in [
        (r#"{{default values.nothing "{{.Names}}"}}"#, "rendered: {{.Names}}"),
        (r#"{{default values.nothing "{{ inventory.host }}"}}"#, "rendered: {{ inventory.host }}"),
        (r#"{{default values.nothing "{{"}}"#, "rendered: {{"),
        (r#"{{default values.nothing "a|b"}}"#, "rendered: a|b"),
        (
            r#"{{default values.nothing "{{values.port}}"}}"#,
            "`{{values.port}}` is a template within a template, and would be printed as it is",
        ),
        (
            r#"{{default values.nothing "{{ values.port }}"}}"#,
            "`{{values.port}}` is a template within a template, and would be printed as it is",
        ),
    ] {
        assert_eq!(message(source), expected, "{source}");
    }
    // If something else is wrong with the tag, the bar in its literal must not be reported.
    assert!(!message(r#"{{default values.nothing "a|b" (}}"#).contains("filters"));
}

#[test]
fn finds_every_reference() {
    for (source, expected) in [
        ("plain", ""),
        ("{{a.b}} {{{c.d}}}", "a.b Printed, c.d Printed"),
        ("{{a.b}} {{a/b}} {{toml a.b}}", "a.b Printed, a.b Given"),
        ("{{files.[/etc/motd].path}}", "files./etc/motd.path Printed"),
        ("{{join a.list (default b.sep c.sep)}}", "a.list Given, b.sep Tested, c.sep Given"),
        ("{{#if a.b}}{{c.d}}{{else if e.f}}{{g.h}}{{else}}{{i.j}}{{/if}}", "a.b Given, c.d Printed, e.f Given, g.h Printed, i.j Printed"),
        ("{{#if (eq a.b c.d)}}{{/if}}", "a.b Given, c.d Given"),
        ("{{#each a.list}}{{this}}{{name}}{{@index}}{{../b.c}}{{@root.d.e}}{{/each}}", "a.list Given, b.c Printed, d.e Printed"),
        ("{{#each a.list as |x|}}{{x}}{{x.y}}{{#each x.zs}}{{x.y}}{{../../b.c}}{{../name}}{{/each}}{{/each}}", "a.list Given, b.c Printed"),
        ("{{#each a.list as |a|}}{{a.b}}{{/each}}{{a.c}}", "a.list Given, a.c Printed"),
        ("{{#each a.list}}{{else}}{{b.c}}{{/each}}", "a.list Given, b.c Printed"),
        (
            "{{#with a.b}}{{c}}{{#with d}}{{e}}{{../f}}{{../../g.h}}{{/with}}{{/with}}",
            "a.b Given, a.b.c Printed, a.b.d Given, a.b.d.e Printed, a.b.f Printed, g.h Printed",
        ),
        ("{{#with a.b as |x|}}{{x.c}}{{/with}}", "a.b Given, a.b.c Printed"),
        ("{{#with (lookup a.b c.d)}}{{x}}{{/with}}", "a.b Given, c.d Given"),
        ("{{lookup a.b \"c\"}}{{lookup a.b 0}}", "a.b.c Printed, a.b.0 Printed"),
        // Tests.
        ("{{#if (has a.b)}}{{a.b}}{{a.b.c}}{{a.x}}{{else}}{{a.b}}{{/if}}{{a.b}}", "a.b Tested, a.b.c Tested, a.x Printed, a.b Printed"),
        ("{{#unless (has a.b)}}{{a.b}}{{else}}{{a.b.c}}{{/unless}}", "a.b Tested, a.b Printed, a.b.c Tested"),
        ("{{#if (and (has a.b) (has c.d))}}{{a.b}}{{c.d}}{{/if}}", "a.b Tested, c.d Tested"),
        ("{{#if (or (has a.b) (has c.d))}}{{a.b}}{{/if}}", "a.b Tested, c.d Tested, a.b Printed"),
        ("{{#if (or (not (has a.b)) (not (has c.d)))}}{{else}}{{a.b}}{{c.d}}{{/if}}", "a.b Tested, c.d Tested"),
        ("{{#if (and (has a.b) (eq a.b c.d))}}{{/if}}", "a.b Tested, c.d Given"),
        ("{{#if (and (eq a.b c.d) (has a.b))}}{{/if}}", "a.b Given, c.d Given, a.b Tested"),
        ("{{#if (or (not (has a.b)) (eq a.b 1))}}{{/if}}", "a.b Tested"),
        ("{{#if (has a.b)}}{{#with a.b}}{{c}}{{/with}}{{#each a.b.d}}{{a.b}}{{/each}}{{/if}}", "a.b Tested, a.b.c Tested, a.b.d Tested"),
        ("{{has (lookup a.b c.d)}}", "a.b Tested, c.d Given"),
        ("{{{{raw}}}}{{a.b}}{{{{/raw}}}}{{! {{c.d}} }}", ""),
    ] {
        let found: Vec<_> = Template::parse(source).unwrap().references().iter().map(|it| format!("{it} {:?}", it.usage)).collect();
        assert_eq!(found.join(", "), expected, "{source}");
    }
}

#[test]
fn knows_where_a_reference_stands() {
    let template =
        Template::parse("ü {{values.a}} {{values.ab}}\n{{#if values.b}}\n  {{toml (default values.c\n values.d)}}{{/if}}").unwrap();
    let found: Vec<_> = template.references().iter().map(|it| format!("{} {}", it.written, template.position_of(it).unwrap())).collect();
    assert_eq!(found, ["values.a 1:5", "values.ab 1:18", "values.b 2:7", "values.c 3:19", "values.d 4:2"]);
    let stranger = Reference { segments: vec!["values".into(), "a".into()], usage: Usage::Given, written: "values.a".into() };
    assert_eq!(template.position_of(&stranger), None);
}

#[test]
fn an_error_of_rendering_has_its_place_and_what_was_meant() {
    let error = render("one\n  {{toml values.domian}}").unwrap_err();
    assert_eq!(error.position(), Position { line: 2, column: 10 });
    insta::assert_snapshot!(Explanation::of(&error), @r"
    values.domian is missing
      hint: write values.domain, or test with (has …)
    ");
    insta::assert_snapshot!(Explanation::of(&render("{{values.hosts}}").unwrap_err()), @r"
    values.hosts is a list, but only a string, a number or a boolean can be printed as it is
      hint: use `join` or {{#each}}, or write it whole with `json`, `toml` or `yaml`
    ");
}

#[test]
fn no_message_repeats_a_secret_or_the_keys_of_one() {
    for source in [
        "{{secrets.list}}",
        "{{secrets.db}}",
        "{{secrets.db.passwort}}",
        "{{join secrets.db.password \",\"}}",
        "{{#each secrets.db.password}}{{/each}}",
        "{{lookup secrets.db secrets.db.password}}",
        "{{lookup values.ports secrets.db.password}}",
        "{{secrets.db.password.x}}",
        "{{#each secrets.list}}{{x}}{{/each}}",
        "{{shell secrets.db}}",
    ] {
        let error = render(source).expect_err(source);
        let everything = format!("{error:?} {}", Explanation::of(&error));
        assert!(!everything.contains(SECRET), "{source}: {everything}");
        assert!(!everything.replace("secrets.db.password", "").contains("password"), "{source}: {everything}");
    }
}

fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "{{", "}}", "{{{", "}}}", "{{#", "{{/", "{{~", "~}}", "{{else}}", "{{^}}", "{{!", "--", "{{>", "{{*", "{{{{", "}}}}", "if", "each",
        "with", "raw", "values", ".", "/", "..", "this", "@", "@root", "[", "]", "(", ")", "|", "as", "=", "\"", "'", "\\", " ", "\n", "x",
        "1", "ü", "null",
    ]);
    prop::collection::vec(fragment, 0..24).prop_map(|parts| parts.concat())
}

#[test]
fn refuses_to_nest_without_end() {
    for (open, close) in [("(not ", ")"), ("{{#if a.b}}", "{{/if}}"), ("[", "]")] {
        let nested = |depth: usize| {
            let inner = if open.starts_with('{') { "" } else { "1" };
            let text = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            if open.starts_with('{') { text } else { format!("{{{{json {text}}}}}") }
        };
        assert_eq!(Template::parse(&nested(60)).map(drop), Ok(()), "{open}");
        assert!(Template::parse(&nested(50_000)).unwrap_err().to_string().contains("nested"), "{open}");
        assert!(Template::parse(&nested(60).replace(close, "")).is_err(), "{open}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(source in fragments()) {
        if let Ok(template) = Template::parse(&source) {
            for reference in template.references() {
                prop_assert!(template.position_of(reference).is_some());
            }
            let _ = template.render(&scope());
        }
    }

    #[test]
    fn text_without_braces_or_backslashes_stays_as_it_is(text in "[^{}\\\\]*") {
        prop_assert_eq!(render(&text), Ok(text));
    }

    #[test]
    fn a_printed_string_is_never_changed(text in any::<String>()) {
        let scope = Scope::from(json!({"values": {"text": Value::String(text.clone())}}));
        let rendered = Template::parse("{{values.text}}").unwrap().render(&scope).unwrap();
        prop_assert_eq!(rendered.expose(), text);
    }
}
