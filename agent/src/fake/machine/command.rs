//! Runs programs on a machine in memory.

use std::io;
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use super::programs::{Outcome, Ran};
use crate::host::{Clock as _, Commands, End, HostError, Invocation, OnLine};
use crate::text::SecretText;

#[async_trait(?Send)]
impl Commands for FakeMachine {
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError> {
        self.alive().await;
        let program = invocation.argv.first().map_or("", SecretText::expose).to_owned();
        let known = self.0.programs.borrow().of(&program);
        let mut lines = Vec::new();
        let outcome = known.map_or(Outcome::Ends(End::Exited(0)), |known| known(invocation, &mut |line| lines.push(line.to_owned())));
        let (takes, end) = match outcome {
            Outcome::Ends(end) => (Duration::ZERO, end),
            Outcome::Takes(takes, end) if takes <= invocation.timeout => (takes, end),
            Outcome::Takes(..) => (invocation.timeout, End::TimedOut),
            Outcome::Missing => return Err(HostError::Spawn { program, source: io::ErrorKind::NotFound.into() }),
        };
        self.0.programs.borrow_mut().ran.push(Ran {
            argv: invocation.argv.clone(),
            user: invocation.user.as_ref().map(|user| user.name.clone()),
            environment: invocation.environment.iter().map(|(name, _)| name.clone()).collect(),
            directory: invocation.directory.clone(),
        });
        if !takes.is_zero() {
            self.sleep(takes).await;
        }
        self.change(|| Ok(!only_answers(invocation))).await?;
        lines.iter().for_each(|line| on_line(line));
        Ok(end)
    }
}

/// Whether the program only answers a question. For all others, it is unknown what they change.
fn only_answers(invocation: &Invocation) -> bool {
    let arguments: Vec<&str> = invocation.argv.iter().skip(1).map(SecretText::expose).collect();
    matches!(arguments.as_slice(), ["-v" | "--version"] | ["image", "inspect", ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(argv: &[&str]) -> Invocation {
        Invocation {
            argv: argv.iter().copied().map(SecretText::from).collect(),
            environment: vec![("TOKEN".into(), "hunter2".into())],
            directory: "/".into(),
            user: None,
            timeout: Duration::from_secs(10),
            lease: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_what_was_registered_and_records_all() {
        let machine = FakeMachine::new_instance();
        let inside = machine.clone();
        machine.on_command("migrate", move |_, on_line| {
            inside.add_file("/srv/migrated", "");
            on_line("done");
            Outcome::Takes(Duration::from_secs(5), End::Exited(3))
        });
        machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(11), End::Exited(0)));
        machine.on_command("gone", |_, _| Outcome::Missing);

        let mut lines = Vec::new();
        let mut on_line = |line: &str| lines.push(line.to_owned());
        let end = machine.run(&invocation(&["/opt/shop/bin/migrate", "--all"]), &mut on_line).await;
        assert_eq!((end.unwrap(), lines), (End::Exited(3), vec!["done".to_owned()]));
        assert!(machine.file("/srv/migrated").is_some());
        assert_eq!(machine.run(&invocation(&["slow"]), &mut |_| {}).await.unwrap(), End::TimedOut);
        assert_eq!(machine.run(&invocation(&["anything"]), &mut |_| {}).await.unwrap(), End::Exited(0));
        assert!(matches!(machine.run(&invocation(&["gone"]), &mut |_| {}).await, Err(HostError::Spawn { .. })));

        let ran = machine.ran();
        assert_eq!(ran.iter().map(Ran::line).collect::<Vec<_>>(), ["/opt/shop/bin/migrate --all", "slow", "anything"]);
        assert!(!format!("{ran:?}").contains("hunter2"));
    }
}
