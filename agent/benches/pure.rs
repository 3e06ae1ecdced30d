//! The pure parts of a boot against the size of what they are given: parse, merge, compile the plan, render.
//!
//!     cargo bench --bench pure [FILTER]
//!
//! A step is a file of three references, so that each size means the same work a step: ten times the steps should take
//! ten times as long, and hardly more.

use std::fmt::Write as _;

use divan::{Bencher, black_box};
use ingot::measured::{compile, parse};
use serde_json::json;

const STEPS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

fn main() {
    divan::main();
}

/// One layer of so many files.
fn layer(steps: usize) -> String {
    let mut text = "version: 1\nvalues: { env: prod, port: 8080 }\nfiles:\n".to_owned();
    for at in 0..steps {
        let content = "{{instance.id}} {{values.env}} {{values.port}}\\n";
        writeln!(text, "  /etc/app/{at}.conf: {{ content: \"{content}\", mode: \"0640\" }}").unwrap();
    }
    text
}

/// Three layers: an image's, one that changes every second file of it, and user data.
fn layers(steps: usize) -> Vec<String> {
    let mut over = "version: 1\nfiles:\n".to_owned();
    (0..steps).step_by(2).for_each(|at| writeln!(over, "  /etc/app/{at}.conf: {{ mode: \"0600\" }}").unwrap());
    vec![layer(steps), over, "version: 1\nvalues: { env: test }\n".to_owned()]
}

#[divan::bench(args = STEPS)]
fn parses(bencher: Bencher, steps: usize) {
    let text = [layer(steps)];
    bencher.bench_local(|| parse(black_box(&text)));
}

#[divan::bench(args = STEPS)]
fn merges_and_reads(bencher: Bencher, steps: usize) {
    let parsed = parse(&layers(steps));
    bencher.with_inputs(|| parsed.clone()).bench_local_values(|parsed| parsed.merge());
}

#[divan::bench(args = STEPS)]
fn compiles_the_plan(bencher: Bencher, steps: usize) {
    let parsed = parse(&layers(steps));
    bencher.with_inputs(|| parsed.clone().merge()).bench_local_values(|merged| assert_eq!(merged.plan().steps(), steps));
}

/// Lines with a value each.
fn template(lines: usize) -> String {
    (0..lines).fold(String::new(), |text, at| text + &format!("key{at} = {{{{toml values.key{at}}}}}\n"))
}

fn values(lines: usize) -> serde_json::Value {
    let values: serde_json::Map<_, _> = (0..lines).map(|at| (format!("key{at}"), json!(format!("value \"{at}\"")))).collect();
    json!({ "values": values })
}

#[divan::bench(args = STEPS)]
fn compiles_a_template(bencher: Bencher, lines: usize) {
    let text = template(lines);
    bencher.bench_local(|| compile(black_box(&text), &json!({})));
}

#[divan::bench(args = STEPS)]
fn renders(bencher: Bencher, lines: usize) {
    let compiled = compile(&template(lines), &values(lines));
    bencher.bench_local(|| assert!(compiled.render() > lines));
}
