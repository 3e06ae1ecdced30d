//! A document far larger than user data permits is planned and scheduled without quadratic growth.

use std::fmt::Write as _;

use crate::execute::schedule;
use crate::laws::example::Example;
use crate::plan::Plan;

/// With this size, comparing every step with every other step takes a hundred million operations, which would be
/// noticed.
const FILES: usize = 9_000;
const SERVICES: usize = 1_000;

#[test]
fn plans_ten_thousand_steps() {
    let mut text = "version: 1\nvalues: { a: 1 }\nfiles:\n".to_owned();
    (0..FILES).for_each(|at| writeln!(text, "  /etc/{at}: {{ content: \"{{{{values.a}}}} {{{{instance.id}}}}\" }}").unwrap());
    text.push_str("services:\n");
    for at in 0..SERVICES {
        let (file, before) = (at * 9, at.saturating_sub(1));
        let after = if at == 0 { String::new() } else { format!(", after: [services.x{before}.service]") };
        writeln!(text, "  x{at}.service: {{ restart_on: [files./etc/{file}, files./etc/{}]{after} }}", file + 1).unwrap();
    }
    let plan = Plan::compile(Example::of(&text).document(), &Default::default()).unwrap();
    assert_eq!(plan.nodes.len(), FILES + SERVICES);
    assert_eq!(plan.units.len(), FILES + SERVICES - SERVICES);
    assert_eq!(schedule::order(&plan.units).len(), plan.units.len());
}

/// Every service waits for the dependents of those before it, without an edge for each of these waits.
#[test]
fn plans_as_many_late_steps_as_services() {
    let mut text = "version: 1\nservices:\n".to_owned();
    (0..SERVICES).for_each(|at| writeln!(text, "  x{at}.service: {{}}").unwrap());
    text.push_str("commands:\n");
    (0..SERVICES).for_each(|at| writeln!(text, "  c{at}: {{ run: [\"true\"], after: [services.x{at}.service] }}").unwrap());
    let plan = Plan::compile(Example::of(&text).document(), &Default::default()).unwrap();
    assert_eq!(plan.units.iter().map(|unit| unit.needs.len()).sum::<usize>(), SERVICES);
    let order = schedule::order(&plan.units);
    assert_eq!(order.len(), plan.units.len());
    // The services run one after another, each followed by its command.
    assert_eq!(plan.levels(&order).into_iter().max(), Some(2 * SERVICES - 1));
}
