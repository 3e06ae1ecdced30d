//! The programs of a dry run. Those that check a staged file really run, on a copy below
//! `--out`; all others run on the machine in memory.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::fake::machine::FakeMachine;
use crate::host::commands::ProcessCommands;
use crate::host::files::DiskFiles;
use crate::host::{Attributes, Commands, End, Files, HostError, Invocation, OnLine, Users};
use crate::text::SecretText;

/// The prefix of a staged file's name.
const STAGED: &str = ".ingot-staged.";

/// The largest staged file that is read, in bytes. The file is in memory already.
const LIMIT: u64 = 1 << 30;

pub(crate) struct DeskCommands {
    machine: FakeMachine,
    out: DiskFiles,
    directory: PathBuf,
    missing: RefCell<Vec<String>>,
}

impl DeskCommands {
    /// Checks files of `machine` on copies below `directory`, which must be absolute.
    pub(crate) fn new(machine: FakeMachine, directory: PathBuf) -> Self {
        Self { machine, out: DiskFiles::new(Some(directory.clone())), directory, missing: RefCell::default() }
    }

    /// The programs that do not exist on this machine, so that their checks did not run.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing.borrow().clone()
    }

    /// The staged file that one of the arguments names, whatever else the argument contains.
    fn staged(&self, argv: &[SecretText]) -> Option<PathBuf> {
        let staged = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGED));
        let named = |path: &PathBuf| argv.iter().any(|word| word.expose().contains(&path.display().to_string()));
        self.machine.files().into_iter().filter(staged).filter(named).max_by_key(|path| path.as_os_str().len())
    }

    async fn copy(&self, path: &Path, content: &[u8]) -> Result<(), HostError> {
        let (uid, gid) = self.machine_owner();
        if let Some(parent) = path.parent() {
            self.out.create_directory(parent, 0o755).await?;
        }
        self.out.stage(path, content, Attributes { mode: 0o600, uid, gid }).await
    }

    fn machine_owner(&self) -> (u32, u32) {
        crate::host::users::EtcUsers::new(None).own()
    }
}

#[async_trait(?Send)]
impl Commands for DeskCommands {
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError> {
        let staged = self.staged(&invocation.argv);
        let content = match &staged {
            Some(path) => self.machine.read(path, LIMIT).await?,
            None => None,
        };
        let (Some(path), Some(content)) = (staged, content) else { return self.machine.run(invocation, on_line).await };
        self.copy(&path, &content).await?;
        let (named, copied) = (path.display().to_string(), format!("{}{}", self.directory.display(), path.display()));
        let argv = invocation.argv.iter().map(|word| SecretText::from(word.expose().replace(&named, &copied))).collect();
        let ended = ProcessCommands.run(&Invocation { argv, ..invocation.clone() }, on_line).await;
        self.out.remove(&path).await?;
        match ended {
            Err(HostError::Spawn { program, source }) if source.kind() == io::ErrorKind::NotFound => {
                self.missing.borrow_mut().push(program);
                Ok(End::Exited(0))
            }
            ended => ended,
        }
    }
}
