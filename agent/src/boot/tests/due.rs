//! `when:` of a step, with facts that only the instance knows.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::boot::audience::Ending;
use crate::boot::tests::site::{Site, metadata};
use crate::fake::aws::FakeMetadata;

const DOCUMENT: &str = r#"#ingot
version: 1
values: { role: "{{instance.tags.role}}", seed: true }
files:
  /etc/web: { content: web, when: "{{eq values.role 'web'}}" }
  /etc/any: { content: any, when: "{{values.seed}}" }
  /etc/region: { content: region, when: "{{eq instance.region 'eu-central-1'}}" }
commands:
  migrate: { run: [/bin/migrate], when: "{{and values.seed (eq instance.tags.role 'leader')}}", after: [files./etc/web] }
signals:
  stack: { cloudformation: { stack: shop, resource: Web }, when: "{{eq values.role 'web'}}" }
"#;

fn site(role: &str, document: &str) -> Site {
    let tags = Some(BTreeMap::from([("role".to_owned(), role.to_owned())]));
    Site::of(Rc::new(FakeMetadata { user_data: Some(document.into()), tags, ..metadata() }))
}

#[tokio::test(start_paused = true)]
async fn each_instance_has_the_steps_that_are_due_on_it() {
    let web = site("web", DOCUMENT);
    assert_eq!(web.boot().await, Ending::Done);
    assert_eq!(web.outcomes(), ["changed files./etc/any", "changed files./etc/region", "changed files./etc/web", "changed signals.stack"]);
    assert_eq!(web.report().not_due.iter().map(|address| address.as_str()).collect::<Vec<_>>(), ["commands.migrate"]);
    let leader = site("leader", DOCUMENT);
    assert_eq!(leader.boot().await, Ending::Done);
    assert_eq!(leader.outcomes(), ["changed commands.migrate", "changed files./etc/any", "changed files./etc/region"]);
    assert!(leader.signals().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_uses_what_is_not_due_has_a_mistake_and_who_tests_it_has_none() {
    let used = format!("{DOCUMENT}credentials: {{ a: '{{{{files.[/etc/web].path}}}}' }}\n");
    assert_eq!(site("web", &used).boot().await, Ending::Done);
    let leader = site("leader", &used);
    assert_eq!(leader.boot().await, Ending::Document);
    let causes = leader.report().error.unwrap().causes;
    assert!(
        causes[0].ends_with("`files./etc/web.path` does not exist: files./etc/web is not due, because its `when:` is false"),
        "{causes:?}"
    );
    assert!(leader.signals().is_empty(), "not even a failure is told to who does not wait");
    let tested = used.replace("{{files.[/etc/web].path}}", "{{default files.[/etc/web].path \"none\"}}");
    assert_eq!(site("leader", &tested).boot().await, Ending::Done);
}

/// Regression: a value that could not be rendered ended the boot before the mistakes of the document were found.
#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_filled_in_hides_no_mistake() {
    let unfilled = DOCUMENT.replace("seed: true", "seed: true, none: '{{instance.tags.none}}'");
    let wrong = format!("{unfilled}credentials: {{ a: '{{{{values.nothing}}}}' }}\n");
    let both = site("web", &wrong);
    assert_eq!(both.boot().await, Ending::Document);
    let causes = both.report().error.unwrap().causes;
    assert!(causes.len() == 1 && causes[0].ends_with("`values.nothing` refers to nothing"), "{causes:?}");
    let alone = site("web", &unfilled);
    assert_eq!(alone.boot().await, Ending::Failed);
    assert!(alone.error().contains("instance.tags.none is missing"), "{}", alone.error());
    assert!(alone.machine.file("/etc/any").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_neither_true_nor_false_is_a_mistake_before_anything_is_done() {
    for (when, why) in [
        ("{{values.role}}", "`when:` is `web`, which is neither true nor false"),
        ("{{instance.tags.none}}", "instance.tags.none is missing"),
        ("{{secrets.a}}", "`when:` cannot refer to secrets.a: whether a step is due is decided before the first one runs"),
        ("{{values.rol}}", "`values.rol` refers to nothing"),
        ("yes", "`when:` is `yes`, which is neither true nor false"),
    ] {
        let site = site("web", &DOCUMENT.replace("{{values.seed}}", when));
        assert_eq!(site.boot().await, Ending::Document, "{when}");
        let causes = site.report().error.unwrap().causes;
        assert!(causes.len() == 1 && causes[0].ends_with(&format!(": {why}")), "{causes:?}");
        assert!(causes[0].starts_with("user data:6:"), "{causes:?}");
        assert!(site.machine.file("/etc/web").is_none());
    }
}
