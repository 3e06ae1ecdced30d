use super::*;

fn of(text: &str) -> Extensions {
    Extensions::of(&Release::of(&[(".ebextensions/a.config", text)]))
}

fn said(remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("{remark:#}\n")).collect()
}

fn names(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(|command| command.name.as_str()).collect()
}

const DJANGO: &str = r#"option_settings:
  aws:elasticbeanstalk:application:environment:
    DJANGO_SETTINGS_MODULE: shop.settings
    WORKERS: 3
  aws:elasticbeanstalk:container:python:
    WSGIPath: shop.wsgi:application
packages:
  yum: { git: [] }
files:
  "/etc/cron.d/shop":
    mode: "000644"
    owner: root
    group: root
    content: |
      * * * * * root true
commands:
  02_b: { command: [touch, /tmp/b], cwd: /tmp, env: { A: 1 } }
  01_a: { command: "swapon /swap", test: "test ! -e /swap", ignoreErrors: true }
container_commands:
  02_migrate: { command: "python manage.py migrate", leader_only: true }
  01_static: { command: "python manage.py collectstatic --noinput" }
Resources:
  AWSEBAutoScalingGroup: { Type: x }
"#;

#[test]
fn reads_what_is_about_the_application() {
    let found = of(DJANGO);
    assert_eq!(said(&found.mistakes), "");
    let variables = [("DJANGO_SETTINGS_MODULE", "shop.settings"), ("WORKERS", "3")];
    assert_eq!(found.environment, variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(found.python[0].0, "WSGIPath");
    let [Before::Write(file), Before::Run(a), Before::Run(b)] = found.before.as_slice() else { panic!("{:?}", found.before) };
    assert_eq!((file.path.as_str(), file.mode, file.owner.as_deref()), ("/etc/cron.d/shop", Some(0o644), Some("root")));
    assert_eq!(file.content, Content::Text("* * * * * root true\n".into()));
    assert_eq!((a.name.as_str(), &a.run, a.ignore_errors), ("01_a", &Run::Shell("swapon /swap".into()), true));
    assert_eq!(a.test, Some(Run::Shell("test ! -e /swap".into())));
    assert_eq!((b.run.clone(), b.cwd.as_deref()), (Run::Argv(vec!["touch".into(), "/tmp/b".into()]), Some("/tmp")));
    assert_eq!(b.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!(names(&found.container_commands), ["02_migrate", "01_static"], "those of the leader run first");
}

#[test]
fn whatever_else_is_there_is_named_with_its_line() {
    insta::assert_snapshot!(said(&of(DJANGO).warnings), @r"
    .ebextensions/a.config:7: `packages` is not read; install it in the image
    .ebextensions/a.config:22: `Resources` is not read; put it into the template of the stack
    ");
}

#[test]
fn options_have_two_forms_and_the_last_one_counts() {
    let list = "option_settings:\n  - option_name: A\n    value: 1\n  - namespace: aws:elasticbeanstalk:application:environment\n    option_name: B\n    value: two\n  - namespace: aws:autoscaling:asg\n    option_name: MinSize\n    value: 1\n";
    let again = "option_settings: { 'aws:elasticbeanstalk:application:environment': { A: 3 } }\n";
    let found = Extensions::of(&Release::of(&[(".ebextensions/1.config", list), (".ebextensions/2.config", again)]));
    assert_eq!(found.environment, [("B".to_owned(), "two".to_owned()), ("A".to_owned(), "3".to_owned())]);
    assert_eq!(said(&found.warnings).lines().count(), 1);
}

#[test]
fn json_is_read_as_well() {
    let found = of("{\n\t\"container_commands\": {\n\t\t\"01\": { \"command\": \"true\" }\n\t},\n\t\"services\": {}\n}\n");
    assert_eq!(names(&found.container_commands), ["01"]);
    assert!(said(&found.warnings).starts_with(".ebextensions/a.config:5: `services` is not read"));
}

#[test]
fn mistakes_name_the_file_and_the_line() {
    let text = "container_commands:\n  a: { cwd: / }\n  b: { command: 'echo `{\"Ref\":\"AWSEBEnvironmentName\"}`' }\n  \
                c: { command: { 'Fn::Join': [] } }\n  d: { command: x, leader_only: maybe }\nfiles:\n  etc/x: { content: x }\n  \
                /etc/y: { content: x, mode: 0o7 }\n  /etc/z: { source: 'https://x/y' }\n";
    insta::assert_snapshot!(said(&of(text).mistakes), @r#"
    .ebextensions/a.config:8: `0o7` is not a file mode; write six octal digits in quotes, such as "000755"
    .ebextensions/a.config:9: `source` is not fetched: https://x/y; put the file into the bundle, or fetch it with a command
    .ebextensions/a.config:7: `etc/x` is not an absolute path; begin the path with `/`
    .ebextensions/a.config:2: `a` has no `command`; add `command:` with the command to run
    .ebextensions/a.config:3: `command` holds a function of CloudFormation, which only Elastic Beanstalk resolves; give the value in `environment:` of the application, and use it as `$NAME`
    .ebextensions/a.config:4: `command` holds a function of CloudFormation, which only Elastic Beanstalk resolves; give the value in `environment:` of the application, and use it as `$NAME`
    .ebextensions/a.config:5: `leader_only` is neither true nor false; write `true` or `false`
    "#);
    assert_eq!(said(&of("a: [\n").mistakes).lines().count(), 1);
    assert_eq!(
        said(&of("- a\n").mistakes),
        ".ebextensions/a.config:1: this is not a map; begin with a key such as `container_commands:`\n"
    );
}

#[test]
fn what_is_ignored_is_said() {
    let found = of(
        "commands:\n  a: { command: x, leader_only: true }\ncontainer_commands:\n  b: { command: y, leader_only: true, test: z }\n  b: { command: y2 }\n",
    );
    insta::assert_snapshot!(said(&found.warnings), @r"
    .ebextensions/a.config:5: `b` is named twice, so the first is ignored; rename one of the two
    .ebextensions/a.config:2: `leader_only` of `a` is not read; known here: command, cwd, env, test, ignoreErrors
    ");
    let other = Extensions::of(&Release::of(&[(".ebextensions/a.yaml", "x: y\n"), (".ebextensions/README.md", "")]));
    assert_eq!(
        said(&other.warnings),
        ".ebextensions/a.yaml: this file is not read, since its name does not end with .config; rename it to a.config\n"
    );
    let misspelled = of("container_command: {}\ncontainer_commands: { a: { command: x, ignore_errors: true } }\n");
    insta::assert_snapshot!(said(&misspelled.warnings), @r"
    .ebextensions/a.config:2: `ignore_errors` of `a` is not read; did you mean `ignoreErrors`?
    .ebextensions/a.config:1: `container_command` is not read; did you mean `container_commands`?
    ");
    assert_eq!(of("# nothing\n"), Extensions::default());
    assert_eq!(of("container_commands:\n").mistakes, []);
}

#[test]
fn a_test_of_a_command_of_the_leader_is_ignored() {
    let found = of("container_commands:\n  b: { command: y, leader_only: true, test: z }\n");
    assert_eq!(found.container_commands[0].test, None);
    assert_eq!(found.warnings.len(), 1);
}

#[test]
fn the_content_of_a_file_may_be_encoded() {
    let found = of("files:\n  /a: { content: \"aGVs\\nbG8=\", encoding: base64 }\n  /b: { content: '!', encoding: base64 }\n");
    let [Before::Write(file)] = found.before.as_slice() else { panic!("{:?}", found.before) };
    assert_eq!(file.content, Content::Base64(b"hello".to_vec()));
    insta::assert_snapshot!(said(&found.mistakes), @".ebextensions/a.config:3: the content of `/b` is not base64; encode it with `base64`, or remove `encoding`");
}

/// The file type bits of this mode are those of a symbolic link.
#[test]
fn a_mode_of_something_else_than_a_file_is_a_mistake() {
    let found = of("files:\n  /a: { content: /b, mode: '120777' }\n  /c: { content: d, mode: '100640' }\n");
    assert_eq!((found.mistakes.len(), found.before.len()), (1, 1));
}
